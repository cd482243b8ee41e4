package overlay

import (
	"iter"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// search is one direction of one ring, in which this server looks for a
// neighbour.
type search struct {
	reach int       // how many candidates are wanted, but for those that are gone; at least 1
	widen time.Time // when reach doubles unless one of them is linked by then; zero: one is, or reach is as far as it goes
}

// see takes over the view after a change of it.
func (m *Machine) see(view directory.Directory) {
	m.view, m.stale = view, true
	m.members = view.Len()
	if self := view.Get(m.cfg.Self.ID); self != nil && self.In() {
		m.members--
	}
}

// member returns another server of the circuit.
func (m *Machine) member(id circuit.ServerID) (Peer, bool) {
	r := m.view.Get(id)
	if r == nil || !r.In() || id == m.cfg.Self.ID {
		return Peer{}, false
	}
	return Peer{ID: r.ID, Address: r.Address, Instance: r.Instance}, true
}

// choose finds out anew which links this server wants, if anything changed that
// matters for it (rule O1).
func (m *Machine) choose() {
	if !m.stale || m.leaving {
		return
	}
	m.stale = false
	m.linked = 0
	for _, p := range m.peers {
		p.wished, p.wish = p.wish, false
		if p.up != nil {
			m.linked++
		}
	}
	found := true
	if m.members <= everybody {
		m.searches = [len(m.searches)]search{}
		for r := range m.view.After(0, m.cfg.Self.ID) {
			m.wish(r.ID, true)
		}
	} else {
		for ring := range directory.Rings {
			after := m.look(&m.searches[2*ring], m.view.After(ring, m.cfg.Self.ID))
			before := m.look(&m.searches[2*ring+1], m.view.Before(ring, m.cfg.Self.ID))
			found = found && after && before
		}
	}
	if !found {
		m.settled = time.Time{}
	} else if m.settled.IsZero() {
		m.settled = m.now
	}
	for _, p := range m.peers {
		m.review(p)
	}
}

// look wants the first candidates of one direction of a ring, as far as one to
// which there is a sound link, and reports whether it found one (rule O11). Who
// is gone does not count.
func (m *Machine) look(s *search, candidates iter.Seq[*directory.Record]) bool {
	s.reach = max(s.reach, 1)
	if !s.widen.IsZero() && !m.now.Before(s.widen) {
		s.reach, s.widen = 2*s.reach, time.Time{}
	}
	seen, passed := 0, 0
	for r := range candidates {
		p := m.wish(r.ID, seen == 0)
		seen++
		if !p.gone {
			passed++
		}
		if p.sound() {
			*s = search{reach: passed}
			return true
		}
		if passed >= s.reach || seen >= maxReach {
			break
		}
	}
	if s.widen.IsZero() && s.reach < maxReach {
		s.widen = m.now.Add(patience + 4*m.pace.now(m.now))
	}
	if !s.widen.IsZero() && m.linked > 0 { // for that long nobody is dialled
		s.widen = latest(s.widen, m.calm.Add(patience))
	}
	return false
}

// grew takes note that the circuit grew: others may be about to join, too. No
// new neighbour is dialled until that is over, or has lasted long enough (rule
// O12).
func (m *Machine) grew() {
	pause := settleMax + m.pace.now(m.now)
	if m.now.After(m.calm) {
		m.storm = m.now
	}
	m.calm = latest(m.calm, earliest(m.now.Add(pause), m.storm.Add(stormMost*pause)))
}

// canWait reports whether a wish may pass before there is a link (rule O12).
func (m *Machine) canWait(p *peer) bool { return p.first && m.members > everybody && m.linked > 0 }

// dialAt returns when a member is to be dialled that awaits it.
func (m *Machine) dialAt(p *peer) time.Time {
	if m.canWait(p) && !p.fresh {
		return latest(p.retry.next, m.calm)
	}
	return p.retry.next
}

// wish wants a link to a member. The peer wants the same, and the one with the
// lower ID dials (rule O3), after a while if this server can wait, for it may
// not be wanted any more then (rule O12). One that is wanted in another's stead is
// dialled at once; its own wish is uncertain, so the higher ID does not wait long.
func (m *Machine) wish(id circuit.ServerID, first bool) *peer {
	p := m.peer(id)
	if p.wish {
		return p
	}
	p.wish, p.first = true, first
	if p.wished || p.fresh {
		return p
	}
	at := m.now
	if m.canWait(p) {
		at = at.Add(jitter(m.cfg.Rand, settleMin, settleMax) + m.pace.now(m.now))
	}
	switch {
	case m.cfg.Self.ID < id:
	case first:
		at = at.Add(jitter(m.cfg.Rand, turnMin, turnMax) + 4*m.pace.now(m.now))
	default:
		at = at.Add(jitter(m.cfg.Rand, standMin, standMax) + m.pace.now(m.now))
	}
	p.retry.start(m.now, at)
	return p
}

// review follows a change of what is wanted, for the link in use.
func (m *Machine) review(p *peer) {
	switch {
	case p.up == nil:
	case p.wish:
		p.idle = time.Time{}
		if !p.mine {
			m.tell(p, true)
		}
	case p.guest():
		p.idle = time.Time{}
	case p.idle.IsZero():
		p.idle = m.now
	}
}

// tell tells a neighbour whether this server wants the link (rule O13).
func (m *Machine) tell(p *peer, want bool) {
	p.mine = want
	m.send(p.up, message{kind: kindWant, want: want})
}

// withdrawal returns when the wish for a link is withdrawn unless it comes back
// before; zero if it is not (rule O13): not as long as a search has found
// nobody.
func (m *Machine) withdrawal(p *peer) time.Time {
	if p.up == nil || !p.mine || p.idle.IsZero() || m.settled.IsZero() || m.leaving {
		return time.Time{}
	}
	return latest(p.idle, m.settled).Add(linger)
}

// withdraw withdraws a wish, and ends the link if the peer does not want it
// either.
func (m *Machine) withdraw(p *peer) {
	m.tell(p, false)
	if !p.theirs {
		m.part(p)
	}
}

// theyWant takes in whether the peer wants the link in use.
func (m *Machine) theyWant(p *peer, want bool) {
	p.theirs = want
	if !p.mine && !p.theirs {
		m.part(p)
	}
}

// part ends a link in such a way that the peer does not think that it lost us.
func (m *Machine) part(p *peer) {
	m.send(p.up, message{kind: kindBye})
	m.drop(p)
}

// parted follows when the peer did.
func (m *Machine) parted(p *peer) {
	p.wish = false // if it is wanted again by now, that begins anew
	m.drop(p)
}
