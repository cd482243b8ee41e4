package sim

import "time"

// The sizes of packets on the wire beside what the machines send, for IPv4.
const (
	datagramHead = 20 + 8 + 16  // IP, UDP; tag, counter and authentication
	streamHead   = 20 + 32 + 22 // IP, TCP with time stamps, TLS record
	messageHead  = 9 + 5 + 4    // HTTP/2 frame, gRPC prefix, which machine it is for
	ackPacket    = 20 + 32      // an acknowledgement that nothing else carries
	retransmit   = 200 * time.Millisecond
	slowest      = 120 * time.Second // between two attempts of a connection
	mostAttempts = 16                // after which it is broken: a quarter of an hour
)

// Traffic is what was sent and done.
type Traffic struct {
	Steps     int // of machines
	Wakes     int // of these, Ticks
	Messages  int // on connections
	Datagrams int
	Bytes     int // of packets, with all heads
}

// Sub returns what was sent and done since an earlier time.
func (t Traffic) Sub(o Traffic) Traffic {
	return Traffic{t.Steps - o.Steps, t.Wakes - o.Wakes, t.Messages - o.Messages, t.Datagrams - o.Datagrams, t.Bytes - o.Bytes}
}

// ways tells which ways are cut: single ones, and all between the sides of a
// partition.
type ways struct {
	cuts  map[[2]int]bool // from, to; true: who dials is refused
	split bool            // servers with different sides, other than 0, do not reach each other
}

// blocked reports whether nothing gets from one host to another.
func (s *Sim) blocked(from, to *Server) bool {
	return from.off || to.off ||
		s.ways.split && from.side != to.side && from.side != 0 && to.side != 0 ||
		len(s.ways.cuts) > 0 && s.cut(from, to)
}

// cut reports whether the way itself is.
func (s *Sim) cut(from, to *Server) bool {
	_, cut := s.ways.cuts[[2]int{from.index, to.index}]
	return cut
}

// refuses reports whether something on the way refuses connections.
func (s *Sim) refuses(from, to *Server) bool {
	return to.hidden || s.ways.cuts[[2]int{from.index, to.index}]
}

// flight draws how long a packet takes that arrives.
func (s *Sim) flight() time.Duration {
	d := s.cfg.Delay
	if s.cfg.Jitter > 0 {
		d += time.Duration(s.rng.Int64N(int64(s.cfg.Jitter)))
	}
	return d
}

func (s *Sim) lose() bool { return s.cfg.Loss > 0 && s.rng.Float64() < s.cfg.Loss }

// flightOf draws how long a packet of a connection takes, which is sent until it
// arrives, the second time after wait.
func (s *Sim) flightOf(wait time.Duration) time.Duration {
	d := s.flight()
	for ; s.lose() && wait < slowest; wait *= 2 {
		d += wait
	}
	return d
}

// datagram is a datagram on its way.
type datagram struct {
	to   *end
	data []byte
}

// sendDatagram sends a datagram to the other end of a link.
func (s *Sim) sendDatagram(from *end, data []byte) {
	s.traffic.Datagrams++
	s.traffic.Bytes += datagramHead + len(data)
	if s.cfg.NoDatagrams || s.blocked(from.host, from.peer().host) || s.tampered(from, &packet{what: datagramData, data: data}) || s.lose() {
		return
	}
	d := new(datagram)
	if n := len(s.spare); n > 0 {
		d, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	*d = datagram{to: from.peer(), data: data}
	s.schedule(s.now+s.flight(), d)
}

// happen lets a datagram arrive.
func (d *datagram) happen(s *Sim) {
	to, data := d.to, d.data
	*d = datagram{}
	s.spare = append(s.spare, d)
	if !to.closed && to.link != 0 && !to.host.off {
		to.proc.deliver(item{what: datagramData, end: to, data: data})
	}
}

// conn is a connection between two processes: two directions, each reliable and
// in order. What cannot get through is tried again.
type conn struct {
	num  uint64
	ends [2]end
}

// end is one end of a connection.
type end struct {
	conn   *conn
	side   int
	host   *Server
	proc   *process
	link   uint64   // the process's number for it; 0 until it is up
	closed bool     // by this process, or its death
	moving bool     // out[0] is scheduled
	tries  int      // attempts to send out[0] that came to nothing
	out    []packet // on the way to the other end, in order
	queued int      // bytes in out
}

// packet is one thing on its way over a connection.
type packet struct {
	what kind
	data []byte
	at   time.Duration // when it arrives
}

// kind is what arrives at a process.
type kind uint8

const (
	overlayData kind = iota
	membershipData
	datagramData
	hello       // the connection is up, as far as the sender is concerned
	closing     // the other side ended the connection
	dialling    // somebody dials
	undialled   // a dial came to nothing
	overlayTick // a deadline
	membershipTick
	calling // anything else
)

func newConn(num uint64, from, to *process) *conn {
	c := &conn{num: num}
	c.ends[0] = end{conn: c, side: 0, host: from.host, proc: from}
	c.ends[1] = end{conn: c, side: 1, host: to.host, proc: to}
	return c
}

func (e *end) peer() *end { return &e.conn.ends[1-e.side] }

// push sends a packet to the other end.
func (s *Sim) push(e *end, p packet) {
	if s.tampered(e, &p) {
		return
	}
	s.traffic.Messages++
	s.traffic.Bytes += streamHead + messageHead + len(p.data) + ackPacket
	p.at = s.now + s.flightOf(retransmit)
	if n := len(e.out); n > 0 {
		p.at = max(p.at, e.out[n-1].at)
	}
	e.out = append(e.out, p)
	e.queued += len(p.data)
	s.backlog = max(s.backlog, e.queued)
	if !e.moving {
		e.moving = true
		s.schedule(p.at, e)
	}
}

// happen lets what is due arrive at the other end; or, if the way is cut, tries
// again later.
func (e *end) happen(s *Sim) {
	to := e.peer()
	if s.blocked(e.host, to.host) {
		e.tries++
		if e.tries > mostAttempts || e.host.off {
			e.moving, e.out, e.queued = false, nil, 0
			if !e.closed {
				e.proc.deliver(item{what: closing, end: e})
			}
			return
		}
		s.schedule(s.now+min(retransmit<<(e.tries-1), slowest)+s.flight(), e)
		return
	}
	e.tries = 0
	n := 0
	for ; n < len(e.out) && e.out[n].at <= s.now; n++ {
		e.queued -= len(e.out[n].data)
		s.arrive(to, e.out[n])
	}
	e.out = append(e.out[:0], e.out[n:]...)
	e.moving = len(e.out) > 0
	if e.moving {
		s.schedule(e.out[0].at, e)
	} else if cap(e.out) > 8 {
		e.out = nil // most connections are silent most of the time
	}
}

// arrive hands a packet to an end. Where the process is gone the kernel answers.
func (s *Sim) arrive(e *end, p packet) {
	switch {
	case !e.closed:
		e.proc.deliver(item{what: p.what, end: e, data: p.data})
	case p.what != closing && !e.host.off:
		s.push(e, packet{what: closing})
	}
}

// shut closes an end; the other learns it after all that was sent before.
func (s *Sim) shut(e *end) {
	if !e.closed {
		e.closed = true
		s.push(e, packet{what: closing})
	}
}
