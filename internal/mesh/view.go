package mesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
)

// Directory returns what is known of the servers that are, or were lately, in the
// circuit. It waits for nobody and costs next to nothing.
func (m *Mesh) Directory() directory.Directory { return *m.view.Load() }

// Members returns the servers of the circuit, this one included, in order of
// their IDs.
func (m *Mesh) Members() []circuit.Member {
	view := m.Directory()
	list := make([]circuit.Member, 0, view.Len())
	for r := range view.All() {
		list = append(list, memberOf(r))
	}
	slices.SortFunc(list, func(a, b circuit.Member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Member returns a server of the circuit. It waits for nobody.
func (m *Mesh) Member(id circuit.ServerID) (circuit.Member, bool) {
	if r := m.Directory().Get(id); r != nil && r.In() {
		return memberOf(r), true
	}
	return circuit.Member{}, false
}

// Lookup returns what is known of a server that is, or in the last 24 h was, in
// the circuit: its State tells which. It waits for nobody.
func (m *Mesh) Lookup(id circuit.ServerID) (directory.Record, bool) {
	r := m.Directory().Get(id)
	if r == nil || !r.In() && time.Since(r.Since) > membership.KeepDeparted {
		return directory.Record{}, false
	}
	return *r, true
}

// Neighbours returns the servers that this one has a link with, in order of their
// IDs.
func (m *Mesh) Neighbours() []circuit.ServerID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overlay.Neighbours()
}

func memberOf(r *directory.Record) circuit.Member {
	return circuit.Member{ID: r.ID, Address: r.Address, Joined: r.Since, Version: r.Version}
}
