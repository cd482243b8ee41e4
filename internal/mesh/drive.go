package mesh

import (
	"log/slog"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/transport"
)

// The methods in this file are called with the lock held, within do. What they
// let the machines ask for is done by settle.

func (m *Mesh) tellOverlay(in overlay.Input) {
	for _, out := range m.overlay.Step(time.Now(), in) {
		m.pending = append(m.pending, out)
	}
}

func (m *Mesh) tellMembership(in membership.Input) {
	for _, out := range m.membership.Step(time.Now(), in) {
		m.pending = append(m.pending, out)
	}
	if view := m.membership.Directory(); view != *m.view.Load() {
		m.view.Store(&view)
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
		m.seedFailed(out)
	case overlay.Taken:
		m.cfg.OnTaken(out.Address)
	}
}

func (m *Mesh) doMembership(out membership.Output) {
	switch out := out.(type) {
	case membership.Send:
		m.send(out.Link, message{data: out.Data})
	case membership.SendDatagram:
		if l := m.links[out.Link]; l != nil {
			l.flow.Send(out.Data)
		}
	case membership.Joined:
		m.joined(&out.Record)
		m.tellOverlay(overlay.MemberUp{Peer: peerOf(&out.Record), Directory: out.Directory})
	case membership.Left:
		m.left(&out.Record)
		m.tellOverlay(overlay.MemberDown{Peer: peerOf(&out.Record), Failed: out.Record.State == directory.Dead, Directory: out.Directory})
	case membership.Deliver:
		if m.cfg.OnBroadcast != nil {
			m.cfg.OnBroadcast(out.Origin, out.Number, out.Data)
		}
	case membership.Redial:
		m.tellOverlay(overlay.Redial{ID: out.ID})
	case membership.Reset:
		m.log.Warn("a neighbour does not keep to the protocol; its link is closed", slog.Uint64("link", out.Link))
		m.giveUp(out.Link)
	case membership.Persist:
		m.raised(out.Incarnation)
	case membership.Taken:
		m.cfg.OnTaken(out.Address)
	case membership.Departed:
		for _, known := range m.departed {
			close(known)
		}
		m.departed = nil
	}
}

func peerOf(r *directory.Record) overlay.Peer {
	return overlay.Peer{ID: r.ID, Address: r.Address, Instance: r.Instance}
}

func (m *Mesh) joined(r *directory.Record) {
	m.wantSave()
	for j := range m.joins {
		if j.reached == r.ID {
			m.endJoin(j, nil)
		}
	}
	m.cfg.OnEvent(Event{Joined: true, Member: memberOf(r)})
}

func (m *Mesh) left(r *directory.Record) {
	m.wantSave()
	m.cfg.OnEvent(Event{
		Failed: r.State == directory.Dead, Restarted: m.restarted(r),
		Member: circuit.Member{ID: r.ID, Address: r.Address, Version: r.Version},
	})
}

// restarted reports whether another process of a server that left is in the
// circuit, or has a link.
func (m *Mesh) restarted(r *directory.Record) bool {
	if _, in := m.Member(r.ID); in {
		return true
	}
	for _, l := range m.links {
		if l.peer.ID == r.ID && l.peer.Instance != r.Instance {
			return true
		}
	}
	return false
}

func (m *Mesh) linkUp(l *link, dial uint64) {
	m.lastLink++
	l.number = m.lastLink
	m.links[l.number] = l
	m.tellOverlay(overlay.LinkUp{Link: l.number, Dial: dial, Peer: l.peer})
}

func (m *Mesh) linkDown(l *link) {
	if m.links[l.number] == l { // not disconnected before
		m.giveUp(l.number)
	}
}

// giveUp closes a link now.
func (m *Mesh) giveUp(number uint64) {
	if l := m.links[number]; l != nil {
		delete(m.links, number)
		l.close()
		m.tellOverlay(overlay.LinkDown{Link: number})
	}
}

func (m *Mesh) receive(l *link, frame *circuitv1.LinkFrame) {
	for _, data := range frame.GetOverlay() {
		if m.links[l.number] != l {
			return
		}
		m.tellOverlay(overlay.Receive{Link: l.number, Data: data})
		m.settle()
	}
	for _, data := range frame.GetMembership() {
		if m.links[l.number] != l {
			return
		}
		m.tellMembership(membership.Receive{Link: l.number, Data: data})
		m.settle()
	}
}

func (m *Mesh) receiveDatagram(l *link, data [transport.DatagramData]byte) {
	m.do(func() {
		if m.links[l.number] == l {
			m.tellMembership(membership.ReceiveDatagram{Link: l.number, Data: data[:]})
		}
	})
}

func (m *Mesh) send(number uint64, msg message) {
	l := m.links[number]
	if l == nil {
		return
	}
	room, first := l.enqueue(msg)
	if !room {
		m.log.Warn("a neighbour does not read; its link is closed", slog.Uint64("link", number))
		m.giveUp(number)
		return
	}
	if first {
		m.fresh = append(m.fresh, l)
	}
}
