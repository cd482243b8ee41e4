package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// The times of the failure detector (rules M14, M15 and M17).
const (
	pulseEvery = time.Second            // somebody hears of each server this often
	pulseGrace = 300 * time.Millisecond // how late a pulse may be
	firstPulse = 4 * time.Second        // how long a new observer waits for the first
	probeEvery = 200 * time.Millisecond // while a server is checked
	probeTimes = 3                      // this often, then its observer counts it as silent
	revote     = time.Second            // an observer repeats its vote, and its probe, this often
	lookAround = time.Second            // who has not been heard for this long is checked when another falls silent
	lateness   = 500 * time.Millisecond // a Step this late makes a server doubt itself
	lateTime   = 3 * time.Second        // for this long
	leaveTime  = time.Second            // how long a leaver waits for its neighbours
)

// span is how many observers a server has on each side of it in the ring.
const span = 4

// watch is what is going on about a server that is observed or suspected.
type watch struct {
	watched  bool      // by this server, and the other way round
	pulse    time.Time // when to send it the next pulse; zero: it knows when
	expect   time.Time // when its own pulse is overdue
	heard    time.Time // when anything last came from it
	checking bool
	probes   int       // sent in this check
	nextWork time.Time // the next probe, or vote
	verdict  verdict   // this server's own
	votes    []vote    // of its other observers
	met      time.Time // since when enough of them agree; zero: they do not
	metGone  bool      // that it is gone for sure
	suspectT time.Time // since when it is suspect
	decideAt time.Time // when this server says so, unless another does
}

// observers returns the servers that observe s: its nearest on both sides in
// the ring of IDs, in order of IDs (rule M13). It is mutual.
func (m *Machine) observers(id circuit.ServerID) []*member {
	n := len(m.ring)
	i, ok := m.place(id)
	if !ok {
		return nil
	}
	var list []*member
	if n <= 2*span+1 {
		list = append(append(list, m.ring[:i]...), m.ring[i+1:]...)
		return list
	}
	for d := 1; d <= span; d++ {
		list = append(list, m.ring[(i+d)%n], m.ring[(i-d+n)%n])
	}
	slices.SortFunc(list, func(a, b *member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

// rewatch follows a change of the ring: who is observed, and by whom.
func (m *Machine) rewatch() {
	list := m.observers(m.self.ID)
	for _, s := range m.ring {
		watched := slices.Contains(list, s)
		if watched == s.watched {
			continue
		}
		s.watched = watched
		if !watched {
			s.pulse, s.expect = time.Time{}, time.Time{}
			continue
		}
		s.pulse, s.expect = m.now, m.now.Add(firstPulse)
		if s.verdict != none {
			s.nextWork = m.now // it counts now
		}
		// One that is no newcomer is observed because another went; it may have
		// gone as well.
		if m.now.Sub(s.Since) > firstPulse && m.now.Sub(s.heard) > lookAround {
			m.check(s)
			if m.linkTo(s.ID) == nil {
				m.emit(Redial{ID: s.ID})
			}
		}
	}
}

// work does what is due.
func (m *Machine) work() {
	if !m.departBy.IsZero() {
		if !m.departed && (len(m.links) == 0 || !m.now.Before(m.departBy)) {
			m.departed = true
			m.emit(Departed{})
		}
		return
	}
	if m.reached(m.refuteAt) {
		m.refuteNow()
	}
	m.sendPulses()
	if mute := m.isMute(); !mute {
		m.muteSince = time.Time{}
	} else if m.muteSince.IsZero() {
		m.muteSince = m.now
	}
	for _, s := range slices.Clone(m.ring) {
		if s == m.self || !s.in() {
			continue
		}
		if s.doom != nil && !m.now.Before(s.doomT) {
			m.apply(s, *s.doom)
			continue
		}
		if s.watched && !s.checking && s.verdict == none && m.reached(s.expect) {
			m.overdue(s)
		}
		if m.reached(s.nextWork) {
			m.probe(s)
		}
		m.judge(s)
	}
}

// reached reports whether t is set and not in the future.
func (m *Machine) reached(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }

// due computes the deadline.
func (m *Machine) due() time.Time {
	if !m.departBy.IsZero() {
		if m.departed {
			return time.Time{}
		}
		return m.departBy
	}
	t := m.refuteAt
	for _, s := range m.ring {
		if s == m.self {
			continue
		}
		if s.doom != nil {
			t = earliest(t, s.doomT)
		}
		if s.watched && !s.checking && s.verdict == none {
			t = earliest(t, s.expect)
		}
		t = earliest(earliest(t, s.nextWork), s.decideAt)
		if s.watched && !s.pulse.IsZero() && m.linkTo(s.ID) != nil {
			t = earliest(t, s.pulse)
		}
	}
	return t
}

// sendPulses tells those observers whose turn it is that this server lives.
// The turns are spread evenly: each pulse says when its observer's next turn
// is, a second after the one promised last (rule M14).
func (m *Machine) sendPulses() {
	k := 0
	for _, s := range m.ring {
		if s.watched && m.linkTo(s.ID) != nil {
			k++
		}
	}
	for _, s := range m.ring {
		if !s.watched || !m.reached(s.pulse) {
			continue
		}
		l := m.linkTo(s.ID)
		if l == nil {
			continue
		}
		every := jitter(m.cfg.Rand, pulseEvery*19/20, pulseEvery*21/20)
		m.slot = latest(m.slot, m.now).Add(every)
		if most := m.now.Add(time.Duration(k) * pulseEvery * 21 / 20); m.slot.After(most) {
			m.slot = most
		}
		s.pulse = m.slot
		m.send(l, message{
			kind:   kindPulse,
			next:   uint64(s.pulse.Sub(m.now) / time.Millisecond),
			quiet:  uint64(m.now.Sub(m.changed) / time.Millisecond),
			digest: m.digest,
		})
	}
}

func (m *Machine) receivePulse(l *link, msg message) {
	if s := m.all[l.id]; s != nil && s.watched && s.Instance == l.instance {
		next := time.Duration(min(msg.next, 60_000)) * time.Millisecond
		s.expect = m.now.Add(next + pulseGrace)
	}
	m.compareDigest(l, msg)
}

// heard takes note of a sign of life.
func (m *Machine) heard(s *member) {
	s.heard = m.now
	if !s.checking && s.verdict == none {
		return
	}
	voted := s.verdict != none
	s.checking, s.verdict, s.nextWork = false, none, time.Time{}
	if s.watched {
		s.expect = latest(s.expect, m.now.Add(pulseEvery))
		if voted {
			m.sendVote(s)
		}
	}
}

// overdue is for an observed server whose pulse did not come: it is checked,
// and its other observers are asked to do the same (rule M15).
func (m *Machine) overdue(s *member) {
	s.expect = m.now.Add(pulseEvery)
	if m.now.Before(m.lateUntil) {
		return
	}
	m.check(s)
	msg := message{kind: kindAlarm, subject: s.ID}
	data := msg.encode()
	for _, o := range m.observers(s.ID) {
		if l := m.linkTo(o.ID); l != nil {
			m.emit(Send{Link: l.num, Data: data})
		}
	}
}

func (m *Machine) receiveAlarm(l *link, msg message) {
	if s := m.all[msg.subject]; s != nil && s.watched && s.ID != l.id {
		m.check(s)
	}
}

// check begins to probe a server, unless that is under way.
func (m *Machine) check(s *member) {
	if !s.checking && s.verdict == none {
		s.checking, s.probes, s.nextWork = true, 0, m.now
	}
}

// probe goes on with a check, or repeats a vote.
func (m *Machine) probe(s *member) {
	if !s.checking && s.verdict == none {
		s.nextWork = time.Time{}
		return
	}
	if l := m.linkTo(s.ID); l != nil && (s.verdict != none || s.probes < probeTimes) {
		m.send(l, message{kind: kindProbe})
	}
	if s.verdict != none {
		s.nextWork = m.now.Add(revote)
		m.emit(Redial{ID: s.ID})
		if s.watched {
			m.sendVote(s)
		}
		return
	}
	switch s.probes++; {
	case s.probes <= probeTimes:
		s.nextWork = m.now.Add(probeEvery)
		if s.probes == 2 {
			m.emit(Redial{ID: s.ID})
		}
	case m.now.Before(m.lateUntil):
		s.checking, s.nextWork = false, time.Time{}
	default:
		m.find(s, silent)
	}
}

// wasLate is for a server that was frozen, or starved: what it missed is its
// own fault, so it forgets its suspicions and begins anew (rule M17).
func (m *Machine) wasLate() {
	m.lateUntil = m.now.Add(lateTime)
	for _, s := range m.ring {
		voted := s.verdict != none && s.watched
		s.checking, s.verdict, s.nextWork = false, none, time.Time{}
		s.votes, s.met, s.decideAt = nil, time.Time{}, time.Time{}
		if voted {
			m.sendVote(s)
		}
		if s.watched {
			s.expect = latest(s.expect, m.lateUntil)
		}
	}
}
