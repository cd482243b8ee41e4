// Package overlay decides who a server's neighbours are: which addresses to
// dial and when, which links to keep, which to refuse or to end, and how to find
// the way back after a partition. It is a pure state machine: told the time,
// given its randomness, without input or output, goroutine, lock or log. The
// graph is an expander: the union of random rings, which everybody who knows the
// circuit's servers knows as well (package directory). The rules are numbered in
// docs/overlay.md.
//
// Its driver, internal/mesh on real connections and internal/sim on simulated
// ones, calls Step with what happened and does what Step returns, in order. A
// Machine belongs to one goroutine. What it holds, and what a Step costs, does
// not grow with the circuit but for the view, which it shares with membership.
//
// # Links
//
// A link is a reliable, ordered connection between two servers, over which both
// have sent their hello. The driver numbers links as they come up, the machine
// numbers its dials. A link that is up is not yet in use: the side that dialled
// asks, the other accepts or refuses, so that both agree on the one link between
// them, and on whether the peer may be in the circuit at all. The machine says
// Up once they have agreed, and Down when the link is no more; membership hears
// only of links that are Up. Nothing may be sent on a link for the membership
// before Up or after Down.
//
// # Wiring
//
// The driver passes on between the two machines, first in, first out, after the
// other outputs of the same Step are done and before anything from outside:
//
//	overlay.Up          -> membership.LinkUp
//	overlay.Down        -> membership.LinkDown
//	overlay.Unreached   -> membership.Unreached
//	overlay.Replaced    -> membership.Replaced
//	membership.Joined   -> overlay.MemberUp
//	membership.Left     -> overlay.MemberDown
//	membership.Redial   -> overlay.Redial
package overlay

import (
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Peer is a server as its hello introduces it.
type Peer struct {
	ID       circuit.ServerID
	Address  string // HOST:PORT that it advertises
	Instance uint64 // drawn at random when its process started
}

// Config is what a Machine needs to know at its start.
type Config struct {
	// Self is the server itself, as its own hello introduces it.
	Self Peer
	// Remembered are servers of an earlier life's circuit. They are tried like
	// those declared dead: until they are found in the circuit, for 24 h; a few
	// of them at once. At most MaxRemembered are kept. An Instance is not needed.
	Remembered []Peer
	// Rand is the source of all jitter. It must not be used elsewhere.
	Rand *rand.Rand
}

// Machine is the overlay's state. Make one with New.
type Machine struct {
	cfg      Config
	began    time.Time
	now      time.Time
	out      []Output // of the Step under way
	deadline time.Time
	leaving  bool

	view     directory.Directory
	members  int                         // in the view, without this server
	searches [2 * directory.Rings]search // on each ring, after and before this server
	stale    bool                        // the choice of neighbours is
	settled  time.Time                   // since when every search has found somebody; zero: one has not
	linked   int                         // how many links were in use at the last choice
	storm    time.Time                   // when servers began to join, one soon after the other
	calm     time.Time                   // when that counts as over

	links    []*link // in the order in which they came up
	peers    []*peer // every server with a link or a dial, or that is wanted; in order of IDs
	epoch    uint64  // highest seen so far of any link
	dials    map[uint64]*dial
	busy     [purposes]int // how many dials are under way, for each purpose
	lastDial uint64
	pace     pace
	seeds    []*seed
	lost     lost
}

// New returns the machine of a server that knows nobody yet.
func New(now time.Time, cfg Config) *Machine {
	m := &Machine{cfg: cfg, began: now, now: now, dials: make(map[uint64]*dial)}
	for _, p := range cfg.Remembered {
		if p.ID != cfg.Self.ID {
			m.remember(p)
		}
	}
	m.deadline = m.due()
	return m
}

// Step takes an input and returns what to do about it, in order. Time never
// runs backwards. The slice is the caller's.
func (m *Machine) Step(now time.Time, in Input) []Output {
	if now.After(m.now) {
		m.now = now
	}
	m.out = nil
	switch in := in.(type) {
	case MemberUp:
		m.memberUp(in)
	case MemberDown:
		m.memberDown(in)
	default:
		m.choose()
		m.handle(in)
		m.expire()
		m.choose()
		if !m.leaving {
			m.dialMembers()
			m.dialSeeds()
			m.dialLost()
		}
	}
	m.forget()
	m.deadline = m.due()
	return m.out
}

// handle takes an input, other than a change of the view. Those come in great
// numbers when two circuits meet, so that what follows from them is left to the
// Tick that is due at once.
func (m *Machine) handle(in Input) {
	switch in := in.(type) {
	case Seed:
		m.addSeed(in)
	case Unseed:
		m.unseed(in.Address)
	case LinkUp:
		m.linkUp(in)
	case LinkDown:
		m.linkDown(in.Link)
	case ConnectFailed:
		m.connectFailed(in)
	case Receive:
		m.receive(in)
	case Redial:
		m.redial(in.ID)
	case Leave:
		m.leaving = true
	}
}

// Deadline returns when Step wants a Tick at the latest; the zero Time if never.
// It changes with each Step.
func (m *Machine) Deadline() time.Time { return m.deadline }

// due computes the deadline.
func (m *Machine) due() time.Time {
	if m.stale && !m.leaving {
		return m.now
	}
	var t time.Time
	for _, l := range m.links {
		t = earliest(t, l.until)
	}
	for _, p := range m.peers {
		if p.held != nil {
			t = earliest(t, p.verdict)
		}
		t = earliest(t, p.doubt)
		t = earliest(t, m.withdrawal(p))
	}
	if m.leaving {
		return t
	}
	for _, s := range m.searches {
		t = earliest(t, s.widen)
	}
	if m.free(forMember) {
		for _, p := range m.peers {
			if m.awaitsDial(p) {
				t = earliest(t, m.dialAt(p))
			}
		}
	}
	if m.free(forSeed) {
		for _, s := range m.seeds {
			if m.missing(s) {
				t = earliest(t, s.retry.next)
			}
		}
	}
	if m.free(forLost) {
		t = earliest(t, m.nextLost())
	}
	return t
}

// Neighbours returns the servers to which there is a link that is Up, in order
// of their IDs.
func (m *Machine) Neighbours() []circuit.ServerID {
	var ids []circuit.ServerID
	for _, p := range m.peers {
		if p.up != nil {
			ids = append(ids, p.id)
		}
	}
	return ids
}

func (m *Machine) emit(out Output) { m.out = append(m.out, out) }
