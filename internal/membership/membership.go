// Package membership decides who is in the circuit: it keeps a record of every
// server, spreads changes over the links in causal order, suspects servers that
// fall silent, lets them refute, declares them dead together with other
// observers, and says Joined and Left, which alternate strictly for each server.
// It is a pure state machine: told the time, given its randomness, without input
// or output, goroutine, lock or log. The rules are numbered in docs/overlay.md.
//
// Its driver, internal/mesh on real connections and internal/sim on simulated
// ones, calls Step with what happened and does what Step returns, in order. The
// package overlay tells how the two machines are wired together. A Machine
// belongs to one goroutine.
package membership

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// State is what is known of a server. At the same incarnation, the higher state
// prevails.
type State uint8

// The states of a server. StateAlive and
// StateSuspect are those of servers in the circuit.
const (
	StateAlive   State = 1 + iota
	StateSuspect       // its observers do not hear it; it may refute
	StateDead          // declared dead by its observers
	StateLeft          // it said so itself
)

// Record is what the circuit knows of a server (rule M1).
type Record struct {
	ID       circuit.ServerID
	Address  string // HOST:PORT that it advertises
	Instance uint64 // drawn at random when its process started
	// Incarnation counts the server's lives and refutations. Only the server
	// itself raises it; it is kept across restarts where there is a data
	// directory.
	Incarnation uint64
	Version     string // of its software
	State       State
	// Since is when this server learnt of the join, or of the departure, by its
	// own clock. It does not travel.
	Since time.Time
}

// Limits.
const (
	// MaxDeparted is how many departed servers are remembered; at the limit the
	// earliest departure is forgotten.
	MaxDeparted = 4096
	// KeepDeparted is how long they are.
	KeepDeparted = 24 * time.Hour
)

// Config is what a Machine needs to know at its start.
type Config struct {
	// Self is the server itself; State and Since are ignored. Its Incarnation is
	// higher than any that this server has used or persisted before; 1 for a new
	// server.
	Self Record
	// Rand is the source of all jitter. It must not be used elsewhere.
	Rand *rand.Rand
}

// Machine is the membership's state. Make one with New.
type Machine struct {
	cfg      Config
	now      time.Time
	out      []Output // of the Step under way
	deadline time.Time

	self  *member
	all   map[circuit.ServerID]*member // in the circuit, this one included, and departed
	ring  []*member                    // in the circuit, in order of IDs
	order uint64                       // counts what was learnt, for the order of the directory
	links []*link                      // in order of coming up

	digest  [2]uint64 // of the ring
	changed time.Time // when it did

	slot      time.Time   // when the last of the promised pulses is due
	lateUntil time.Time   // until then this server doubts itself
	muteSince time.Time   // since when it has heard less than half of those it observes
	refuteAt  time.Time   // when a refutation that is held back is due; zero: none
	claim     entry       // what it refutes, or last refuted
	deaths    []time.Time // when this server refuted its death, lately
	departBy  time.Time   // leaving: when to say Departed at the latest; zero: not leaving
	departed  bool        // said
	taken     bool        // said
	gaps      int
}

// link is a link that is in use.
type link struct {
	num      uint64
	id       circuit.ServerID
	instance uint64
	parts    []entry   // of a directory that is not complete yet
	synced   time.Time // when the directory was last sent
}

// New returns the machine of a server that is alone in its circuit.
func New(now time.Time, cfg Config) *Machine {
	m := &Machine{cfg: cfg, now: now, changed: now, all: make(map[circuit.ServerID]*member)}
	m.self = &member{entry: entry{Record: cfg.Self}}
	m.self.State, m.self.Since = StateAlive, now
	m.self.seq = cfg.Self.Incarnation << epochBits
	m.all[m.self.ID] = m.self
	m.enter(m.self)
	return m
}

// Step takes an input and returns what to do about it, in order. Time never
// runs backwards. The slice is the caller's.
func (m *Machine) Step(now time.Time, in Input) []Output {
	if now.After(m.now) {
		m.now = now
	}
	m.out = nil
	if !m.deadline.IsZero() && m.now.Sub(m.deadline) > lateness {
		m.wasLate()
	}
	switch in := in.(type) {
	case Tick:
	case LinkUp:
		m.linkUp(in)
	case LinkDown:
		m.linkDown(in)
	case Unreached:
		m.unreached(in)
	case Replaced:
		m.replaced(in)
	case Receive:
		m.receive(in)
	case Leave:
		m.leave()
	}
	m.work()
	m.deadline = m.due()
	return m.out
}

// Deadline returns when Step wants a Tick at the latest; the zero Time if never.
// It changes with each Step. A Step that comes much later than its deadline
// makes the machine doubt itself rather than others, so the driver must not
// hold Ticks back.
func (m *Machine) Deadline() time.Time { return m.deadline }

// Members returns the servers in the circuit, this one included, in order of
// their IDs.
func (m *Machine) Members() []Record {
	list := make([]Record, len(m.ring))
	for i, s := range m.ring {
		list[i] = s.Record
	}
	return list
}

// Lookup returns the record of a server that is, or in the last 24 h was, in
// the circuit; the latest MaxDeparted departures are kept.
func (m *Machine) Lookup(id circuit.ServerID) (Record, bool) {
	s := m.all[id]
	if s == nil || m.expired(s) {
		return Record{}, false
	}
	return s.Record, true
}

// Directory returns what this server would tell a new neighbour: the records of
// all that are or were in the circuit, in the order in which it learnt of them.
// A death that may still be refuted counts.
func (m *Machine) Directory() []Record {
	var list []Record
	for _, s := range m.learnt() {
		list = append(list, m.told(s).Record)
	}
	return list
}

// Gaps returns how often an event arrived although one before it had not. It
// stays 0 as long as links are ordered and reliable.
func (m *Machine) Gaps() int { return m.gaps }

func (m *Machine) emit(out Output) { m.out = append(m.out, out) }

func (m *Machine) send(l *link, msg message) {
	m.emit(Send{Link: l.num, Data: msg.encode()})
}

// sendAll sends on all links but one, which may be nil.
func (m *Machine) sendAll(but *link, data []byte) {
	for _, l := range m.links {
		if l != but {
			m.emit(Send{Link: l.num, Data: data})
		}
	}
}

// linkTo returns the link to a server, or nil.
func (m *Machine) linkTo(id circuit.ServerID) *link {
	if i := slices.IndexFunc(m.links, func(l *link) bool { return l.id == id }); i >= 0 {
		return m.links[i]
	}
	return nil
}

func (m *Machine) linkUp(in LinkUp) {
	m.links = slices.DeleteFunc(m.links, func(l *link) bool { return l.id == in.ID })
	l := &link{num: in.Link, id: in.ID, instance: in.Instance}
	m.links = append(m.links, l)
	m.sendDirectory(l, false)
	if s := m.all[in.ID]; s != nil && s.Instance == in.Instance && s.in() {
		m.heard(s)
		if s.watched {
			s.expect = latest(s.expect, m.now.Add(firstPulse))
			s.pulse = m.now
		}
	}
}

func (m *Machine) linkDown(in LinkDown) {
	i := slices.IndexFunc(m.links, func(l *link) bool { return l.num == in.Link })
	if i < 0 {
		return
	}
	l := m.links[i]
	m.links = slices.Delete(m.links, i, i+1)
	if s := m.all[l.id]; in.Lost && s != nil && s.Instance == l.instance && s.watched {
		m.check(s)
	}
}

func (m *Machine) receive(in Receive) {
	i := slices.IndexFunc(m.links, func(l *link) bool { return l.num == in.Link })
	if i < 0 {
		return
	}
	l := m.links[i]
	msg, err := decode(in.Data)
	if err != nil {
		return
	}
	if s := m.all[l.id]; s != nil && s.Instance == l.instance && s.in() {
		m.heard(s)
	}
	switch msg.kind {
	case kindDirectory:
		m.receiveDirectory(l, msg)
	case kindEvent:
		m.receiveEvent(l, msg, in.Data)
	case kindPulse:
		m.receivePulse(l, msg)
	case kindProbe:
		m.send(l, message{kind: kindAck})
	case kindVote:
		m.receiveVote(l, msg)
	case kindAlarm:
		m.receiveAlarm(l, msg)
	}
}

// leave tells everybody that this server leaves (rule M12).
func (m *Machine) leave() {
	if !m.departBy.IsZero() {
		return
	}
	m.departBy = m.now.Add(leaveTime)
	m.self.State = StateLeft
	m.originate(m.self.entry)
}

func jitter(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(rng.Int64N(int64(hi-lo)))
}

// earliest returns the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
