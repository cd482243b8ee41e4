package sim

import (
	"time"

	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// overlay runs a step of the overlay machine and does what it says. What is for
// the other machine waits until that is done.
func (p *process) overlay(in overlay.Input) {
	s := p.sim
	s.traffic.Steps++
	s.note(6, uint64(p.host.index), uint64(s.now))
	for _, out := range p.ov.Step(p.clock(), in) {
		p.doOverlay(out)
	}
	p.flush()
	p.wake(0)
}

func (p *process) doOverlay(out overlay.Output) {
	s := p.sim
	switch out := out.(type) {
	case overlay.Connect:
		s.note(10, out.Dial)
		s.connect(&dial{from: p, num: out.Dial, want: out.Want, target: s.byAddr[out.Address]})
	case overlay.Disconnect:
		s.note(11, out.Link)
		if e := p.links[out.Link]; e != nil {
			delete(p.links, out.Link)
			s.shut(e)
		}
	case overlay.Send:
		s.noteData(out.Data)
		if e := p.links[out.Link]; e != nil {
			s.push(e, packet{what: overlayData, data: out.Data})
		}
	case overlay.Up:
		s.changes++
		s.note(12, out.Link, uint64(out.Peer.ID))
		p.queue = append(p.queue, membership.LinkUp{Link: out.Link, ID: out.Peer.ID, Instance: out.Peer.Instance})
	case overlay.Down:
		s.changes++
		s.note(13, out.Link)
		p.queue = append(p.queue, membership.LinkDown{Link: out.Link, Lost: out.Lost})
	case overlay.Unreached:
		p.queue = append(p.queue, membership.Unreached{ID: out.ID, Gone: out.Gone})
	case overlay.Replaced:
		p.queue = append(p.queue, membership.Replaced{ID: out.ID, Old: out.Old})
	case overlay.Taken:
		p.wasTaken()
	}
}

// membership runs a step of the membership machine and does what it says.
func (p *process) membership(in membership.Input) {
	s := p.sim
	s.traffic.Steps++
	s.note(7, uint64(p.host.index), uint64(s.now))
	outs := p.mem.Step(p.clock(), in)
	for _, out := range outs {
		p.doMembership(out)
	}
	s.check.stepped(p, outs)
	p.flush()
	p.wake(1)
}

func (p *process) doMembership(out membership.Output) {
	s := p.sim
	switch out := out.(type) {
	case membership.Send:
		s.noteData(out.Data)
		if e := p.links[out.Link]; e != nil {
			s.push(e, packet{what: membershipData, data: out.Data})
		}
	case membership.SendDatagram:
		s.noteData(out.Data)
		if e := p.links[out.Link]; e != nil {
			s.sendDatagram(e, out.Data)
		}
	case membership.Joined:
		s.changes++
		s.note(14, uint64(out.Record.ID), out.Record.Incarnation)
		p.queue = append(p.queue, overlay.MemberUp{Peer: peerOf(&out.Record), Directory: out.Directory})
	case membership.Left:
		s.changes++
		s.note(15, uint64(out.Record.ID), out.Record.Incarnation, uint64(out.Record.State))
		p.queue = append(p.queue, overlay.MemberDown{Peer: peerOf(&out.Record), Directory: out.Directory, Failed: out.Record.State == directory.Dead})
	case membership.Reset:
		if e := p.links[out.Link]; e != nil {
			delete(p.links, out.Link)
			s.shut(e)
			p.queue = append(p.queue, overlay.LinkDown{Link: out.Link})
		}
	case membership.Redial:
		p.queue = append(p.queue, overlay.Redial{ID: out.ID})
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

func peerOf(r *directory.Record) overlay.Peer {
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

// flush hands over what one machine has for the other, in order.
func (p *process) flush() {
	if p.busy {
		return
	}
	p.busy = true
	for n := 0; n < len(p.queue) && !p.dead; n++ {
		switch in := p.queue[n].(type) {
		case overlay.Input:
			p.overlay(in)
		case membership.Input:
			p.membership(in)
		}
	}
	p.queue = p.queue[:0]
	p.busy = false
}

// ticker wakes one of a process's machines.
type ticker struct {
	proc *process
	what kind
	at   time.Duration // when the next event is due; 0: none
}

// deadline returns when a machine wants to be woken, by the world's time.
func (p *process) deadline(which int) (time.Duration, bool) {
	at := p.ov.Deadline()
	if which == 1 {
		at = p.mem.Deadline()
	}
	return at.Sub(began()) - p.host.skew, !at.IsZero()
}

// wake schedules the next Tick of a machine, unless an earlier one is.
func (p *process) wake(which int) {
	t := &p.ticks[which]
	at, ok := p.deadline(which)
	if !ok || t.at != 0 && at >= t.at {
		return
	}
	t.at = max(at, p.sim.now, 1)
	p.sim.schedule(t.at, t)
}

// happen wakes a machine whose deadline has come, or waits on, if it moved.
func (t *ticker) happen(s *Sim) {
	if t.at == s.now && !t.proc.dead {
		t.at = 0
		t.proc.deliver(item{what: t.what})
	}
}

// tick is for a machine that was woken.
func (p *process) tick(what kind) {
	which := 0
	if what == membershipTick {
		which = 1
	}
	switch at, ok := p.deadline(which); {
	case !ok:
	case at > p.sim.now:
		p.wake(which)
	case which == 0:
		p.sim.traffic.Wakes++
		p.overlay(overlay.Tick{})
	default:
		p.sim.traffic.Wakes++
		p.membership(membership.Tick{})
	}
}
