package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
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
	incarnation uint64
	proc        *process
	ends        []*end // all of its processes' ends that still matter
	trouble     time.Time
}

// String returns the name.
func (h *Server) String() string { return h.Name }

// Running reports whether the server's process runs, frozen or not.
func (h *Server) Running() bool { return h.proc != nil }

// process is one life of a server: its machines, and what a driver keeps.
type process struct {
	sim      *Sim
	host     *Server
	instance uint64
	ov       *overlay.Machine
	mem      *membership.Machine
	queue    []func() // what one machine tells the other
	busy     bool
	dead     bool
	frozen   bool
	inbox    []func() // what arrived while frozen
	links    map[uint64]*end
	lastLink uint64
	dials    map[*end]*dial
	wakes    [2]time.Time // when a Tick is scheduled, for each machine
	view     map[circuit.ServerID]uint64
	taken    bool
	story    rank // its own, as of its last step
}

// Add makes a server that does not run yet.
func (s *Sim) Add() *Server {
	n := len(s.servers) + 1
	return s.AddAs(circuit.ServerID(s.rng.Uint64()|1), fmt.Sprintf("10.0.%d.%d:11022", n>>8, n&255))
}

// AddAs makes a server with an ID and an address.
func (s *Sim) AddAs(id circuit.ServerID, address string) *Server {
	n := len(s.servers) + 1
	h := &Server{Name: fmt.Sprintf("s%d", n), ID: id, Address: address, index: n}
	s.servers = append(s.servers, h)
	s.byAddr[h.Address] = h
	if s.byID[id] == nil {
		s.byID[id] = h
	}
	return h
}

// Start starts a server's process, with seeds to join.
func (s *Sim) Start(h *Server, seeds ...string) {
	if h.proc != nil {
		return
	}
	h.off = false
	h.incarnation++
	p := &process{
		sim: s, host: h, instance: s.rng.Uint64(),
		links: make(map[uint64]*end), dials: make(map[*end]*dial), view: make(map[circuit.ServerID]uint64),
	}
	h.proc = p
	s.changes++
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(s.cfg.Seed, p.instance+s.rng.Uint64())) }
	p.ov = overlay.New(s.now, overlay.Config{Self: p.peer(), Rand: rng()})
	p.mem = membership.New(s.now, membership.Config{
		Self: membership.Record{ID: h.ID, Address: h.Address, Instance: p.instance, Incarnation: h.incarnation, Version: "sim"},
		Rand: rng(),
	})
	p.story = rankOf(p.mem.Lookup(h.ID))
	s.check.announced(p, membership.StateAlive)
	s.note(1, uint64(h.index), uint64(s.Now()), p.instance)
	for _, seed := range seeds {
		p.overlay(overlay.Seed{Address: seed, Keep: true})
	}
	s.reconsider()
}

// Join asks a running server to join another circuit.
func (s *Sim) Join(h *Server, address string) {
	if h.proc != nil {
		p := h.proc
		p.deliver(func() { p.overlay(overlay.Seed{Address: address}) })
	}
}

// Leave lets a server leave the circuit, and stop.
func (s *Sim) Leave(h *Server) {
	if p := h.proc; p != nil {
		s.disturb(h)
		p.deliver(func() {
			s.check.announced(p, membership.StateLeft)
			p.overlay(overlay.Leave{})
			p.membership(membership.Leave{})
		})
	}
}

// Crash ends a server's process. Its host closes its connections.
func (s *Sim) Crash(h *Server) {
	if h.proc != nil {
		s.disturb(h)
		s.note(2, uint64(h.index), uint64(s.Now()))
		h.proc.end(true)
	}
}

// Vanish takes a host off the network for good: nobody answers there any more.
func (s *Sim) Vanish(h *Server) {
	s.disturb(h)
	s.note(3, uint64(h.index), uint64(s.Now()))
	h.off = true
	if h.proc != nil {
		h.proc.end(false)
	}
}

// Freeze stops a server's process, as SIGSTOP does.
func (s *Sim) Freeze(h *Server) {
	if h.proc != nil && !h.proc.frozen {
		s.disturb(h)
		s.stop(h)
	}
}

func (s *Sim) stop(h *Server) {
	s.note(4, uint64(h.index), uint64(s.Now()))
	h.proc.frozen = true
	s.changes++
}

// Starve lets a server's process run only now and then for a while: it stands
// still for up to most at a time. That is no excuse to be declared dead.
func (s *Sim) Starve(h *Server, most, d time.Duration) {
	end := s.now.Add(d)
	var stall func()
	stall = func() {
		p := h.proc
		if p == nil || p.frozen || !s.now.Before(end) {
			return
		}
		s.stop(h)
		s.After(time.Duration(s.rng.Int64N(int64(most))), func() {
			if h.proc == p && p.frozen {
				s.resume(p)
				s.After(time.Duration(s.rng.Int64N(int64(most/4))), stall)
			}
		})
	}
	stall()
}

// Thaw lets it go on.
func (s *Sim) Thaw(h *Server) {
	p := h.proc
	if p == nil || !p.frozen {
		return
	}
	s.disturb(h)
	s.resume(p)
}

func (s *Sim) resume(p *process) {
	s.note(5, uint64(p.host.index), uint64(s.Now()))
	p.frozen = false
	s.changes++
	inbox := p.inbox
	p.inbox = nil
	for _, do := range inbox {
		if !p.dead {
			do()
		}
	}
}

// Cut stops all that goes from one server to another, one way.
func (s *Sim) Cut(from, to *Server) { s.cuts[[2]int{from.index, to.index}] = true }

// Mend undoes a Cut.
func (s *Sim) Mend(from, to *Server) {
	delete(s.cuts, [2]int{from.index, to.index})
	s.reconsider()
}

// Partition splits the network: only servers of the same group reach each
// other. Servers in no group keep all their ways.
func (s *Sim) Partition(groups ...[]*Server) {
	for i, a := range groups {
		for _, b := range groups[i+1:] {
			for _, x := range a {
				for _, y := range b {
					s.disturb(x)
					s.disturb(y)
					s.Cut(x, y)
					s.Cut(y, x)
				}
			}
		}
	}
}

// Heal undoes all cuts.
func (s *Sim) Heal() {
	for _, h := range s.servers {
		for _, o := range s.servers {
			if s.cuts[[2]int{h.index, o.index}] {
				h.trouble, o.trouble = s.now, s.now
			}
		}
	}
	clear(s.cuts)
	s.reconsider()
}

// disturb notes that a server has reason to be thought dead.
func (s *Sim) disturb(h *Server) { h.trouble = s.now }

// peer returns the process as its hello introduces it.
func (p *process) peer() overlay.Peer {
	return overlay.Peer{ID: p.host.ID, Address: p.host.Address, Instance: p.instance}
}

// deliver does something in the process: at once, or once it thaws.
func (p *process) deliver(do func()) {
	switch {
	case p.dead:
	case p.frozen:
		p.inbox = append(p.inbox, do)
	default:
		do()
	}
}

// end ends the process.
func (p *process) end(tell bool) {
	p.dead = true
	p.host.proc = nil
	p.sim.check.ended(p)
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

// open gives an end a number.
func (p *process) open(e *end) {
	p.lastLink++
	e.link = p.lastLink
	p.links[e.link] = e
	p.host.ends = append(p.host.ends, e)
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

// lost is for a connection that the other side ended.
func (p *process) lost(e *end) {
	e.closed = true
	delete(p.links, e.link)
	if e.link != 0 {
		p.overlay(overlay.LinkDown{Link: e.link})
	}
}

func (p *process) receive(link uint64, data []byte) {
	p.membership(membership.Receive{Link: link, Data: data})
}
