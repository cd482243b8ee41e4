package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/gocircuit/circuit/internal/directory"
)

// reason checks that a server is said to have left if it left, and to have failed
// if it failed.
func (c *checker) reason(p *process, r *directory.Record) {
	h := c.sim.server(r)
	left := slices.Contains(h.left, r.Instance)
	switch {
	case r.State == directory.Left && !left:
		c.fail("reason: %s says that %s left, which it did not want to", p.host.Name, h.Name)
	case r.State == directory.Dead && left && c.sim.cfg.Loss == 0 && !c.sim.troubled(h) && !c.sim.troubled(p.host):
		c.fail("reason: %s says that %s failed, which left", p.host.Name, h.Name)
	}
}

// cast is something that was broadcast, and who has yet to get it.
type cast struct {
	by      *Server
	at      time.Duration
	missing map[*process]bool
}

// cast takes note of a broadcast: all get it that are in the circuit then, as
// its origin and they themselves see it.
func (c *checker) cast(p *process, data string) {
	const most = 1 << 10 // further ones are not looked at
	if len(c.casts) >= most || p.leaving || c.sim.troubled(p.host) {
		return
	}
	missing := make(map[*process]bool)
	knows := func(p, q *process) bool {
		r := p.mem.Directory().Get(q.host.ID)
		return r != nil && r.In() && r.Instance == q.instance
	}
	for _, h := range c.sim.servers {
		if q := h.proc; h.active() && q != p && !q.leaving && !c.sim.troubled(h) && knows(p, q) && knows(q, p) {
			missing[q] = true
		}
	}
	c.casts[data] = &cast{by: p.host, at: c.sim.now, missing: missing}
}

// Missed returns an error if a server has not got what was broadcast at least d
// ago, although it runs and nothing happened to it, nor to the origin, since.
func (s *Sim) Missed(d time.Duration) error {
	for data, cast := range s.check.casts {
		if s.now-cast.at < d || cast.by.trouble >= cast.at {
			continue
		}
		for p := range cast.missing {
			if !p.dead && !p.leaving && p.host.trouble < cast.at && !s.troubled(p.host) {
				return fmt.Errorf("missed: %s did not get what %s broadcast %v ago: %.40q", p.host.Name, cast.by.Name, s.now-cast.at, data)
			}
		}
	}
	return nil
}

// maxBacklog is how many bytes may wait on a connection: with more, the driver
// closes it.
const maxBacklog = 8 << 20

// Bounded returns an error if too much ever waited on a connection.
func (s *Sim) Bounded() error {
	if s.backlog > maxBacklog {
		return fmt.Errorf("backlog: %d bytes waited on a connection", s.backlog)
	}
	return nil
}
