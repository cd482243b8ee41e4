package sim

import (
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/overlay"
)

// dialTime is how long the driver waits for a connection.
const dialTime = 5 * time.Second

// conn is a connection between two processes: two directions, each reliable and
// in order. What cannot get through waits.
type conn struct {
	num  uint64
	ends [2]*end
}

// end is one end of a connection.
type end struct {
	conn   *conn
	side   int
	host   *Server
	proc   *process // nil before it was accepted
	link   uint64   // the process's number for it
	closed bool     // by this process, or its death
	out    []packet // on the way to the other end, in order
	moving bool     // a delivery of out[0] is scheduled
}

// packet is one thing on its way.
type packet struct {
	what kind
	data []byte
	at   time.Time // when it arrives
}

type kind uint8

const (
	overlayData kind = iota
	membershipData
	hello // the connection is up, as far as the sender is concerned
	closing
)

func (e *end) peer() *end { return e.conn.ends[1-e.side] }

// push sends a packet to the other end.
func (s *Sim) push(e *end, p packet) {
	if s.tampered(e, &p) {
		return
	}
	s.packets++
	s.bytes += len(p.data)
	p.at = s.now.Add(s.delay())
	if n := len(e.out); n > 0 && e.out[n-1].at.After(p.at) {
		p.at = e.out[n-1].at
	}
	e.out = append(e.out, p)
	s.move(e)
}

// move schedules the delivery of the first packet, unless the way is cut. What
// a cut held up leaves anew.
func (s *Sim) move(e *end) {
	if e.moving || len(e.out) == 0 || s.blocked(e.host, e.peer().host) {
		return
	}
	if e.out[0].at.Before(s.now) {
		at := s.now.Add(s.delay())
		for i := range e.out {
			e.out[i].at = later(e.out[i].at, at)
		}
	}
	e.moving = true
	s.at(e.out[0].at, func() {
		e.moving = false
		if s.blocked(e.host, e.peer().host) {
			return
		}
		for len(e.out) > 0 && !e.out[0].at.After(s.now) {
			p := e.out[0]
			e.out = e.out[1:]
			s.arrive(e.peer(), p)
		}
		s.move(e)
	})
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// blocked reports whether nothing gets from one host to another.
func (s *Sim) blocked(from, to *Server) bool {
	return from.off || to.off || s.cuts[[2]int{from.index, to.index}]
}

// arrive hands a packet to an end.
func (s *Sim) arrive(e *end, p packet) {
	if e.closed {
		if p.what != closing { // the kernel answers for a process that is gone
			s.push(e, packet{what: closing})
		}
		return
	}
	proc := e.proc
	if proc == nil {
		return
	}
	proc.deliver(func() {
		if e.closed {
			return
		}
		switch p.what {
		case overlayData:
			proc.overlay(overlay.Receive{Link: e.link, Data: p.data})
		case membershipData:
			proc.receive(e.link, p.data)
		case hello:
			proc.connected(e)
		case closing:
			proc.lost(e)
		}
	})
}

// dial is an attempt to connect.
type dial struct {
	from   *process
	num    uint64
	want   circuit.ServerID
	target string
	end    *end
	over   bool
}

// connect tries to connect, as a driver would: it ends with a connection, or
// with a failure after dialTime at most.
func (s *Sim) connect(d *dial) {
	to := s.byAddr[d.target]
	s.After(dialTime, func() { s.dialFailed(d, overlay.Unreachable) })
	if to == nil {
		return
	}
	s.After(s.delay(), func() {
		if s.blocked(d.from.host, to) || s.blocked(to, d.from.host) {
			return
		}
		p := to.proc
		if p == nil {
			s.After(s.delay(), func() { s.dialFailed(d, overlay.Refused) })
			return
		}
		s.accept(d, p)
	})
}

// accept lets the kernel take a connection, and the process as soon as it runs.
func (s *Sim) accept(d *dial, p *process) {
	s.conns++
	c := &conn{num: s.conns}
	c.ends[0] = &end{conn: c, side: 0, host: d.from.host, proc: d.from}
	c.ends[1] = &end{conn: c, side: 1, host: p.host, proc: p}
	d.end = c.ends[0]
	s.After(2*s.cfg.Delay, func() { // key exchange
		p.deliver(func() {
			if d.over || d.from.dead {
				return
			}
			if d.want != 0 && d.want != p.host.ID {
				s.After(s.delay(), func() { s.dialFailed(d, overlay.WrongServer) })
				return
			}
			p.open(c.ends[1])
			d.from.dials[d.end] = d
			s.push(c.ends[1], packet{what: hello})
			p.overlay(overlay.LinkUp{Link: c.ends[1].link, Peer: d.from.peer()})
		})
	})
}

// dialFailed ends a dial, unless it succeeded.
func (s *Sim) dialFailed(d *dial, why overlay.Failure) {
	if d.over || d.from.dead {
		return
	}
	d.from.deliver(func() {
		if d.over {
			return
		}
		d.over = true
		if d.end != nil {
			delete(d.from.dials, d.end)
			s.shut(d.end)
		}
		d.from.overlay(overlay.ConnectFailed{Dial: d.num, Failure: why})
	})
}

// shut closes an end; the other learns it after all that was sent before.
func (s *Sim) shut(e *end) {
	if !e.closed {
		e.closed = true
		s.push(e, packet{what: closing})
	}
}

// reconsider lets what waited for a cut to end go on.
func (s *Sim) reconsider() {
	for _, h := range s.servers {
		for _, e := range h.ends {
			s.move(e)
			s.move(e.peer())
		}
		h.ends = live(h.ends)
	}
}

// live returns the ends that still matter.
func live(ends []*end) []*end {
	var keep []*end
	for _, e := range ends {
		if !e.closed || !e.peer().closed || len(e.out) > 0 || len(e.peer().out) > 0 {
			keep = append(keep, e)
		}
	}
	return keep
}
