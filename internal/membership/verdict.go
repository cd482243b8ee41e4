package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// verdict is what an observer thinks of a server.
type verdict uint8

const (
	none   verdict = iota // it lives, for all it knows
	silent                // it does not answer
	gone                  // its process is not there any more
)

// unreached takes note of how a dial to a member ended. Where nobody listens whose
// link just broke, that is proof that the process is gone. Without that it proves
// nothing: a firewall may refuse, or the address be a wrong one. To whom there
// is no link it counts as silence.
func (m *Machine) unreached(in Unreached) {
	r := m.get(in.ID)
	if r == nil || r == m.self || !r.In() {
		return
	}
	w := m.watch(in.ID)
	switch {
	case in.Gone && w.lost:
		m.find(w, gone)
	case !w.isObserved() && w.verdict == none:
		w.keep = m.now.Add(peaceMost)
		if w.failed++; float64(w.failed) > m.loss*lossWeight {
			m.find(w, silent)
		}
	}
	m.plan(w)
}

// find makes a verdict this server's own.
func (m *Machine) find(w *watch, v verdict) {
	if w.verdict == v {
		return
	}
	w.checking, w.verdict, w.found, w.next = false, v, m.now, time.Time{}
	if w.link != nil {
		w.next = m.now.Add(reprobe)
	}
	m.judge(w)
	if v == silent { // others may have gone with it
		for _, o := range m.observed {
			if m.now.Sub(o.heard) > lookAround {
				m.check(o)
			}
		}
	}
}

// judge sets when this server says what it thinks of another: that it is suspect,
// or, if that was said, that it is dead (rule M16).
func (m *Machine) judge(w *watch) {
	w.act = time.Time{}
	defer m.plan(w)
	if w.verdict == none {
		return
	}
	sure := w.verdict == gone
	switch {
	case w.suspected.IsZero():
		w.act = w.found
	case sure && (w.others && w.proof || m.isAlone()):
		w.act = latest(w.found, w.suspected)
	case w.others || m.isAlone():
		w.act = w.suspected.Add(m.patience())
	default:
		w.act = w.suspected.Add(m.patience() + aloneTime)
	}
	w.act = w.act.Add(m.turn(w))
	if !sure {
		w.act = latest(w.act, m.lateUntil)
	}
	if w.suspected.IsZero() && m.dir.Len() > 2 {
		w.act = latest(w.act, w.peace)
	}
}

// turn is how much later than the first of them this server acts, among those
// that observe another: they stand next to it on the rings, in an order that all
// know, so that one acts and the others hear of it before it is their turn. Who
// accused it has done its part, and who is suspect itself is not waited for.
func (m *Machine) turn(w *watch) time.Duration {
	var before [2 * directory.Rings]circuit.ServerID
	n := 0
	for i := range before {
		next := m.dir.After
		if i%2 == 1 {
			next = m.dir.Before
		}
		for r := range next(i/2, w.id) {
			switch {
			case r == m.self:
				return time.Duration(n) * turnEvery
			case r.State == directory.Alive && r.ID != w.accuser && !slices.Contains(before[:n], r.ID):
				before[n] = r.ID
				n++
			}
			break
		}
	}
	return time.Duration(n) * turnEvery
}

// decide says what this server thinks of another, if it is still time for it.
func (m *Machine) decide(w *watch) {
	if m.judge(w); !m.reached(w.act) {
		return
	}
	r := m.dir.Get(w.id)
	said := event{record: &entry{Record: *r, gone: w.verdict == gone}, origin: m.self.ID}
	said.record.State = directory.Suspect
	if !w.suspected.IsZero() {
		said.record.State = directory.Dead
	}
	m.apply(r, said.record, &said)
	m.originate(said)
}

// accused takes note that somebody said that a server, which is in the circuit,
// is suspect. An event tells who; whatever a batch tells was said by others.
func (m *Machine) accused(e *entry, by *event) {
	w := m.watch(e.ID)
	if w.suspected.IsZero() {
		w.suspected = m.now
	}
	if by != nil && by.origin == m.self.ID {
		if m.now.Sub(w.peace) > peaceMost {
			w.refuted = 0
		}
		w.mine = true
	} else {
		w.others, w.accuser = true, 0
		if by != nil {
			w.accuser = by.origin
		}
		w.proof = w.proof || e.gone
		if w.link != nil {
			m.check(w)
		}
	}
	m.judge(w)
}

// refuted follows a new incarnation of a server: nothing that was thought of it
// counts any more. Whoever accused it leaves it in peace for a while, for it may
// be the way that is bad.
func (m *Machine) refuted(id circuit.ServerID) {
	w := m.watches[id]
	if w == nil {
		return
	}
	if w.mine {
		w.peace = m.now.Add(min(peaceFirst<<min(w.refuted, 8), peaceMost))
		w.refuted++
		w.keep = w.peace.Add(peaceMost)
	}
	w.suspected, w.mine, w.others, w.proof, w.accuser, w.failed = time.Time{}, false, false, false, 0, 0
	w.acquit()
	w.expect = latest(w.expect, m.now.Add(refuteTime))
	if w.link == nil && w.lost {
		w.lost = false
		m.observed = remove(m.observed, w)
	}
	m.plan(w)
}

// isAlone reports whether nobody else in the circuit is above suspicion.
func (m *Machine) isAlone() bool { return m.dir.Len()-1 <= m.suspects }

// noticeAlone judges anew when this server turns out to be the only one who can.
func (m *Machine) noticeAlone() {
	was := m.alone
	m.alone = m.isAlone()
	if m.alone && !was {
		for _, w := range m.watches {
			m.judge(w)
		}
	}
}

// patience is how long a suspect has to refute: longer where many pulses are
// lost, for then all takes longer, and where this server has reason to doubt
// itself, for it does not hear most of those that it observes (rule M17).
func (m *Machine) patience() time.Duration {
	d := refuteTime + time.Duration(m.loss*lossWeight*float64(refuteTime))
	mute := 0
	for _, w := range m.observed {
		if w.verdict == silent {
			mute++
		}
	}
	if mute > 1 && 2*mute > len(m.observed) {
		return max(d, doubtTime)
	}
	return d
}

// wasLate is for a server that was frozen, or starved: what it missed is its
// own fault, so it forgets its suspicions and begins anew (rule M17).
func (m *Machine) wasLate() {
	m.lateUntil = m.now.Add(lateTime)
	for _, w := range m.watches {
		w.acquit()
		w.expect = latest(w.expect, m.lateUntil)
		m.plan(w)
	}
}
