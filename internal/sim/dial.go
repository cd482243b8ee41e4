package sim

import (
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/overlay"
)

const (
	dialTime = 5 * time.Second // how long the driver waits for a connection
	knock    = time.Second     // after which a connection's first packet is sent again; then twice that, and so on
)

// dial is an attempt to connect.
type dial struct {
	from   *process
	num    uint64
	want   circuit.ServerID
	target *Server
	end    *end // once the other side's kernel has accepted
	over   bool
}

// connect tries to connect, as a driver would: it ends with a connection, or
// with a failure after dialTime at most.
func (s *Sim) connect(d *dial) {
	s.After(dialTime, func() { s.dialFailed(d, overlay.Unreachable) })
	if d.target != nil {
		s.knock(d, knock)
	}
}

// knock sends a connection's first packet, and again after wait.
func (s *Sim) knock(d *dial, wait time.Duration) {
	if d.over || d.from.dead {
		return
	}
	if s.refuses(d.from.host, d.target) {
		s.After(s.flight(), func() { s.dialFailed(d, overlay.Refused) })
		return
	}
	if s.blocked(d.from.host, d.target) || s.blocked(d.target, d.from.host) || s.lose() || s.lose() {
		if wait < dialTime {
			s.After(wait, func() { s.knock(d, 2*wait) })
		}
		return
	}
	s.traffic.Bytes += 3 * ackPacket
	s.After(s.flight(), func() {
		switch p := d.target.proc; {
		case d.target.off:
		case p == nil:
			s.After(s.flight(), func() { s.dialFailed(d, overlay.Refused) })
		default:
			s.accept(d, p)
		}
	})
}

// handshake is about what the key exchange and the hellos take on the wire.
const handshake = 6000

// accept lets the kernel take a connection, and the process as soon as it runs.
func (s *Sim) accept(d *dial, p *process) {
	s.conns++
	c := newConn(s.conns, d.from, p)
	d.end = &c.ends[0]
	s.traffic.Bytes += handshake
	s.After(s.flightOf(retransmit)+s.flightOf(retransmit), func() { // the key exchange
		p.deliver(item{what: dialling, end: &c.ends[1], dial: d})
	})
}

// accepted is for the process that was dialled.
func (p *process) accepted(e *end, d *dial) {
	s := p.sim
	switch {
	case d.over || d.from.dead || s.blocked(p.host, d.from.host):
	case d.want != 0 && d.want != p.host.ID:
		s.After(s.flightOf(retransmit), func() { s.dialFailed(d, overlay.WrongServer) })
	default:
		p.open(e)
		d.from.dials[d.end] = d
		s.push(e, packet{what: hello})
		p.overlay(overlay.LinkUp{Link: e.link, Peer: d.from.peer()})
	}
}

// connected is for a dial that succeeded.
func (p *process) connected(e *end) {
	d := p.dials[e]
	delete(p.dials, e)
	if d == nil || d.over {
		p.sim.shut(e)
		return
	}
	d.over = true
	p.open(e)
	p.overlay(overlay.LinkUp{Link: e.link, Dial: d.num, Peer: e.peer().proc.peer()})
}

// dialFailed ends a dial, unless it succeeded.
func (s *Sim) dialFailed(d *dial, why overlay.Failure) {
	if !d.over && !d.from.dead {
		d.from.deliver(item{what: undialled, dial: d, why: why})
	}
}

// undialled is for a dial that came to nothing.
func (p *process) undialled(d *dial, why overlay.Failure) {
	if d.over {
		return
	}
	d.over = true
	if d.end != nil {
		delete(p.dials, d.end)
		p.sim.shut(d.end)
	}
	p.overlay(overlay.ConnectFailed{Dial: d.num, Failure: why})
}
