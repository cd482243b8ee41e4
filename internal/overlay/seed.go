package overlay

import (
	"slices"

	"github.com/gocircuit/circuit"
)

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

func (m *Machine) addSeed(in Seed) {
	i := slices.IndexFunc(m.seeds, func(s *seed) bool { return s.address == in.Address })
	if i < 0 && len(m.seeds) >= MaxSeeds {
		m.emit(SeedFailed{Address: in.Address, Failure: TooMany})
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
	if len(m.seeds) == seeds {
		return
	}
	for num, d := range m.dials {
		if d.purpose == forSeed && d.seed.address == address {
			delete(m.dials, num)
			m.busy[forSeed]--
		}
	}
}

// satisfied reports whether a seed's server is in the circuit.
func (m *Machine) satisfied(s *seed) bool {
	_, in := m.member(s.id)
	return in || s.id == m.cfg.Self.ID
}

// missing reports whether a dial to a seed is in order, now or later.
func (m *Machine) missing(s *seed) bool {
	if s.dialling || m.satisfied(s) {
		return false
	}
	p := m.known(s.id)
	return p == nil || !p.engaged()
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
	var due []*seed
	for _, s := range m.seeds {
		if m.missing(s) && !m.now.Before(s.retry.next) {
			due = append(due, s)
		}
	}
	slices.SortStableFunc(due, func(a, b *seed) int { return a.retry.next.Compare(b.retry.next) })
	for _, s := range due {
		if !m.free(forSeed) {
			return
		}
		s.dialling = true
		m.connect(&dial{purpose: forSeed, address: s.address, seed: s}, s.want.ID)
	}
}

// seedsFollow takes note of a member that says that a seed's address is its own.
func (m *Machine) seedsFollow(member Peer) {
	for _, s := range m.seeds {
		if s.address == member.Address && s.want.ID == 0 {
			s.id = member.ID
		}
	}
}

// seedsMiss takes note of a member that is no more.
func (m *Machine) seedsMiss(member Peer) {
	for _, s := range m.seeds {
		if s.id == member.ID || s.address == member.Address {
			s.reached = false
			s.retry.start(m.now, m.now.Add(jitter(m.cfg.Rand, 0, firstRetry)))
		}
	}
}

// seedFound takes note of who answers at a seed's address.
func (m *Machine) seedFound(s *seed, id circuit.ServerID) {
	s.id = id
	m.reached(s)
}

// reached says SeedReached, once.
func (m *Machine) reached(s *seed) {
	if !s.reached {
		s.reached, s.said = true, 0
		m.emit(SeedReached{Address: s.address, ID: s.id})
	}
}

// seedFailed says SeedFailed where it is news.
func (m *Machine) seedFailed(s *seed, why Failure) {
	if s.said != why {
		s.said, s.reached = why, false
		m.emit(SeedFailed{Address: s.address, Failure: why})
	}
}

// seedsRefused tells those who wait for a server that this one's ID is not
// welcome there.
func (m *Machine) seedsRefused(id circuit.ServerID) {
	for _, s := range m.seeds {
		if s.id == id {
			m.seedFailed(s, IDTaken)
		}
	}
}
