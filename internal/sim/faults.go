package sim

import "time"

// Crash ends a server's process. Its host closes its connections.
func (s *Sim) Crash(h *Server) {
	if h.proc != nil {
		s.disturb(h)
		s.note(2, uint64(h.index), uint64(s.now))
		h.proc.end(true)
	}
}

// Vanish takes a host off the network for good: nobody answers there any more.
func (s *Sim) Vanish(h *Server) {
	s.disturb(h)
	s.note(3, uint64(h.index), uint64(s.now))
	h.off = true
	if h.proc != nil {
		h.proc.end(false)
	}
}

// Freeze stops a server's process, as SIGSTOP does.
func (s *Sim) Freeze(h *Server) {
	if h.active() {
		s.disturb(h)
		s.stop(h)
	}
}

func (s *Sim) stop(h *Server) {
	s.note(4, uint64(h.index), uint64(s.now))
	h.proc.frozen = true
	s.changes++
}

// Thaw lets it go on.
func (s *Sim) Thaw(h *Server) {
	if h.proc != nil && h.proc.frozen {
		s.disturb(h)
		s.resume(h.proc)
	}
}

func (s *Sim) resume(p *process) {
	s.note(5, uint64(p.host.index), uint64(s.now))
	p.frozen = false
	s.changes++
	p.drain()
}

// Starve lets a server's process run only now and then for a while: it stands
// still for up to most at a time. That is no excuse to be declared dead.
func (s *Sim) Starve(h *Server, most, d time.Duration) {
	end := s.now + d
	var stall func()
	stall = func() {
		p := h.proc
		if p == nil || p.frozen || s.now >= end {
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

// Slow makes a server take each for whatever it deals with, one after the other.
// A machine like ours takes some 20 us.
func (s *Sim) Slow(h *Server, each time.Duration) {
	s.disturb(h)
	s.note(16, uint64(h.index), uint64(s.now), uint64(each))
	h.slow = each
}

// Jump moves a server's clock forward, as when a virtual machine goes on
// elsewhere. Clocks of processes do not go back.
func (s *Sim) Jump(h *Server, by time.Duration) {
	s.disturb(h)
	s.note(17, uint64(h.index), uint64(s.now), uint64(by))
	h.skew += max(by, 0)
	if h.proc != nil {
		h.proc.wake(0)
		h.proc.wake(1)
	}
}

// Cut stops all that goes from one server to another, one way.
func (s *Sim) Cut(from, to *Server) { s.ways.cuts[[2]int{from.index, to.index}] = false }

// Reject is Cut by a firewall that refuses connections.
func (s *Sim) Reject(from, to *Server) { s.ways.cuts[[2]int{from.index, to.index}] = true }

// Hide lets nobody reach a server at its address: it advertises a wrong one.
func (s *Sim) Hide(h *Server) { h.hidden = true }

// Mend undoes a Cut or Reject.
func (s *Sim) Mend(from, to *Server) { delete(s.ways.cuts, [2]int{from.index, to.index}) }

// Partition splits the network: only servers of the same group reach each
// other. Servers in no group keep all their ways. It takes the place of an
// earlier one.
func (s *Sim) Partition(groups ...[]*Server) {
	for _, h := range s.servers {
		h.side = 0
	}
	for i, group := range groups {
		for _, h := range group {
			h.side = i + 1
			s.disturb(h)
		}
	}
	s.ways.split = true
}

// Heal undoes the partition, and all cuts.
func (s *Sim) Heal() {
	for _, h := range s.servers {
		if h.side != 0 {
			s.disturb(h)
		}
		h.side = 0
	}
	for way := range s.ways.cuts {
		s.disturb(s.servers[way[0]-1])
		s.disturb(s.servers[way[1]-1])
	}
	clear(s.ways.cuts)
	s.ways.split = false
}

// disturb notes that a server has reason to be thought dead.
func (s *Sim) disturb(h *Server) { h.trouble = s.now }
