package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// Server is a simulated server: a host with an address, a data directory, and,
// while it runs, a process.
type Server struct {
	Name        string
	ID          circuit.ServerID
	Address     string
	index       int
	off         bool // the host is off, or away
	hidden      bool // it advertises a wrong address
	side        int  // of a partition; 0: no side
	skew        time.Duration
	slow        time.Duration // what its processor takes for each input
	incarnation uint64
	remembered  []overlay.Peer
	proc        *process
	left        []uint64      // instances that left by themselves
	trouble     time.Duration // when something last happened to it; negative: never
}

// String returns the name.
func (h *Server) String() string { return h.Name }

// Running reports whether the server's process runs, frozen or not.
func (h *Server) Running() bool { return h.proc != nil }

// active reports whether its process runs, and is not frozen nor about to leave.
func (h *Server) active() bool { return h.proc != nil && !h.proc.frozen && !h.proc.leaving }

// leaves reports whether its process is about to leave.
func (h *Server) leaves() bool { return h.proc != nil && h.proc.leaving }

// process is one life of a server: its machines, and what a driver keeps.
type process struct {
	sim      *Sim
	host     *Server
	instance uint64
	since    time.Duration
	ov       *overlay.Machine
	mem      *membership.Machine
	queue    []any // what one machine tells the other
	busy     bool
	dead     bool
	frozen   bool
	draining bool   // a slow process will take from its inbox
	inbox    []item // what arrived while frozen, or too soon
	links    map[uint64]*end
	lastLink uint64
	dials    map[*end]*dial
	ticks    [2]ticker
	taken    bool
	leaving  bool
	watched  watched
}

// item is something that a process has to deal with.
type item struct {
	what kind
	end  *end
	data []byte
	dial *dial
	why  overlay.Failure
	do   func()
}

// maxDatagrams is how many datagrams wait for a process that does not take them;
// further ones are dropped, as kernels do.
const maxDatagrams = 256

// Add makes a server that does not run yet.
func (s *Sim) Add() *Server {
	n := len(s.servers) + 1
	return s.AddAs(circuit.ServerID(s.rng.Uint64()|1), fmt.Sprintf("10.%d.%d.%d:11022", n>>16, n>>8&255, n&255))
}

// AddAs makes a server with an ID and an address.
func (s *Sim) AddAs(id circuit.ServerID, address string) *Server {
	n := len(s.servers) + 1
	h := &Server{Name: fmt.Sprintf("s%d", n), ID: id, Address: address, index: n, trouble: -excuse}
	s.servers = append(s.servers, h)
	s.byAddr[h.Address] = h
	s.byID[id] = append(s.byID[id], h)
	return h
}

// Start starts a server's process, with seeds to join beside the servers that it
// remembers.
func (s *Sim) Start(h *Server, seeds ...string) {
	if h.proc != nil {
		return
	}
	h.incarnation++
	p := s.begin(h, s.rng.Uint64(), directory.Directory{})
	for _, seed := range seeds {
		p.overlay(overlay.Seed{Address: seed, Keep: true})
	}
	p.wake(0)
	p.wake(1)
}

// Form makes n servers that know each other from the beginning, and runs them:
// a circuit without links. They share one directory, so it may be a large one.
func (s *Sim) Form(n int) {
	records := make([]*directory.Record, n)
	for i := range records {
		h := s.Add()
		h.incarnation = 1
		const firstEvent = 1 << 32
		records[i] = &directory.Record{
			ID: h.ID, Address: h.Address, Instance: s.rng.Uint64(), Incarnation: h.incarnation, Version: version,
			State: directory.Alive, Events: firstEvent, Since: began(),
		}
	}
	dir := directory.Of(records)
	formed := s.servers[len(s.servers)-n:]
	for i, h := range formed {
		p := s.begin(h, records[i].Instance, dir)
		p.watched.in.upTo = len(s.servers)
	}
	for i, h := range formed {
		h.proc.overlay(overlay.MemberUp{Peer: peerOf(records[(i+1)%n]), Directory: dir})
		h.proc.wake(1)
	}
}

const version = "sim" // of all servers

// begin makes the process of a server, and its machines.
func (s *Sim) begin(h *Server, instance uint64, dir directory.Directory) *process {
	h.off = false
	p := &process{
		sim: s, host: h, instance: instance, since: s.now,
		links: make(map[uint64]*end), dials: make(map[*end]*dial),
	}
	p.ticks = [2]ticker{{proc: p, what: overlayTick}, {proc: p, what: membershipTick}}
	h.proc = p
	s.changes++
	s.note(1, uint64(h.index), uint64(s.now), p.instance)
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(s.cfg.Seed, p.instance+s.rng.Uint64())) }
	p.ov = overlay.New(p.clock(), overlay.Config{Self: p.peer(), Remembered: h.remembered, Rand: rng()})
	p.mem = membership.New(p.clock(), membership.Config{
		Self:      directory.Record{ID: h.ID, Address: h.Address, Instance: p.instance, Incarnation: h.incarnation, Version: version},
		Directory: dir,
		Rand:      rng(),
	})
	s.check.began(p)
	return p
}

// Join asks a running server to join another circuit.
func (s *Sim) Join(h *Server, address string) {
	if p := h.proc; p != nil {
		p.deliver(item{what: calling, do: func() { p.overlay(overlay.Seed{Address: address}) }})
	}
}

// Leave lets a server leave the circuit, and stop.
func (s *Sim) Leave(h *Server) {
	if p := h.proc; p != nil {
		p.deliver(item{what: calling, do: func() {
			p.leaving = true
			h.left = append(h.left, p.instance)
			p.overlay(overlay.Leave{})
			p.membership(membership.Leave{})
		}})
	}
}

// Broadcast lets a server broadcast something to the circuit.
func (s *Sim) Broadcast(h *Server, data string) {
	if p := h.proc; p != nil {
		p.deliver(item{what: calling, do: func() {
			s.check.cast(p, data)
			p.membership(membership.Broadcast{Data: []byte(data)})
		}})
	}
}

// Got returns how many servers got what was broadcast.
func (s *Sim) Got(data string) int { return s.check.got[data] }

// clock returns the time by the process's clock.
func (p *process) clock() time.Time { return began().Add(p.sim.now + p.host.skew) }

// peer returns the process as its hello introduces it.
func (p *process) peer() overlay.Peer {
	return overlay.Peer{ID: p.host.ID, Address: p.host.Address, Instance: p.instance}
}

// deliver lets the process deal with something: at once, or once it thaws, or
// once it has the time.
func (p *process) deliver(it item) {
	switch {
	case p.dead:
	case !p.frozen && !p.draining && p.host.slow == 0:
		p.handle(it)
	case it.what == datagramData && len(p.inbox) >= maxDatagrams:
	default:
		p.inbox = append(p.inbox, it)
		p.drain()
	}
}

// drain lets a process take the next of its inbox in a while, unless it is
// frozen.
func (p *process) drain() {
	if !p.frozen && !p.draining && !p.dead && len(p.inbox) > 0 {
		p.draining = true
		p.sim.schedule(p.sim.now+p.host.slow, p)
	}
}

// happen lets a process take the first of its inbox.
func (p *process) happen(*Sim) {
	p.draining = false
	if p.dead || p.frozen || len(p.inbox) == 0 {
		return
	}
	it := p.inbox[0]
	p.inbox[0] = item{}
	p.inbox = p.inbox[1:]
	p.handle(it)
	p.drain()
}

func (p *process) handle(it item) {
	if it.end != nil && it.end.closed && it.what != dialling {
		return
	}
	switch it.what {
	case overlayData:
		p.overlay(overlay.Receive{Link: it.end.link, Data: it.data})
	case membershipData:
		p.membership(membership.Receive{Link: it.end.link, Data: it.data})
	case datagramData:
		p.membership(membership.ReceiveDatagram{Link: it.end.link, Data: it.data})
	case hello:
		p.connected(it.end)
	case closing:
		p.lost(it.end)
	case dialling:
		p.accepted(it.end, it.dial)
	case undialled:
		p.undialled(it.dial, it.why)
	case overlayTick, membershipTick:
		p.tick(it.what)
	case calling:
		it.do()
	}
}

// end ends the process.
func (p *process) end(tell bool) {
	p.dead = true
	p.inbox = nil
	p.host.proc = nil
	p.remember()
	p.sim.changes++
	p.sim.ran += p.sim.now - p.since
	for n := range p.lastLink {
		e := p.links[n+1]
		switch {
		case e == nil:
		case tell:
			p.sim.shut(e)
		default:
			e.closed = true
		}
	}
}

// remember keeps whom the process knew for the server's next life, as it is kept
// in the data directory. A server that knew nobody keeps what it had.
func (p *process) remember() {
	if peers := p.ov.Remembered(); len(peers) > 0 {
		p.host.remembered = peers
	}
}

// Forget loses what a server keeps in its data directory, but for its ID.
func (s *Sim) Forget(h *Server) { h.incarnation, h.remembered = 0, nil }

// ServerHours returns for how long servers have run, taken together.
func (s *Sim) ServerHours() float64 {
	ran := s.ran
	for _, h := range s.servers {
		if h.proc != nil {
			ran += s.now - h.proc.since
		}
	}
	return ran.Hours()
}

// open gives an end a number.
func (p *process) open(e *end) {
	p.lastLink++
	e.link = p.lastLink
	p.links[e.link] = e
}

// lost is for a connection that the other side ended, or that broke.
func (p *process) lost(e *end) {
	e.closed = true
	delete(p.links, e.link)
	if e.link != 0 {
		p.overlay(overlay.LinkDown{Link: e.link})
	} else if d := p.dials[e]; d != nil {
		p.undialled(d, overlay.Unreachable)
	}
}
