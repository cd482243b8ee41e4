package membership

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// The times of records (rules M9 and M10).
const (
	doomTime   = 3 * time.Second // a death that a directory tells of waits this long for a refutation
	flapWindow = 2 * time.Minute // a server that refutes its death flapDeaths times in this time
	flapDeaths = 3               // holds the next refutation back
	flapHold   = 10 * time.Second
	flapMost   = time.Minute
)

// epochBits is where the incarnation that a server started with stands in the
// numbers of its events, so that a new life numbers its events anew.
const epochBits = 32

// member is what is known of a server, and what is going on about it.
type member struct {
	entry
	order uint64    // when its last join or departure was learnt, relative to those of others
	doom  *entry    // its death, which may still be refuted
	doomT time.Time // when that time is over
	watch
}

// in reports whether the server is in the circuit.
func (s *member) in() bool { return s.State == StateAlive || s.State == StateSuspect }

// compare says which of two records of a server prevails (rule M2).
func compare(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(a.Incarnation, b.Incarnation),
		cmp.Compare(a.Instance, b.Instance),
		cmp.Compare(a.State, b.State))
}

func (m *Machine) place(id circuit.ServerID) (int, bool) {
	return slices.BinarySearchFunc(m.ring, id, func(s *member, id circuit.ServerID) int { return cmp.Compare(s.ID, id) })
}

// enter puts a server into the ring.
func (m *Machine) enter(s *member) {
	i, _ := m.place(s.ID)
	m.ring = slices.Insert(m.ring, i, s)
	m.fold(s)
	m.order++
	s.order = m.order
	s.heard = m.now // a newcomer is taken to live
	m.rewatch()
}

// exit takes a server out of the ring.
func (m *Machine) exit(s *member) {
	if i, ok := m.place(s.ID); ok {
		m.ring = slices.Delete(m.ring, i, i+1)
	}
	m.fold(s)
	m.order++
	s.order = m.order
	s.watch, s.doom = watch{}, nil
	m.rewatch()
	m.forgetDeparted()
}

// fold adds a server to the digest, or takes it out again.
func (m *Machine) fold(s *member) {
	hi, lo := uint64(0x9e3779b97f4a7c15), uint64(0xc2b2ae3d27d4eb4f)
	for _, v := range [...]uint64{uint64(s.ID), s.Incarnation, s.Instance} {
		hi, lo = bits.Mul64(hi^v^0xff51afd7ed558ccd, lo^bits.RotateLeft64(v, 32)|1)
		hi, lo = hi^lo, lo^bits.RotateLeft64(hi, 29)
	}
	m.digest[0] ^= hi
	m.digest[1] ^= lo
	m.changed = m.now
}

// learn takes a record from elsewhere and reports whether it is news that
// others should hear of. An event's word is final; a death from a directory may
// be an old story, and waits for a refutation (rule M9).
func (m *Machine) learn(e entry, event bool) bool {
	switch {
	case e.ID == 0 || e.State < StateAlive || e.State > StateLeft:
		return false
	case e.ID == m.self.ID:
		m.learnSelf(e)
		return false
	}
	s := m.all[e.ID]
	if s == nil {
		return m.meet(e)
	}
	if compare(&e, &s.entry) <= 0 {
		return false
	}
	if s.doom != nil && compare(&e, s.doom) > 0 {
		s.doom = nil
	}
	if s.in() && e.State == StateDead && !event && e.Instance == s.Instance {
		known := s.doom != nil
		if !known {
			s.doom, s.doomT = &e, m.now.Add(doomTime)
		}
		return !known
	}
	m.apply(s, e)
	return true
}

// meet takes the first record of a server.
func (m *Machine) meet(e entry) bool {
	s := &member{entry: e}
	s.Since = m.now
	if s.in() {
		m.all[e.ID] = s
		m.enter(s)
		m.emit(Joined{Record: s.Record})
		return true
	}
	if e.ago >= uint64(KeepDeparted/time.Second) {
		return false
	}
	m.all[e.ID] = s
	s.Since = m.now.Add(-time.Duration(e.ago) * time.Second)
	m.order++
	s.order = m.order
	m.forgetDeparted()
	return true
}

// apply makes e, which prevails, the record of s, and says what changed (rule
// M3).
func (m *Machine) apply(s *member, e entry) {
	was, restarted := s.in(), s.Instance != e.Instance
	is := e.State == StateAlive || e.State == StateSuspect
	if was && (!is || restarted) {
		left := s.Record
		left.State, left.Since = StateDead, m.now
		if !is && !restarted {
			left.State, left.Incarnation = e.State, e.Incarnation
		}
		m.exit(s)
		m.emit(Left{Record: left})
		was = false
		s.State, s.Since = left.State, m.now
	}
	if was {
		m.fold(s) // out, and in again as it is now
	}
	since := s.Since
	e.seq = s.seq // the events of s are counted elsewhere
	if e.State != s.State || e.Incarnation != s.Incarnation {
		s.unsuspect(e, m.now)
	}
	s.entry = e
	s.Since = since
	switch {
	case was:
		m.fold(s)
	case is:
		s.Since = m.now
		m.enter(s)
		m.emit(Joined{Record: s.Record})
	}
}

// learnSelf takes what others say about this server (rules M8, M10 and M11).
func (m *Machine) learnSelf(e entry) {
	m.self.seq = max(m.self.seq, e.seq)
	another := e.Instance != m.self.Instance
	switch {
	case e.Incarnation < m.self.Incarnation || !m.departBy.IsZero():
	case !another && e.State == StateAlive:
	case another && compare(&e, &m.self.entry) <= 0:
	case another && e.State <= StateSuspect && e.Address != m.self.Address:
		if !m.taken {
			m.taken = true
			m.emit(Taken{Address: e.Address})
		}
	default:
		m.refuteLater(e)
	}
}

// refuteLater refutes what e says of this server: at once, unless it has come
// back from the dead too often. Whoever was late and hears of a suspicion will
// hear of its death next, so that counts as one.
func (m *Machine) refuteLater(e entry) {
	if compare(&e, &m.claim) > 0 {
		m.claim = e
	}
	if !m.refuteAt.IsZero() {
		return
	}
	m.refuteAt = m.now
	if e.State == StateSuspect && !m.now.Before(m.lateUntil) {
		return
	}
	m.deaths = slices.DeleteFunc(m.deaths, func(t time.Time) bool { return m.now.Sub(t) > flapWindow })
	if extra := len(m.deaths) - flapDeaths; extra >= 0 {
		m.refuteAt = m.now.Add(min(flapHold<<min(extra, 8), flapMost))
	}
	m.deaths = append(m.deaths, m.now)
}

// refuteNow raises this server's incarnation above what is said about it.
func (m *Machine) refuteNow() {
	m.refuteAt = time.Time{}
	if m.claim.Incarnation < m.self.Incarnation {
		return
	}
	m.fold(m.self)
	m.self.Incarnation = m.claim.Incarnation + 1
	m.fold(m.self)
	m.emit(Persist{Incarnation: m.self.Incarnation})
	m.originate(m.self.entry)
}

// replaced takes note that the overlay met a server's next process: the one
// before is gone, without asking anybody (rule M11).
func (m *Machine) replaced(in Replaced) {
	if s := m.all[in.ID]; s != nil && s != m.self && s.in() && s.Instance == in.Old {
		e := s.entry
		e.State = StateDead
		m.apply(s, e)
		m.tellNews(nil, []entry{m.told(s)})
	}
}

// expired reports whether s departed too long ago to be remembered.
func (m *Machine) expired(s *member) bool { return !s.in() && m.now.Sub(s.Since) > KeepDeparted }

// forgetDeparted drops the departed that are too old, or, above MaxDeparted,
// the earliest (rule M18).
func (m *Machine) forgetDeparted() {
	if len(m.all)-len(m.ring) <= MaxDeparted {
		return
	}
	var first *member
	for id, s := range m.all {
		if s.in() || s == m.self {
			continue
		}
		if m.expired(s) {
			delete(m.all, id)
		} else if first == nil || s.order < first.order {
			first = s
		}
	}
	if first != nil && len(m.all)-len(m.ring) > MaxDeparted {
		delete(m.all, first.ID)
	}
}
