package sim

import (
	"fmt"
	"time"
)

// The columns of the trace. Counts are since the line before; rates are a second
// and a server of those that run.
//
//	time    since the world began
//	up      servers that run, frozen ones not counted
//	known   how many servers the one that knows the fewest knows, and the one that knows the most
//	links   how many links the one with the fewest has, and the one with the most
//	parts   components of the graph of links in use at both ends
//	lambda  how far the graph is from a perfect mixer: .66 is best for 8 links each, 1 is worst; "-" above 20,000 servers
//	joined  how often a server said that another joined
//	left    how often a server said that another left or failed
//	false   how often a server said so of one that runs
//	steps   rate of steps of machines; a wake-up is one of them
//	wakes   rate of wake-ups by a machine's own timer
//	dgrams  rate of datagrams sent
//	msgs    rate of messages sent on connections
//	bytes   rate of bytes sent, with the heads of IP, UDP, TCP and TLS, and acknowledgements
//	hash    of all that has happened so far: the same for the same seed
const columns = "    time    up       known links parts lambda joined   left false  steps  wakes dgrams   msgs   bytes hash"

// Columns returns the heading of what Line returns.
func Columns() string { return columns }

// reported is where the world stood at the last line of the trace.
type reported struct {
	at                   time.Duration
	traffic              Traffic
	joined, left, deaths int
}

// Line returns the next line of the trace.
func (s *Sim) Line() string {
	var up, knowLeast, knowMost, linksLeast, linksMost int
	for _, h := range s.servers {
		if !h.active() {
			continue
		}
		known, near := h.proc.mem.Directory().Len(), len(h.proc.ov.Neighbours())
		if up == 0 {
			knowLeast, linksLeast = known, near
		}
		knowLeast, knowMost = min(knowLeast, known), max(knowMost, known)
		linksLeast, linksMost = min(linksLeast, near), max(linksMost, near)
		up++
	}
	const largest = 20_000
	parts, lambda := 0, "-"
	if up > 0 && up <= largest {
		m := Measure(s.Graph(), s.cfg.Seed)
		parts, lambda = len(m.Parts), fmt.Sprintf("%.3f", m.Lambda)
	}
	last := s.reported
	s.reported = reported{s.now, s.traffic, s.check.joined, s.check.left, s.check.deaths}
	t := s.traffic.Sub(last.traffic)
	rate := func(n int) float64 { return float64(n) / max((s.now-last.at).Seconds(), 1e-9) / float64(max(up, 1)) }
	return fmt.Sprintf("%8.3f %5d %5d-%-5d %2d-%-2d %5d %6s %6d %6d %5d %6.2f %6.2f %6.2f %6.2f %7.1f %016x",
		s.now.Seconds(), up, knowLeast, knowMost, linksLeast, linksMost, parts, lambda,
		s.check.joined-last.joined, s.check.left-last.left, s.check.deaths-last.deaths,
		rate(t.Steps), rate(t.Wakes), rate(t.Datagrams), rate(t.Messages), rate(t.Bytes), s.hash)
}
