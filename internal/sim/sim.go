// Package sim runs any number of servers' overlay and membership machines, the
// very ones that internal/mesh drives, in one goroutine: on a simulated network,
// under a virtual clock, from one seed. It breaks things (crashes, freezes, lost
// hosts and racks, loss, cuts, partitions, slow machines, jumping clocks) and
// checks that what the machines promise holds all the same. Only tests import it.
// A Sim belongs to one goroutine.
package sim

import (
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
)

// Config describes a simulated world. Zero values are those of a quiet network
// in one building.
type Config struct {
	Seed uint64
	// Delay is how long a packet takes, plus up to Jitter, drawn for each, so that
	// datagrams overtake each other. 0 means 200 us, 50 us.
	Delay, Jitter time.Duration
	// Loss is the share of packets that get lost, 0 to 1. Datagrams are gone; what
	// is sent on a connection is sent again after 200 ms, 400 ms and so on, as TCP
	// does, and holds up what follows it.
	Loss float64
	// NoDatagrams is a network that lets no datagrams through.
	NoDatagrams bool
}

// Sim is a simulated world.
type Sim struct {
	cfg      Config
	rng      *rand.Rand // of the network and the faults; each server has its own
	now      time.Duration
	queue    queue
	seq      uint64
	servers  []*Server
	byAddr   map[string]*Server
	byID     map[circuit.ServerID][]*Server
	ways     ways
	spare    []*datagram // to use again
	hash     uint64
	changes  int // counts what can change the answers of Settled and Meshed
	conns    uint64
	traffic  Traffic
	backlog  int // the most bytes that were on the way, or waited, on one connection
	reported reported
	ran      time.Duration // by all processes that ended
	check    *checker
	tamper   *tamper // tests of the checkers only
}

// began is when all worlds begin.
func began() time.Time { return time.Unix(1_000_000_000, 0).UTC() }

// New returns a world without servers.
func New(cfg Config) *Sim {
	if cfg.Delay == 0 {
		cfg.Delay, cfg.Jitter = 200*time.Microsecond, 50*time.Microsecond
	}
	s := &Sim{
		cfg:    cfg,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x51c3)),
		byAddr: make(map[string]*Server),
		byID:   make(map[circuit.ServerID][]*Server),
		ways:   ways{cuts: make(map[[2]int]bool)},
	}
	s.check = newChecker(s)
	return s
}

// Now returns the virtual time since the beginning.
func (s *Sim) Now() time.Duration { return s.now }

// Traffic returns what was sent and done so far.
func (s *Sim) Traffic() Traffic { return s.traffic }

// Backlog returns the most bytes that ever were on the way, or waited, in one
// direction of a connection.
func (s *Sim) Backlog() int { return s.backlog }

// Hash returns a digest of everything that happened so far.
func (s *Sim) Hash() uint64 { return s.hash }

// Servers returns all servers, whatever became of them.
func (s *Sim) Servers() []*Server { return s.servers }

// schedule lets something happen at a time, or now if that is over.
func (s *Sim) schedule(at time.Duration, what happening) {
	s.seq++
	s.queue.push(event{at: max(at, s.now), seq: s.seq, what: what})
}

// After lets do happen after a while.
func (s *Sim) After(d time.Duration, do func()) { s.schedule(s.now+d, call(do)) }

// next lets the next event happen, if it is due by end, and reports whether it
// was.
func (s *Sim) next(end time.Duration) bool {
	if len(s.queue) == 0 || s.queue[0].at > end {
		s.now = max(s.now, end)
		return false
	}
	e := s.queue.pop()
	s.now = e.at
	e.what.happen(s)
	return true
}

// Run lets time pass.
func (s *Sim) Run(d time.Duration) {
	for end := s.now + d; s.next(end); {
	}
}

// RunUntil lets time pass until done, for d at most, and reports whether done.
// Done is asked when a server came or went, a view or a link changed; in large
// worlds, where that happens all the time, once in a while.
func (s *Sim) RunUntil(d time.Duration, done func() bool) bool {
	end := s.now + d
	pause := min(time.Duration(len(s.servers))*10*time.Microsecond, 10*time.Millisecond)
	for !done() {
		next := s.now + pause
		for asked := s.changes; s.changes == asked || s.now < next && len(s.servers) > 32; {
			if !s.next(end) {
				return done()
			}
		}
	}
	return true
}

// note adds to what Hash digests.
func (s *Sim) note(words ...uint64) {
	for _, w := range words {
		s.hash = mix(s.hash ^ w)
	}
}

// noteData adds bytes to it.
func (s *Sim) noteData(data []byte) {
	h := s.hash
	for _, b := range data {
		h = (h ^ uint64(b)) * 0x100000001b3 // FNV-1a
	}
	s.hash = mix(h)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
