package overlay

import (
	"maps"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// dial is a dial under way. At most one of member, seed and lost is set, and
// tells what it is for.
type dial struct {
	address string
	member  circuit.ServerID // a member, for a link
	fresh   bool             // although there may be one already
	seed    *seed
	lost    circuit.ServerID // one that failed
}

// seed is what Seed asked for.
type seed struct {
	want     Seed
	address  string
	id       circuit.ServerID // who was found there last
	dialling bool
	reached  bool    // SeedReached was said
	said     Failure // the last SeedFailed
	retry    retry
}

// lostPeer is a server that failed, or was known in an earlier life.
type lostPeer struct {
	peer  Peer
	since time.Time
}

// connect dials.
func (m *Machine) connect(d *dial, want circuit.ServerID) {
	m.lastDial++
	m.dials[m.lastDial] = d
	m.emit(Connect{Dial: m.lastDial, Address: d.address, Want: want})
}

// dialDone takes note that a dial ended, either way, and returns it.
func (m *Machine) dialDone(num uint64) *dial {
	d := m.dials[num]
	if d == nil {
		return nil
	}
	delete(m.dials, num)
	if d.seed != nil {
		d.seed.dialling = false
		d.seed.retry.failed(m.now, m.cfg.Rand) // counts only as long as it is missing
	}
	if d.member != 0 {
		m.peer(d.member).dialling = false
	}
	return d
}

func (m *Machine) connectFailed(in ConnectFailed) {
	d := m.dialDone(in.Dial)
	if d == nil {
		return
	}
	gone := in.Failure == Refused || in.Failure == WrongServer
	if d.member != 0 {
		m.unreached(m.peer(d.member), gone)
	}
	m.seedFailed(d, in.Failure)
	if d.lost != 0 && in.Failure == WrongServer {
		m.found(d.lost)
	}
}

// unreached puts the next dial to a member off and tells the membership.
func (m *Machine) unreached(p *peer, gone bool) {
	p.retry.failed(m.now, m.cfg.Rand)
	if p.in {
		m.emit(Unreached{ID: p.id, Gone: gone})
	}
	if gone && p.held != nil {
		m.proven(p, false)
	}
}

// canDial reports whether another dial may begin whose time is t.
func (m *Machine) canDial(t time.Time) bool {
	return len(m.dials) < MaxDials && !m.now.Before(t)
}

func (m *Machine) memberUp(member Peer) {
	if member.ID == m.cfg.Self.ID {
		return
	}
	p := m.peer(member.ID)
	if !p.in {
		m.members++
	}
	p.in, p.member = true, member
	m.found(p.id)
	switch {
	case p.up == nil:
		// Of two who learn of each other, the one with the lower ID dials; the
		// other does only if nothing comes of it (rule O3).
		first := m.now
		if m.cfg.Self.ID > p.id {
			first = first.Add(jitter(m.cfg.Rand, 500*time.Millisecond, time.Second))
		}
		p.retry.start(m.now, first)
	case p.up.peer.Instance == member.Instance:
		p.up.until = time.Time{}
	default:
		m.drop(p)
		p.retry.start(m.now, m.now)
	}
}

func (m *Machine) memberDown(member Peer, failed bool) {
	p := m.known(member.ID)
	if p == nil || !p.in || p.member.Instance != member.Instance {
		return
	}
	p.in, p.fresh = false, false
	m.members--
	switch {
	case p.up == nil:
	case p.up.peer.Instance == member.Instance:
		m.drop(p)
	default: // its successor's, which is not in the circuit yet
		p.up.until = m.now.Add(guestTime)
	}
	if p.held != nil && p.old.Instance == member.Instance {
		m.proven(p, false)
	}
	if failed {
		m.remember(member)
	} else {
		m.found(p.id)
	}
	for _, s := range m.seeds {
		if s.id == p.id || s.address == member.Address {
			s.reached = false
			s.retry.start(m.now, m.now.Add(jitter(m.cfg.Rand, 0, firstRetry)))
		}
	}
}

func (m *Machine) redial(id circuit.ServerID) {
	if p := m.known(id); p != nil && p.in && p.asking == nil && !p.dialling {
		p.fresh = true
		p.retry.next = m.now
	}
}

// dialMembers dials members to which there is no link (rules O1 and O3).
func (m *Machine) dialMembers() {
	for _, p := range m.peers {
		if p.wanted() && m.canDial(p.retry.next) {
			p.dialling = true
			m.connect(&dial{address: p.member.Address, member: p.id, fresh: p.fresh}, p.id)
			p.fresh = false
		}
	}
}

func (m *Machine) addSeed(in Seed) {
	i := slices.IndexFunc(m.seeds, func(s *seed) bool { return s.address == in.Address })
	if i < 0 && len(m.seeds) >= MaxSeeds {
		m.emit(SeedFailed{Address: in.Address, Failure: Unreachable})
		return
	}
	s := &seed{want: in, address: in.Address, id: in.ID}
	s.retry.start(m.now, m.now)
	if i < 0 {
		m.seeds = append(m.seeds, s)
		return
	}
	s.want.Keep = in.Keep || m.seeds[i].want.Keep
	m.seeds[i] = s
}

// unseed forgets a seed, and the dials to it that are under way: nothing comes of
// them any more.
func (m *Machine) unseed(address string) {
	seeds := len(m.seeds)
	m.seeds = slices.DeleteFunc(m.seeds, func(s *seed) bool { return s.address == address && !s.want.Keep })
	if len(m.seeds) < seeds {
		maps.DeleteFunc(m.dials, func(_ uint64, d *dial) bool { return d.seed != nil && d.seed.address == address })
	}
}

// satisfied reports whether a seed's server is in the circuit: the one that was
// found there, or one that says the address is its own.
func (m *Machine) satisfied(s *seed) bool {
	if s.id == m.cfg.Self.ID {
		return true
	}
	i := slices.IndexFunc(m.peers, func(p *peer) bool {
		return p.in && (p.id == s.id || p.member.Address == s.address && s.want.ID == 0)
	})
	if i >= 0 {
		s.id = m.peers[i].id
	}
	return i >= 0
}

// missing reports whether a dial to a seed is in order, now or later.
func (m *Machine) missing(s *seed) bool {
	if s.dialling || m.satisfied(s) {
		return false
	}
	p := m.known(s.id)
	return p == nil || p.up == nil && p.asking == nil && p.held == nil
}

// dialSeeds dials seeds that are missing from the circuit and drops those that
// have done their duty (rule O2).
func (m *Machine) dialSeeds() {
	m.seeds = slices.DeleteFunc(m.seeds, func(s *seed) bool {
		if !m.satisfied(s) {
			return false
		}
		m.reached(s)
		return !s.want.Keep
	})
	for _, s := range m.seeds {
		if m.missing(s) && m.canDial(s.retry.next) {
			s.dialling = true
			m.connect(&dial{address: s.address, seed: s}, s.want.ID)
		}
	}
}

// seedFound takes note of who answers at a seed's address.
func (m *Machine) seedFound(d *dial, id circuit.ServerID) {
	if d.seed != nil {
		d.seed.id = id
		m.reached(d.seed)
	}
	if d.lost != 0 && id == m.cfg.Self.ID {
		m.found(d.lost)
	}
}

// reached says SeedReached, once.
func (m *Machine) reached(s *seed) {
	if !s.reached {
		s.reached, s.said = true, 0
		m.emit(SeedReached{Address: s.address, ID: s.id})
	}
}

// seedFailed says SeedFailed where it is news.
func (m *Machine) seedFailed(d *dial, why Failure) {
	if s := d.seed; s != nil && s.said != why {
		s.said, s.reached = why, false
		m.emit(SeedFailed{Address: s.address, Failure: why})
	}
}

// seedsRefused tells those who wait for a server that this one's ID is not
// welcome there.
func (m *Machine) seedsRefused(id circuit.ServerID) {
	for _, s := range m.seeds {
		if s.id == id {
			m.seedFailed(&dial{seed: s}, IDTaken)
		}
	}
}

// remember keeps a failed server's address.
func (m *Machine) remember(p Peer) {
	m.found(p.ID)
	if p.Address == "" {
		return
	}
	if len(m.lost) == 0 {
		m.nextLost.next = m.now.Add(m.lostWait())
	}
	if len(m.lost) >= MaxRemembered {
		m.lost = slices.Delete(m.lost, 0, 1)
	}
	m.lost = append(m.lost, lostPeer{peer: p, since: m.now})
}

// found forgets that a server failed.
func (m *Machine) found(id circuit.ServerID) {
	m.lost = slices.DeleteFunc(m.lost, func(l lostPeer) bool { return l.peer.ID == id })
}

// lostWait draws how long to wait before the next one who failed is tried: all
// servers together try one in two seconds. A server that has just started alone
// hurries.
func (m *Machine) lostWait() time.Duration {
	n := time.Duration(m.members + 1)
	if m.members == 0 && m.now.Sub(m.nextLost.began) < early {
		return jitter(m.cfg.Rand, firstRetry/2, firstRetry)
	}
	return jitter(m.cfg.Rand, n*time.Second, 3*n*time.Second)
}

// dialLost tries one of those who failed, at a rate that does not grow with the
// circuit (rule O8).
func (m *Machine) dialLost() {
	if len(m.lost) == 0 || !m.canDial(m.nextLost.next) {
		return
	}
	m.lost = slices.DeleteFunc(m.lost, func(l lostPeer) bool { return m.now.Sub(l.since) > KeepFailed })
	m.nextLost.next = m.now.Add(m.lostWait())
	var free []Peer
	for _, l := range m.lost {
		if p := m.known(l.peer.ID); p == nil || p.up == nil && p.asking == nil && p.held == nil && !p.dialling {
			free = append(free, l.peer)
		}
	}
	if len(free) > 0 {
		p := free[m.cfg.Rand.IntN(len(free))]
		m.connect(&dial{address: p.Address, lost: p.ID}, p.ID)
	}
}
