package sim

import (
	"time"

	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// overlay runs a step of the overlay machine and does what it says. What is for
// the other machine waits until that is done.
func (p *process) overlay(in overlay.Input) {
	s := p.sim
	s.steps++
	s.note(6, uint64(p.host.index), uint64(s.Now()))
	for _, out := range p.ov.Step(s.now, in) {
		p.doOverlay(out)
	}
	p.flush()
	p.wake(0, p.ov.Deadline())
}

func (p *process) doOverlay(out overlay.Output) {
	s := p.sim
	switch out := out.(type) {
	case overlay.Connect:
		s.note(10, out.Dial)
		s.connect(&dial{from: p, num: out.Dial, want: out.Want, target: out.Address})
	case overlay.Disconnect:
		s.note(11, out.Link)
		if e := p.links[out.Link]; e != nil {
			delete(p.links, out.Link)
			s.shut(e)
		}
	case overlay.Send:
		if e := p.links[out.Link]; e != nil {
			s.push(e, packet{what: overlayData, data: out.Data})
		}
	case overlay.Up:
		s.changes++
		s.note(12, out.Link, uint64(out.Peer.ID))
		p.later(membership.LinkUp{Link: out.Link, ID: out.Peer.ID, Instance: out.Peer.Instance})
	case overlay.Down:
		s.changes++
		s.note(13, out.Link)
		p.later(membership.LinkDown{Link: out.Link, Lost: out.Lost})
	case overlay.Unreached:
		p.later(membership.Unreached{ID: out.ID, Gone: out.Gone})
	case overlay.Replaced:
		p.later(membership.Replaced{ID: out.ID, Old: out.Old})
	case overlay.Taken:
		p.wasTaken()
	}
}

// membership runs a step of the membership machine and does what it says.
func (p *process) membership(in membership.Input) {
	s := p.sim
	s.steps++
	s.note(7, uint64(p.host.index), uint64(s.Now()))
	outs := p.mem.Step(s.now, in)
	for _, out := range outs {
		p.doMembership(out)
	}
	s.check.stepped(p, in, outs)
	p.flush()
	p.wake(1, p.mem.Deadline())
}

func (p *process) doMembership(out membership.Output) {
	s := p.sim
	switch out := out.(type) {
	case membership.Send:
		s.trace.Write(out.Data)
		if e := p.links[out.Link]; e != nil {
			s.push(e, packet{what: membershipData, data: out.Data})
		}
	case membership.Joined:
		s.changes++
		s.note(14, uint64(out.Record.ID), out.Record.Incarnation)
		p.later(overlay.MemberUp{Peer: peerOf(out.Record)})
	case membership.Left:
		s.changes++
		s.note(15, uint64(out.Record.ID), out.Record.Incarnation, uint64(out.Record.State))
		p.later(overlay.MemberDown{Peer: peerOf(out.Record), Failed: out.Record.State == membership.StateDead})
	case membership.Redial:
		p.later(overlay.Redial{ID: out.ID})
	case membership.Persist:
		p.host.incarnation = out.Incarnation
	case membership.Taken:
		p.wasTaken()
	case membership.Departed:
		s.After(0, func() {
			if !p.dead {
				p.end(true)
			}
		})
	}
}

func peerOf(r membership.Record) overlay.Peer {
	return overlay.Peer{ID: r.ID, Address: r.Address, Instance: r.Instance}
}

// wasTaken stops a server whose ID is another's.
func (p *process) wasTaken() {
	if !p.taken {
		p.taken = true
		p.sim.After(0, func() {
			if !p.dead {
				p.sim.check.clone(p)
				p.end(true)
			}
		})
	}
}

// later queues an input for the other machine.
func (p *process) later(in any) {
	p.queue = append(p.queue, func() {
		switch in := in.(type) {
		case overlay.Input:
			p.overlay(in)
		case membership.Input:
			p.membership(in)
		}
	})
}

// flush hands over what is queued, in order.
func (p *process) flush() {
	if p.busy {
		return
	}
	p.busy = true
	for len(p.queue) > 0 && !p.dead {
		next := p.queue[0]
		p.queue = p.queue[1:]
		next()
	}
	p.busy = false
}

// wake schedules the next Tick of a machine.
func (p *process) wake(which int, at time.Time) {
	if at.IsZero() || !p.wakes[which].IsZero() && !at.Before(p.wakes[which]) {
		return
	}
	p.wakes[which] = later(at, p.sim.now)
	p.sim.at(at, func() { p.tick(which, at) })
}

// tick runs a machine whose deadline has come; or waits on, if it moved.
func (p *process) tick(which int, at time.Time) {
	p.deliver(func() {
		if p.wakes[which].After(at) {
			return
		}
		p.wakes[which] = time.Time{}
		deadline := p.ov.Deadline()
		if which == 1 {
			deadline = p.mem.Deadline()
		}
		switch {
		case deadline.IsZero():
		case deadline.After(p.sim.now):
			p.wake(which, deadline)
		case which == 0:
			p.overlay(overlay.Tick{})
		default:
			p.membership(membership.Tick{})
		}
	})
}
