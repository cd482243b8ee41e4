package overlay

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// purpose is what a dial is for.
type purpose int

const (
	forMember purpose = iota // a link to a member
	forSeed                  // whoever answers at a seed's address
	forLost                  // one that failed

	purposes
)

// dial is a dial under way.
type dial struct {
	purpose purpose
	began   time.Time
	address string
	member  circuit.ServerID // forMember
	fresh   bool             // forMember, although there may be a link, or no wish for one
	seed    *seed            // forSeed
	lost    *lostPeer        // forLost
}

// free reports whether another dial may begin for a purpose.
func (m *Machine) free(p purpose) bool {
	return m.busy[p] < [purposes]int{maxMemberDials, maxSeedDials, maxLostDials}[p]
}

// connect dials.
func (m *Machine) connect(d *dial, want circuit.ServerID) {
	m.lastDial++
	d.began = m.now
	m.dials[m.lastDial] = d
	m.busy[d.purpose]++
	m.emit(Connect{Dial: m.lastDial, Address: d.address, Want: want})
}

// dialDone takes note that a dial ended, either way, and returns it. The next
// one for the same wish is put off, which matters unless this one succeeded.
func (m *Machine) dialDone(num uint64) *dial {
	d := m.dials[num]
	if d == nil {
		return nil
	}
	delete(m.dials, num)
	m.busy[d.purpose]--
	switch d.purpose {
	case forMember:
		p := m.peer(d.member)
		p.dialling = false
		d.fresh, p.fresh = d.fresh || p.fresh, false
		p.retry.failed(m.now, m.cfg.Rand)
	case forSeed:
		d.seed.dialling = false
		d.seed.retry.failed(m.now, m.cfg.Rand)
	case forLost:
		d.lost.dialling = false
	}
	return d
}

func (m *Machine) connectFailed(in ConnectFailed) {
	d := m.dialDone(in.Dial)
	if d == nil {
		return
	}
	switch d.purpose {
	case forMember:
		m.unreached(m.peer(d.member), in.Failure == Refused || in.Failure == WrongServer)
	case forSeed:
		m.seedFailed(d.seed, in.Failure)
	case forLost:
		if in.Failure == WrongServer {
			m.found(d.lost.peer.ID)
		}
	}
}

// unreached follows a dial to a member that came to nothing, and tells the
// membership.
func (m *Machine) unreached(p *peer, gone bool) {
	m.stale = true
	p.gone = gone
	if _, in := m.member(p.id); in {
		m.emit(Unreached{ID: p.id, Gone: gone})
	}
	if gone && p.held != nil {
		m.proven(p, false)
	}
}

func (m *Machine) memberUp(in MemberUp) {
	m.see(in.Directory)
	m.grew()
	m.seedsFollow(in.Peer)
	p := m.known(in.Peer.ID)
	if p == nil {
		return
	}
	p.gone, p.wish = false, false // the wish for it begins anew
	if member, ok := m.member(p.id); p.up == nil || !ok {
		return
	} else if p.up.peer.Instance == member.Instance {
		p.up.until = time.Time{}
		return
	}
	m.drop(p)
	m.refresh(p)
}

func (m *Machine) memberDown(in MemberDown) {
	m.see(in.Directory)
	_, back := m.member(in.Peer.ID) // in another life
	if p := m.known(in.Peer.ID); p != nil {
		if !back {
			p.wish, p.fresh, p.gone = false, false, false
		}
		switch {
		case p.up == nil:
		case p.up.peer.Instance == in.Peer.Instance && !in.Failed:
			p.up.until = m.now.Add(leaveTime)
		case p.up.peer.Instance == in.Peer.Instance:
			m.drop(p)
		case !back: // its successor's, which is not in the circuit yet
			p.up.until = m.now.Add(guestTime)
		}
		if p.held != nil && p.old.Instance == in.Peer.Instance {
			m.proven(p, false)
		}
	}
	if in.Failed {
		m.remember(in.Peer)
	} else {
		m.found(in.Peer.ID)
	}
	m.seedsMiss(in.Peer)
}

// redial wants a fresh connection to a member, linked or not. A link that is
// there counts for nothing as long as it is in doubt (rule O11).
func (m *Machine) redial(id circuit.ServerID) {
	if _, in := m.member(id); !in {
		return
	}
	p := m.peer(id)
	if p.up != nil {
		p.doubt = m.now.Add(doubtTime)
		m.stale = true
	}
	if p.asking == nil {
		m.refresh(p)
	}
}

// refresh has a member dialled at once, wanted or not, unless a dial is under
// way, which will do.
func (m *Machine) refresh(p *peer) {
	p.fresh = true
	p.retry.start(m.now, m.now)
}

// awaitsDial reports whether a dial to a member is in order, now or later.
func (m *Machine) awaitsDial(p *peer) bool {
	if p.asking != nil || p.dialling || !p.fresh && (!p.wish || p.up != nil) {
		return false
	}
	_, in := m.member(p.id)
	return in
}

// dialMembers dials those members that it is time for, who has waited longest
// first (rule O3).
func (m *Machine) dialMembers() {
	var due []*peer
	for _, p := range m.peers {
		if m.awaitsDial(p) && !m.now.Before(m.dialAt(p)) {
			due = append(due, p)
		}
	}
	slices.SortStableFunc(due, func(a, b *peer) int { return a.retry.next.Compare(b.retry.next) })
	for _, p := range due {
		if !m.free(forMember) {
			return
		}
		member, _ := m.member(p.id)
		p.dialling = true
		m.connect(&dial{purpose: forMember, address: member.Address, member: p.id, fresh: p.fresh}, p.id)
		p.fresh = false
	}
}
