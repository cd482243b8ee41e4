// Package membership decides who is in the circuit: it keeps the directory of
// all servers, brings that of two neighbours in line whenever they are linked,
// spreads changes over the links in causal order, suspects servers that fall
// silent, lets them refute, declares them dead once two of their neighbours
// agree, and says Joined and Left, which alternate strictly for each server. What
// it spreads besides, for others, is delivered in the same order.
// It is a pure state machine: told the time, given its randomness, without input
// or output, goroutine, lock or log. The rules are numbered in docs/overlay.md.
//
// Its driver, internal/mesh on real connections and internal/sim on simulated
// ones, calls Step with what happened and does what Step returns, in order. The
// package overlay tells how the two machines are wired together. A Machine
// belongs to one goroutine. What a Step costs does not depend on the size of the
// circuit, but for those that take in what a neighbour knew.
package membership

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Config is what a Machine needs to know at its start.
type Config struct {
	// Self is the server itself; State, Events and Since are ignored. Its
	// Incarnation is higher than any that this server has used or persisted
	// before; 1 for a new server.
	Self directory.Record
	// Directory is what the server knows from the beginning, itself included: of
	// a circuit that is quiet, without suspects. Empty for a server that is
	// alone; only simulations of large circuits begin with anything else.
	Directory directory.Directory
	// Rand is the source of all jitter. It must not be used elsewhere.
	Rand *rand.Rand
}

// Machine is the membership's state. Make one with New.
type Machine struct {
	cfg      Config
	now      time.Time
	out      []Output // of the Step under way
	deadline time.Time

	dir        directory.Directory
	self       *directory.Record                      // in dir
	staged     map[circuit.ServerID]*directory.Record // changes of dir while a batch is taken in; nil: none is
	changed    time.Time                              // when dir did
	departures []departure                            // in the order in which they were learnt
	suspects   int                                    // servers in the circuit that are suspect, but for this one
	recent     recent

	links    []*link   // in order of coming up
	slot     time.Time // when the last of the promised pulses is due
	met      bool      // a neighbour's directory was taken in
	born     bool      // this server has said that it is in the circuit, or is about to leave it
	watches  map[circuit.ServerID]*watch
	observed []*watch // those that have a link, or lost it
	timers   timers   // those that have something due
	dooms    int      // those that are doomed
	loss     float64  // the share of pulses, of those that came lately or should have, that were lost
	alone    bool     // as of the last look: nobody else is in the circuit and unsuspected

	lateUntil time.Time         // until then this server doubts itself
	refuteAt  time.Time         // when a refutation that is held back is due; zero: none
	claim     *directory.Record // what it refutes, or last refuted
	deaths    []time.Time       // when this server was declared dead, lately
	mourned   uint64            // its incarnation that was declared dead last
	departBy  time.Time         // leaving: when to say Departed at the latest; zero: not leaving
	departed  bool              // said
	taken     bool              // said
	gaps      int
}

// New returns the machine of a server that is alone in its circuit, or in that
// of cfg.Directory.
func New(now time.Time, cfg Config) *Machine {
	m := &Machine{cfg: cfg, now: now, changed: now, dir: cfg.Directory, watches: make(map[circuit.ServerID]*watch)}
	m.born = m.dir.Len() > 0
	for r := range m.dir.EachDeparted() {
		m.departures = append(m.departures, departure{id: r.ID, since: r.Since})
	}
	m.self = m.dir.Get(cfg.Self.ID)
	if m.self == nil || m.self.Instance != cfg.Self.Instance || m.self.Incarnation != cfg.Self.Incarnation {
		self := cfg.Self
		self.State, self.Since = directory.Alive, now
		self.Events = self.Incarnation << epochBits
		m.put(&self)
	}
	m.cfg.Directory = directory.Directory{}
	return m
}

// Step takes an input and returns what to do about it, in order. Time never
// runs backwards. The slice is the caller's.
func (m *Machine) Step(now time.Time, in Input) []Output {
	if now.After(m.now) {
		m.now = now
	}
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
	case ReceiveDatagram:
		m.receiveDatagram(in)
	case Broadcast:
		m.broadcast(in)
	case Leave:
		m.leave()
	}
	m.work()
	m.deadline = m.due()
	return m.complete()
}

// complete returns the outputs of a Step, and fills in what they say of its end.
func (m *Machine) complete() []Output {
	outs := m.out
	m.out = nil
	for i, out := range outs {
		switch out := out.(type) {
		case Joined:
			out.Directory = m.dir
			outs[i] = out
		case Left:
			out.Directory = m.dir
			outs[i] = out
		}
	}
	return outs
}

// Deadline returns when Step wants a Tick at the latest; the zero Time if never.
// It changes with each Step. A Step that comes much later than its deadline
// makes the machine doubt itself rather than others, so the driver must not
// hold Ticks back.
func (m *Machine) Deadline() time.Time { return m.deadline }

// Directory returns what this server knows: who is in the circuit, itself
// included, and who departed. It does not change.
func (m *Machine) Directory() directory.Directory { return m.dir }

// Members returns the servers in the circuit, this one included, in the order of
// the first ring. They are those of now, whatever happens before the end of the
// iteration. The records are not to be written to.
func (m *Machine) Members() iter.Seq[*directory.Record] { return m.dir.All() }

// Lookup returns the record of a server that is, or in the last 24 h was, in
// the circuit; the latest MaxDeparted departures are kept.
func (m *Machine) Lookup(id circuit.ServerID) (directory.Record, bool) {
	r := m.dir.Get(id)
	if r == nil || m.expired(r) {
		return directory.Record{}, false
	}
	return *r, true
}

// Told returns what this server would tell a new neighbour: the directory, but
// that a death counts that may still be refuted (rule M9), its own as well, and
// that a server that has not said that it is in the circuit leaves itself out
// (rule M6).
func (m *Machine) Told() directory.Directory {
	d := m.dir
	if m.dooms > 0 {
		for id, w := range m.watches {
			if w.doom != nil {
				d = d.With(m.told(id))
			}
		}
	}
	switch {
	case !m.refuteAt.IsZero():
		d = d.With(m.told(m.self.ID))
	case !m.born:
		d = d.Without(m.self.ID)
	}
	return d
}

// Gaps returns how often an event arrived although one before it had not. It
// stays 0 as long as links are ordered and reliable.
func (m *Machine) Gaps() int { return m.gaps }

func (m *Machine) emit(out Output) { m.out = append(m.out, out) }

// work does what is due.
func (m *Machine) work() {
	m.forgetDeparted()
	if !m.departBy.IsZero() {
		if !m.departed && (len(m.links) == 0 || !m.born || m.reached(m.departBy)) {
			m.departed = true
			m.emit(Departed{})
		}
		return
	}
	if m.reached(m.refuteAt) {
		m.refute()
	}
	m.announce()
	m.sendPulses()
	for _, l := range m.links {
		if l.pull != nil && m.reached(l.pull.until) {
			m.reset(l)
		}
	}
	for {
		m.noticeAlone()
		if len(m.timers) == 0 || !m.reached(m.timers[0].due) {
			return
		}
		m.attend(m.timers[0])
	}
}

// due computes the deadline.
func (m *Machine) due() time.Time {
	if !m.departBy.IsZero() {
		if m.departed {
			return time.Time{}
		}
		return m.departBy
	}
	t := m.refuteAt
	for _, l := range m.links {
		t = earliest(t, l.pulse)
		if l.pull != nil {
			t = earliest(t, l.pull.until)
		}
	}
	if len(m.timers) > 0 {
		t = earliest(t, m.timers[0].due)
	}
	return t
}

// reached reports whether t is set and not in the future.
func (m *Machine) reached(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }

// leave tells everybody that this server leaves (rule M12).
func (m *Machine) leave() {
	if !m.departBy.IsZero() {
		return
	}
	m.departBy = m.now.Add(leaveTime)
	self := *m.self
	self.State = directory.Left
	m.put(&self)
	if m.born {
		m.originate(event{record: &entry{Record: self}})
	}
}

// within draws a time from 0 to d.
func (m *Machine) within(d time.Duration) time.Duration {
	return time.Duration(m.cfg.Rand.Int64N(int64(d)))
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

// remove takes a value out of a list.
func remove[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(list, func(o T) bool { return o == v })
}
