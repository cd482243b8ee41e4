package sim

import (
	"fmt"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
)

// excuse is how long after something happened to a server, or on its ways, it
// may be declared dead although it runs.
const excuse = 20 * time.Second

// Entry is something that a server said to its subscribers.
type Entry struct {
	At     time.Duration // since the beginning
	By     *Server
	About  *Server
	Joined bool // otherwise left
	Failed bool // it did not say so itself
}

// Verb says what became of the server, in a word.
func (e Entry) Verb() string {
	switch {
	case e.Joined:
		return "joined"
	case e.About == e.By:
		return "refused, for its ID is another's"
	case e.Failed:
		return "failed"
	}
	return "left"
}

// checker watches what the servers say and do, at every step.
type checker struct {
	sim      *Sim
	failures []error
	entries  []Entry
	silent   bool // entries are counted, not kept
	joined   int  // entries in all, of each kind
	left     int
	deaths   int // of servers that ran, said by any server
	told     told

	got   map[string]int // how many servers got each broadcast
	casts map[string]*cast
}

// watched is what the checker keeps for each process.
type watched struct {
	dir   directory.Directory // after its last step
	in    marks               // by the index of a server: whether it said that it is in the circuit
	gaps  int
	heard map[circuit.ServerID]uint64 // the number of the last broadcast of each origin
}

func newChecker(s *Sim) *checker {
	return &checker{sim: s, told: told{by: make(map[origin]directory.Directory)}, got: make(map[string]int), casts: make(map[string]*cast)}
}

// Failures returns all that went against the promises so far, up to a few.
func (s *Sim) Failures() []error { return s.check.failures }

// Log returns what all servers said, in order, unless Hush.
func (s *Sim) Log() []Entry { return s.check.entries }

// Said returns how many entries Log would have.
func (s *Sim) Said() int { return s.check.joined + s.check.left }

// Deaths returns how often a server said that another failed which ran.
func (s *Sim) Deaths() int { return s.check.deaths }

// Hush is for large worlds: Log is not kept.
func (s *Sim) Hush() { s.check.silent = true }

func (c *checker) fail(format string, args ...any) {
	const most = 3
	if len(c.failures) < most {
		c.failures = append(c.failures, fmt.Errorf("%.3fs: %s", c.sim.now.Seconds(), fmt.Sprintf(format, args...)))
	}
}

// say takes note of an entry.
func (c *checker) say(e Entry) {
	if e.Joined {
		c.joined++
	} else {
		c.left++
	}
	if !c.silent {
		e.At = c.sim.now
		c.entries = append(c.entries, e)
	}
}

// clone takes note that a server stopped because its ID is another's.
func (c *checker) clone(p *process) { c.say(Entry{By: p.host, About: p.host, Failed: true}) }

// began takes note of a new process.
func (c *checker) began(p *process) {
	p.watched.dir = p.mem.Directory()
	if self := p.watched.dir.Get(p.host.ID); self != nil {
		c.told.add(p.host.ID, self.Events, p.watched.dir)
	}
}

// stepped checks what a server said and learnt in one step.
func (c *checker) stepped(p *process, outs []membership.Output) {
	for _, out := range c.sim.tamperedOutputs(p, outs) {
		switch out := out.(type) {
		case membership.Joined:
			c.alternates(p, &out.Record, true)
		case membership.Left:
			c.alternates(p, &out.Record, false)
			c.justified(p, &out.Record)
			c.reason(p, &out.Record)
		case membership.Deliver:
			c.delivered(p, out)
		}
	}
	if n := p.mem.Gaps(); n > p.watched.gaps {
		p.watched.gaps = n
		c.fail("gap: %s received an event before an earlier one of the same origin", p.host.Name)
	}
	before, now := p.watched.dir, p.mem.Directory()
	if before.Digest() != now.Digest() {
		p.watched.dir = now
		c.sim.changes++
		c.learnt(p, before, now)
	}
}

// alternates checks that Joined and Left of each server alternate.
func (c *checker) alternates(p *process, r *directory.Record, joined bool) {
	about := c.sim.server(r)
	c.say(Entry{By: p.host, About: about, Joined: joined, Failed: r.State == directory.Dead})
	index := c.sim.byID[r.ID][0].index // the same for all lives and copies of a server
	if p.watched.in.get(index) == joined {
		c.fail("alternation: %s says twice that %s %s", p.host.Name, about.Name, Entry{Joined: joined}.Verb())
	}
	p.watched.in.set(index, joined)
}

// delivered checks that broadcasts of one origin come in order, and once.
func (c *checker) delivered(p *process, out membership.Deliver) {
	if p.watched.heard == nil {
		p.watched.heard = make(map[circuit.ServerID]uint64)
	}
	if last := p.watched.heard[out.Origin]; out.Number <= last {
		c.fail("order: %s got broadcast %d of %s after %d", p.host.Name, out.Number, c.sim.name(out.Origin), last)
	}
	p.watched.heard[out.Origin] = out.Number
	c.got[string(out.Data)]++
	if cast := c.casts[string(out.Data)]; cast != nil {
		delete(cast.missing, p)
	}
}

// server returns the server that a record is of.
func (s *Sim) server(r *directory.Record) *Server {
	for _, h := range s.byID[r.ID] {
		if h.Address == r.Address {
			return h
		}
	}
	return s.byID[r.ID][0]
}

// runs reports whether the process that a record is of runs.
func (s *Sim) runs(r *directory.Record) bool {
	for _, h := range s.byID[r.ID] {
		if h.proc != nil && h.proc.instance == r.Instance {
			return true
		}
	}
	return false
}

func (s *Sim) name(id circuit.ServerID) string {
	if hs := s.byID[id]; len(hs) > 0 {
		return hs[0].Name
	}
	return id.String()
}

// justified checks that a server that is said to have failed, or left, did, or
// that something happened that can make it look so.
func (c *checker) justified(p *process, r *directory.Record) {
	for _, h := range c.sim.byID[r.ID] {
		q := h.proc
		if q == nil || q.instance != r.Instance || q.frozen || q.leaving || p.taken {
			continue
		}
		c.deaths++
		if !c.sim.troubled(h) && !c.sim.troubled(p.host) {
			c.fail("false death: %s says that %s %s, which runs", p.host.Name, h.Name, Entry{Failed: r.State == directory.Dead, By: p.host, About: h}.Verb())
		}
	}
}

// troubled reports whether something happened to a server lately, or cuts it off.
func (s *Sim) troubled(h *Server) bool {
	if s.now-h.trouble < excuse || h.side != 0 && s.ways.split || h.slow > maxSlow {
		return true
	}
	cut := 0
	for way := range s.ways.cuts {
		if way[0] == h.index || way[1] == h.index {
			cut++
		}
	}
	return 2*cut >= len(s.servers)-1 && cut > 0
}

// maxSlow is how slow a server may be and must still not be declared dead.
const maxSlow = 20 * time.Millisecond

// marks is a set of small numbers: of servers, by their index.
type marks struct {
	pages [][]uint64
	upTo  int // of those that were never set, these are in it
}

const (
	pageBits = 12
	pageMask = 1<<pageBits - 1
)

func (m *marks) get(i int) bool {
	page := i >> pageBits
	if page >= len(m.pages) || m.pages[page] == nil {
		return i <= m.upTo
	}
	return m.pages[page][i&pageMask>>6]>>(i&63)&1 == 1
}

func (m *marks) set(i int, in bool) {
	page := i >> pageBits
	for page >= len(m.pages) {
		m.pages = append(m.pages, nil)
	}
	if m.pages[page] == nil {
		m.pages[page] = make([]uint64, 1<<pageBits>>6)
		for k := range 1 << pageBits {
			if page<<pageBits+k <= m.upTo {
				m.pages[page][k>>6] |= 1 << (k & 63)
			}
		}
	}
	word, bit := &m.pages[page][i&pageMask>>6], uint64(1)<<(i&63)
	if in {
		*word |= bit
	} else {
		*word &^= bit
	}
}
