package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/membership"
)

// excuse is how long after something happened to a server, or on its ways, it
// may be declared dead although it runs.
const excuse = 20 * time.Second

// checker watches what the servers say.
type checker struct {
	sim      *Sim
	failures []error
	said     map[news][]knowledge // who said it, with what it knew then
	gaps     map[*process]int
}

// news is a join or a departure, whoever says it.
type news struct {
	id          circuit.ServerID
	incarnation uint64
	instance    uint64
	state       membership.State // StateAlive for a join
}

// knowledge is what a server knew: how far each server's story goes.
type knowledge map[circuit.ServerID]rank

// rank orders the chapters of one server's story.
type rank struct {
	incarnation, instance uint64
	out                   bool
}

func (r rank) less(o rank) bool {
	if r.incarnation != o.incarnation {
		return r.incarnation < o.incarnation
	}
	if r.instance != o.instance {
		return r.instance < o.instance
	}
	return !r.out && o.out
}

func newChecker(s *Sim) *checker {
	return &checker{sim: s, said: make(map[news][]knowledge), gaps: make(map[*process]int)}
}

// Failures returns all that went against the promises so far.
func (s *Sim) Failures() []error { return s.check.failures }

func (c *checker) fail(format string, args ...any) {
	if len(c.failures) < 20 {
		c.failures = append(c.failures, fmt.Errorf("%.3fs: %s", c.sim.Now().Seconds(), fmt.Sprintf(format, args...)))
	}
}

// ended takes note that a process ended.
func (c *checker) ended(p *process) { delete(c.gaps, p); c.sim.changes++ }

// clone takes note that a server stopped because its ID is another's.
func (c *checker) clone(p *process) {
	c.sim.log = append(c.sim.log, Entry{At: c.sim.Now(), By: p.host, About: p.host, Failed: true})
}

// announced takes note of what a server knows as it announces itself.
func (c *checker) announced(p *process, state membership.State) {
	n := news{p.host.ID, p.host.incarnation, p.instance, state}
	c.said[n] = append(c.said[n], knows(p))
}

// stepped checks what a server said in one step.
func (c *checker) stepped(p *process, in membership.Input, outs []membership.Output) {
	var said []membership.Record
	for _, out := range c.sim.tamperedOutputs(p, outs) {
		switch out := out.(type) {
		case membership.Joined:
			said = append(said, out.Record)
			c.alternates(p, out.Record, true)
		case membership.Left:
			said = append(said, out.Record)
			c.alternates(p, out.Record, false)
			c.justified(p, out.Record)
		case membership.Persist: // it is about to announce itself anew
			r, _ := p.mem.Lookup(p.host.ID)
			said = append(said, r)
		}
	}
	if len(said) > 0 {
		c.causal(p, in, said)
	}
	p.story = rankOf(p.mem.Lookup(p.host.ID))
	if n := p.mem.Gaps(); n > c.gaps[p] {
		c.gaps[p] = n
		c.fail("gap: %s received an event before an earlier one of the same origin", p.host.Name)
	}
}

// alternates checks that Joined and Left of each server alternate.
func (c *checker) alternates(p *process, r membership.Record, joined bool) {
	c.sim.log = append(c.sim.log, Entry{
		At: c.sim.Now(), By: p.host, About: c.sim.byID[r.ID], Joined: joined,
		Failed: r.State == membership.StateDead,
	})
	if _, in := p.view[r.ID]; in == joined {
		c.fail("alternation: %s says twice that %s %s", p.host.Name, c.sim.name(r.ID), verb(joined))
	}
	if joined {
		p.view[r.ID] = r.Instance
	} else {
		delete(p.view, r.ID)
	}
}

func verb(joined bool) string {
	if joined {
		return "joined"
	}
	return "left"
}

func (s *Sim) name(id circuit.ServerID) string {
	if h := s.byID[id]; h != nil {
		return h.Name
	}
	return id.String()
}

// justified checks that a server that is said to have failed, or left, did, or
// that something happened that can make it look so.
func (c *checker) justified(p *process, r membership.Record) {
	for _, h := range c.sim.servers {
		q := h.proc
		if h.ID != r.ID || q == nil || q.instance != r.Instance || q.frozen || p.taken {
			continue
		}
		if q.mem.Members() == nil || c.sim.troubled(h) || c.sim.troubled(p.host) {
			continue
		}
		c.fail("false death: %s says that %s %v, which runs", p.host.Name, h.Name, r.State)
	}
}

// troubled reports whether something happened to a server lately, or cuts it off.
func (s *Sim) troubled(h *Server) bool {
	if !h.trouble.IsZero() && s.now.Sub(h.trouble) < excuse {
		return true
	}
	cut, all := 0, 0
	for _, o := range s.servers {
		if o == h || o.proc == nil {
			continue
		}
		all++
		if s.cuts[[2]int{h.index, o.index}] || s.cuts[[2]int{o.index, h.index}] {
			cut++
		}
	}
	return cut > 0 && 2*cut >= all
}

// knows returns what a server knows now.
func knows(p *process) knowledge {
	k := make(knowledge)
	for _, r := range p.mem.Directory() {
		k[r.ID] = rankOf(r, true)
	}
	return k
}

func rankOf(r membership.Record, _ bool) rank {
	return rank{r.Incarnation, r.Instance, r.State == membership.StateDead || r.State == membership.StateLeft}
}

// causal checks that a server that learns news knows all that somebody knew who
// told them: whoever says a thing heard it from one who said it before.
func (c *checker) causal(p *process, in membership.Input, said []membership.Record) {
	now := knows(p)
	// What was said later in the same step was not known yet, so the knowledge
	// behind each piece of news is found backwards.
	then := maps.Clone(now)
	then[p.host.ID] = p.story
	thens := make([]knowledge, len(said))
	for i := len(said) - 1; i >= 0; i-- {
		thens[i] = maps.Clone(then)
		if said[i].ID != p.host.ID {
			delete(then, said[i].ID)
		}
	}
	for i, r := range said {
		n := news{r.ID, r.Incarnation, r.Instance, max(r.State, membership.StateAlive)}
		if n.state == membership.StateSuspect {
			n.state = membership.StateAlive
		}
		before := c.said[n]
		c.said[n] = append(before, thens[i])
		if told(in, n) {
			c.heard(p, now, n, before)
		}
	}
}

func (c *checker) heard(p *process, now knowledge, n news, before []knowledge) {
	missing := ""
	for _, then := range before {
		if missing = c.lacks(p, now, then); missing == "" {
			return
		}
	}
	if missing == "" {
		c.fail("causality: %s says that %s is in state %d at incarnation %d, which nobody said before",
			p.host.Name, c.sim.name(n.id), n.state, n.incarnation)
		return
	}
	c.fail("causality: %s says that %s is in state %d at incarnation %d, and does not know yet of %s, as whoever told it did",
		p.host.Name, c.sim.name(n.id), n.state, n.incarnation, missing)
}

func (c *checker) lacks(p *process, now, then knowledge) string {
	for _, h := range c.sim.servers { // in a fixed order
		id := h.ID
		old, ok := then[id]
		if !ok || id == p.host.ID {
			continue
		}
		if have, ok := now[id]; !ok || have.less(old) {
			return h.Name
		}
	}
	return ""
}

// Settled returns nil if all servers that run, and are not frozen, form one
// circuit, and know each other and nobody else; otherwise some of what is wrong.
func (s *Sim) Settled() error {
	running := make(map[circuit.ServerID]bool)
	for _, h := range s.servers {
		if h.proc != nil && !h.proc.frozen {
			running[h.ID] = true
		}
	}
	var errs []error
	for _, h := range s.servers {
		if h.proc == nil || h.proc.frozen {
			continue
		}
		if errs = append(errs, s.astray(h.proc, running)...); len(errs) >= 5 {
			break
		}
	}
	return errors.Join(errs...)
}

// astray returns some of what is wrong with a server's view.
func (s *Sim) astray(p *process, running map[circuit.ServerID]bool) []error {
	var errs []error
	known := p.mem.Members()
	for _, r := range known {
		if len(errs) >= 5 {
			return errs
		}
		if !running[r.ID] {
			errs = append(errs, fmt.Errorf("ghost: %s still has %s", p.host.Name, s.name(r.ID)))
		} else if q := s.byID[r.ID].proc; q != nil && q.instance != r.Instance && s.unique(r.ID) {
			errs = append(errs, fmt.Errorf("ghost: %s has an earlier life of %s", p.host.Name, s.name(r.ID)))
		}
	}
	if len(known) == len(running) && len(errs) == 0 {
		return nil
	}
	for _, h := range s.servers {
		if running[h.ID] && len(errs) < 5 && !slices.ContainsFunc(known, func(r membership.Record) bool { return r.ID == h.ID }) {
			errs = append(errs, fmt.Errorf("split: %s lacks %s", p.host.Name, h.Name))
		}
	}
	return errs
}

// unique reports whether only one server was made with an ID.
func (s *Sim) unique(id circuit.ServerID) bool {
	n := 0
	for _, h := range s.servers {
		if h.ID == id {
			n++
		}
	}
	return n == 1
}

// Meshed returns nil if every two of the running servers have a link that both
// of them use.
func (s *Sim) Meshed() error {
	for _, a := range s.servers {
		if a.proc == nil || a.proc.frozen {
			continue
		}
		near := a.proc.ov.Neighbours()
		for _, b := range s.servers {
			if b.proc != nil && !b.proc.frozen && a != b && !slices.Contains(near, b.ID) {
				return fmt.Errorf("%s has no link to %s", a.Name, b.Name)
			}
		}
		if len(near) != len(a.proc.view) {
			return fmt.Errorf("%s has links to %d servers and knows %d", a.Name, len(near), len(a.proc.view))
		}
	}
	return nil
}
