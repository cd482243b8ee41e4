// Package sim runs any number of servers' overlay and membership machines, the
// very ones that internal/mesh drives, in one goroutine: on a simulated network,
// under a virtual clock, from one seed. It breaks things (crashes, freezes, lost
// hosts, cuts, partitions, stalls) and checks that what the machines promise
// holds all the same. Only tests import it. A Sim belongs to one goroutine.
package sim

import (
	"container/heap"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
)

// Config describes a simulated world. Zero values are those of a quiet network
// in one building.
type Config struct {
	Seed uint64
	// Delay is how long a message takes, plus up to Jitter. 0 means 200 us, 50 us.
	Delay, Jitter time.Duration
	// Stall is the share of messages that are lost and sent again, 200 ms to 1 s
	// later, and hold up all that follow them on their connection.
	Stall float64
}

// Sim is a simulated world.
type Sim struct {
	cfg     Config
	rng     *rand.Rand // of the network and the faults; each server has its own
	now     time.Time
	began   time.Time
	events  eventHeap
	seq     uint64
	steps   int
	servers []*Server
	byAddr  map[string]*Server
	byID    map[circuit.ServerID]*Server
	cuts    map[[2]int]bool // from, to
	trace   hash.Hash64
	log     []Entry
	changes int // counts what can change the answers of Settled and Meshed
	conns   uint64
	packets int // sent
	bytes   int // in them
	check   *checker
	tamper  *tamper // tests of the checkers only
}

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

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// New returns a world without servers.
func New(cfg Config) *Sim {
	if cfg.Delay == 0 {
		cfg.Delay, cfg.Jitter = 200*time.Microsecond, 50*time.Microsecond
	}
	began := time.Unix(1_000_000_000, 0).UTC()
	s := &Sim{
		cfg: cfg, now: began, began: began,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x51c3)),
		byAddr: make(map[string]*Server),
		byID:   make(map[circuit.ServerID]*Server),
		cuts:   make(map[[2]int]bool),
		trace:  fnv.New64a(),
	}
	s.check = newChecker(s)
	return s
}

// Now returns the virtual time since the beginning.
func (s *Sim) Now() time.Duration { return s.now.Sub(s.began) }

// Steps returns how many steps of machines were run.
func (s *Sim) Steps() int { return s.steps }

// Hash returns a digest of everything that happened so far.
func (s *Sim) Hash() uint64 { return s.trace.Sum64() }

// Log returns what all servers said, in order.
func (s *Sim) Log() []Entry { return s.log }

// Servers returns all servers, whatever became of them.
func (s *Sim) Servers() []*Server { return s.servers }

// at lets do happen at a time.
func (s *Sim) at(t time.Time, do func()) {
	if t.Before(s.now) {
		t = s.now
	}
	s.seq++
	heap.Push(&s.events, event{at: t, seq: s.seq, do: do})
}

// After lets do happen after a while.
func (s *Sim) After(d time.Duration, do func()) { s.at(s.now.Add(d), do) }

// Run lets time pass.
func (s *Sim) Run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	s.now = end
}

// RunUntil lets time pass until done, for d at most, and reports whether done.
// Done is asked whenever a server came or went, a view or a link changed.
func (s *Sim) RunUntil(d time.Duration, done func() bool) bool {
	end := s.now.Add(d)
	for !done() {
		for asked := s.changes; s.changes == asked; {
			if len(s.events) == 0 || s.events[0].at.After(end) {
				s.now = end
				return done()
			}
			e := heap.Pop(&s.events).(event)
			s.now = e.at
			e.do()
		}
	}
	return true
}

// note adds to the trace.
func (s *Sim) note(words ...uint64) {
	var b [8]byte
	for _, w := range words {
		binary.LittleEndian.PutUint64(b[:], w)
		s.trace.Write(b[:])
	}
}

// delay draws how long the next message takes.
func (s *Sim) delay() time.Duration {
	d := s.cfg.Delay
	if s.cfg.Jitter > 0 {
		d += time.Duration(s.rng.Int64N(int64(s.cfg.Jitter)))
	}
	if s.cfg.Stall > 0 && s.rng.Float64() < s.cfg.Stall {
		d += 200*time.Millisecond + time.Duration(s.rng.Int64N(int64(800*time.Millisecond)))
	}
	return d
}
