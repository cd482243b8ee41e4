package mesh

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// The methods in this file run in the owner's goroutine.

// tellOverlay steps the overlay. What it wants done is done by settle.
func (m *Mesh) tellOverlay(in overlay.Input) {
	for _, out := range m.overlay.Step(time.Now(), in) {
		m.pending = append(m.pending, out)
	}
}

// tellMembership steps the membership. What it wants done is done by settle.
func (m *Mesh) tellMembership(in membership.Input) {
	for _, out := range m.membership.Step(time.Now(), in) {
		m.pending = append(m.pending, out)
	}
}

// settle does what the machines want, in order, until they want no more.
func (m *Mesh) settle() {
	for len(m.pending) > 0 {
		out := m.pending[0]
		m.pending = m.pending[1:]
		switch out := out.(type) {
		case overlay.Output:
			m.doOverlay(out)
		case membership.Output:
			m.doMembership(out)
		}
	}
	m.pending = nil
}

func (m *Mesh) doOverlay(out overlay.Output) {
	switch out := out.(type) {
	case overlay.Connect:
		m.others.Go(func() { m.dial(out) })
	case overlay.Disconnect:
		if l := m.links[out.Link]; l != nil {
			delete(m.links, out.Link)
			l.finish()
		}
	case overlay.Send:
		m.send(out.Link, message{overlay: true, data: out.Data})
	case overlay.Up:
		m.tellMembership(membership.LinkUp{Link: out.Link, ID: out.Peer.ID, Instance: out.Peer.Instance})
	case overlay.Down:
		m.tellMembership(membership.LinkDown{Link: out.Link, Lost: out.Lost})
	case overlay.Unreached:
		m.tellMembership(membership.Unreached{ID: out.ID, Gone: out.Gone})
	case overlay.Replaced:
		m.tellMembership(membership.Replaced{ID: out.ID, Old: out.Old})
	case overlay.SeedReached:
		m.log.Debug("reached a server to join", slog.String("address", out.Address), slog.Any("server", out.ID))
		m.seedReached(out)
	case overlay.SeedFailed:
		m.log.Warn("a server to join does not answer as it should; trying on", slog.String("address", out.Address), slog.String("reason", reason(out.Failure)))
		m.seedFailed(out)
	case overlay.Taken:
		m.cfg.OnTaken(out.Address)
	}
}

func (m *Mesh) doMembership(out membership.Output) {
	switch out := out.(type) {
	case membership.Send:
		m.send(out.Link, message{data: out.Data})
	case membership.Joined:
		m.joined(out.Record)
		m.tellOverlay(overlay.MemberUp{Peer: peerOf(out.Record)})
	case membership.Left:
		m.left(out.Record)
		m.tellOverlay(overlay.MemberDown{Peer: peerOf(out.Record), Failed: out.Record.State == membership.StateDead})
	case membership.Redial:
		m.tellOverlay(overlay.Redial{ID: out.ID})
	case membership.Persist:
		if err := m.cfg.Persist(out.Incarnation); err != nil {
			m.log.Error("the incarnation cannot be kept; a restart may be taken for a ghost for a while", slog.Any("error", err))
		}
	case membership.Taken:
		m.cfg.OnTaken(out.Address)
	case membership.Departed:
		for _, known := range m.departed {
			close(known)
		}
		m.departed = nil
	}
}

func peerOf(r membership.Record) overlay.Peer {
	return overlay.Peer{ID: r.ID, Address: r.Address, Instance: r.Instance}
}

func (m *Mesh) joined(r membership.Record) {
	member := circuit.Member{ID: r.ID, Address: r.Address, Joined: r.Since, Version: r.Version}
	m.mu.Lock()
	m.members[r.ID] = member
	m.mu.Unlock()
	m.wantSave()
	for j := range m.joins {
		if j.reached == r.ID {
			m.endJoin(j, nil)
		}
	}
	m.cfg.OnEvent(Event{Joined: true, Member: member})
}

func (m *Mesh) left(r membership.Record) {
	m.mu.Lock()
	member := m.members[r.ID]
	delete(m.members, r.ID)
	m.mu.Unlock()
	m.wantSave()
	m.cfg.OnEvent(Event{Failed: r.State == membership.StateDead, Restarted: m.restarted(r), Member: member})
}

// restarted reports whether another process of a server that left has a link.
func (m *Mesh) restarted(r membership.Record) bool {
	for _, l := range m.links {
		if l.peer.ID == r.ID && l.peer.Instance != r.Instance {
			return true
		}
	}
	return false
}

// wantSave lets the saver write the remembered peers soon.
func (m *Mesh) wantSave() {
	select {
	case m.save <- struct{}{}:
	default:
	}
}

// keepPeers saves the peers whenever they changed, at most once in saveEvery,
// and at the end.
func (m *Mesh) keepPeers() {
	for m.ctx.Err() == nil {
		select {
		case <-m.save:
			m.savePeers()
		case <-m.ctx.Done():
		}
		select {
		case <-time.After(saveEvery):
		case <-m.ctx.Done():
		}
	}
	select {
	case <-m.save:
		m.savePeers()
	default:
	}
}

// savePeers saves the peers to remember. A circuit of one is not saved: its
// server would forget where it belonged.
func (m *Mesh) savePeers() {
	var peers []overlay.Peer
	for _, member := range m.Members() {
		if member.ID != m.cfg.Self.ID {
			peers = append(peers, overlay.Peer{ID: member.ID, Address: member.Address})
		}
	}
	if len(peers) == 0 {
		return
	}
	if err := m.cfg.SavePeers(peers); err != nil {
		m.log.Error("the peers cannot be kept", slog.Any("error", err))
	}
}

func sortedMembers(members map[circuit.ServerID]circuit.Member) []circuit.Member {
	return slices.SortedFunc(maps.Values(members), func(a, b circuit.Member) int { return cmp.Compare(a.ID, b.ID) })
}
