package overlay

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// lost are the servers to find again (rule O8).
type lost struct {
	peers []*lostPeer   // oldest first
	from  time.Time     // when the last was tried, or the first was lost
	share time.Duration // what the wait until the next attempt is made of
	tries int           // attempts of a server that has just started and is alone
}

// lostPeer is a server that failed, or was known in an earlier life.
type lostPeer struct {
	peer     Peer
	since    time.Time
	dialling bool
}

// remember keeps a failed server's address.
func (m *Machine) remember(p Peer) {
	m.found(p.ID)
	if p.Address == "" {
		return
	}
	if len(m.lost.peers) == 0 {
		m.restLost()
	}
	if len(m.lost.peers) >= MaxRemembered {
		m.lost.peers = slices.Delete(m.lost.peers, 0, 1)
	}
	m.lost.peers = append(m.lost.peers, &lostPeer{peer: p, since: m.now})
}

// Remembered returns whom a next life of this server may find its circuit by, at
// most MaxRemembered: those that it looks for, the latest first, and then those
// that follow it on a ring, which are as good as chosen at random.
func (m *Machine) Remembered() []Peer {
	var list []Peer
	for _, l := range slices.Backward(m.lost.peers) {
		if len(list) == MaxRemembered/2 {
			break
		}
		if _, in := m.member(l.peer.ID); !in {
			list = append(list, Peer{ID: l.peer.ID, Address: l.peer.Address})
		}
	}
	for r := range m.view.After(0, m.cfg.Self.ID) {
		if len(list) == MaxRemembered {
			break
		}
		list = append(list, Peer{ID: r.ID, Address: r.Address})
	}
	return list
}

// found forgets that a server failed.
func (m *Machine) found(id circuit.ServerID) {
	m.lost.peers = slices.DeleteFunc(m.lost.peers, func(l *lostPeer) bool { return l.peer.ID == id })
}

// restLost begins the wait for the next attempt. Waits are exponentially
// distributed, which no history can align: many servers lose the same ones at
// the same moment.
func (m *Machine) restLost() {
	m.lost.from = m.now
	m.lost.share = time.Duration(min(m.cfg.Rand.ExpFloat64(), lostMost) * float64(lostEvery))
}

// nextLost returns when the next of the lost is tried: each server of a circuit
// waits the longer the larger it is. One that has just started and has nobody
// hurries.
func (m *Machine) nextLost() time.Time {
	wait := m.lost.share * time.Duration(m.members+1)
	hurries := m.members == 0 && len(m.links) == 0 && m.now.Sub(m.began) < early
	switch {
	case len(m.lost.peers) == 0:
		return time.Time{}
	case hurries && m.lost.tries < rushFirst:
		return m.lost.from
	case hurries && m.lost.tries < rushCount:
		wait = wait * rushEvery / lostEvery
	case hurries:
		wait = wait * soonEvery / lostEvery
	}
	return m.lost.from.Add(wait)
}

// dialLost tries those of the lost whose time has come (rule O8).
func (m *Machine) dialLost() {
	for m.free(forLost) {
		if next := m.nextLost(); next.IsZero() || m.now.Before(next) {
			return
		}
		m.tryLost()
	}
}

// tryLost tries one of the lost, at random.
func (m *Machine) tryLost() {
	m.restLost()
	m.lost.tries = min(m.lost.tries+1, rushCount)
	m.lost.peers = slices.DeleteFunc(m.lost.peers, func(l *lostPeer) bool {
		_, in := m.member(l.peer.ID)
		return in || m.now.Sub(l.since) > KeepFailed
	})
	var idle []*lostPeer
	for _, l := range m.lost.peers {
		if p := m.known(l.peer.ID); !l.dialling && (p == nil || !p.engaged()) {
			idle = append(idle, l)
		}
	}
	if len(idle) > 0 {
		l := idle[m.cfg.Rand.IntN(len(idle))]
		l.dialling = true
		m.connect(&dial{purpose: forLost, address: l.peer.Address, lost: l}, l.peer.ID)
	}
}
