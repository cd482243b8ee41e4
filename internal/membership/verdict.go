package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// The times of a decision (rules M16 and M17).
const (
	voteTime   = 3 * time.Second       // a vote that is not repeated in this time is void
	refuteTime = time.Second           // a suspect has this long to refute
	doubtTime  = 3 * time.Second       // or this long, if whoever suspects it has reason to doubt itself
	turnTime   = 30 * time.Millisecond // those who agree decide one after the other, so that one is enough
)

// verdict is what an observer thinks of a server.
type verdict uint8

const (
	none   verdict = iota // it lives, for all it knows
	silent                // it does not answer
	gone                  // its process is not there any more
)

// vote is another observer's verdict.
type vote struct {
	voter       circuit.ServerID
	verdict     verdict
	incarnation uint64
	until       time.Time
}

// find makes a verdict this server's own, and tells the others if it counts.
func (m *Machine) find(s *member, v verdict) {
	first := s.verdict == none
	s.checking, s.verdict, s.nextWork = false, v, m.now.Add(revote)
	if s.watched {
		m.sendVote(s)
	}
	if !first || v != silent {
		return
	}
	mute := m.isMute()
	for _, o := range m.ring { // others may have gone with it
		if (o.watched || mute) && o != m.self && m.now.Sub(o.heard) > lookAround {
			m.check(o)
		}
	}
}

// sendVote tells all neighbours what this server, as an observer, thinks of s.
func (m *Machine) sendVote(s *member) {
	msg := message{kind: kindVote, subject: s.ID, incarnation: s.Incarnation, verdict: s.verdict}
	m.sendAll(m.linkTo(s.ID), msg.encode())
}

func (m *Machine) receiveVote(l *link, msg message) {
	s := m.all[msg.subject]
	if s == nil || s == m.self || !s.in() || msg.verdict > gone {
		return
	}
	s.votes = slices.DeleteFunc(s.votes, func(v vote) bool { return v.voter == l.id || !m.now.Before(v.until) })
	if msg.verdict != none && len(s.votes) < 4*span {
		s.votes = append(s.votes, vote{voter: l.id, verdict: msg.verdict, incarnation: msg.incarnation, until: m.now.Add(voteTime)})
	}
}

// voteOf returns the verdict of another observer on s.
func (m *Machine) voteOf(s *member, voter circuit.ServerID) verdict {
	for _, v := range s.votes {
		if v.voter == voter && v.incarnation >= s.Incarnation && m.now.Before(v.until) {
			return v.verdict
		}
	}
	return none
}

// unreached takes note of how a dial to a member ended. A port where nobody
// listens is proof that the process is gone, as long as no link says otherwise.
func (m *Machine) unreached(in Unreached) {
	s := m.all[in.ID]
	if s == nil || s == m.self || !s.in() {
		return
	}
	if in.Gone && s.verdict != gone && (m.linkTo(s.ID) == nil || s.checking || s.verdict == silent) {
		m.find(s, gone)
	}
}

// judge decides, if enough of the observers of s agree, that it is suspect, and
// then that it is dead (rule M16).
func (m *Machine) judge(s *member) {
	s.decideAt = time.Time{}
	if s.verdict == none || !s.watched {
		s.met = time.Time{}
		return
	}
	turn, agreed, sure := m.tally(s)
	if !agreed || !sure && m.now.Before(m.lateUntil) {
		s.met = time.Time{}
		return
	}
	if s.met.IsZero() || sure != s.metGone {
		s.met, s.metGone = m.now, sure
	}
	at := s.met
	if !sure && s.State == StateSuspect {
		at = latest(s.met, s.suspectT).Add(m.patience())
	}
	at = at.Add(time.Duration(turn) * turnTime)
	if m.now.Before(at) {
		s.decideAt = at
		return
	}
	e := s.entry
	e.State = StateSuspect
	if sure || s.State == StateSuspect {
		e.State = StateDead
	}
	m.apply(s, e)
	m.originate(e)
	if s.in() {
		m.judge(s)
	}
}

// tally counts the observers of s: whether enough of those that count agree,
// whether enough of them are sure, and how many of those who agree have a lower
// ID than this server. An observer counts unless this server cannot hear it
// itself; who should have voted but may be silent, too, is checked.
func (m *Machine) tally(s *member) (turn int, agreed, sure bool) {
	var counted, yes, goneVotes int
	for _, o := range m.observers(s.ID) {
		v := s.verdict
		if o != m.self {
			if o.State == StateSuspect || o.verdict != none || m.linkTo(o.ID) == nil {
				continue
			}
			v = m.voteOf(s, o.ID)
			if v == none && m.now.Sub(o.heard) > lookAround {
				m.check(o)
			}
		}
		counted++
		switch v {
		case none:
			continue
		case gone:
			goneVotes++
		}
		yes++
		if o.ID < m.self.ID {
			turn++
		}
	}
	need := counted - counted/4
	return turn, yes >= need, goneVotes >= need
}

// patience is how long a suspect has to refute. Who has not heard most of those
// that it observes for a while has reason to doubt itself first.
func (m *Machine) patience() time.Duration {
	if m.muteSince.IsZero() {
		return refuteTime
	}
	return max(refuteTime, doubtTime-m.now.Sub(m.muteSince))
}

// isMute reports whether this server hears less than half of those that it
// observes, and misses more than one.
func (m *Machine) isMute() bool {
	watched, mute := 0, 0
	for _, s := range m.ring {
		if s.watched {
			watched++
			if s.verdict == silent {
				mute++
			}
		}
	}
	return mute >= 2 && 2*mute > watched
}

// unsuspect follows a change of the record of s to e: a new incarnation voids
// all verdicts.
func (s *member) unsuspect(e entry, now time.Time) {
	if e.State == StateSuspect && s.State != StateSuspect {
		s.suspectT = now
	}
	if e.Incarnation > s.Incarnation {
		s.checking, s.verdict, s.nextWork = false, none, time.Time{}
		s.votes, s.met, s.decideAt = nil, time.Time{}, time.Time{}
		s.expect = latest(s.expect, now.Add(refuteTime))
	}
}
