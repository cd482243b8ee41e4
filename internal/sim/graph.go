package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/graph"
)

// Measures are what is measured of a graph of links.
type Measures struct {
	Servers, Links int
	Parts          []int       // sizes of the components, the largest first
	Degrees        map[int]int // how many servers have how many links
	Lambda         float64     // see graph.Lambda2
	Paths          graph.Paths
}

// Measure measures a graph, from samples drawn from seed.
func Measure(g *graph.Graph, seed uint64) Measures {
	const sources, steps = 16, 500
	m := Measures{
		Servers: g.Len(), Links: g.Links(), Parts: g.Components(), Degrees: make(map[int]int),
		Lambda: g.Lambda2(rand.New(rand.NewPCG(seed, 0x6a09)), steps), Paths: g.Paths(sources),
	}
	for i := range g.Len() {
		m.Degrees[g.Degree(i)]++
	}
	return m
}

// Expands returns an error if the graph is not one, or not as good an expander as
// random links are.
func (m Measures) Expands() error {
	const d = 2 * directory.Rings
	if most := 1.1 * graph.Bound(d); len(m.Parts) != 1 || m.Lambda > most {
		return fmt.Errorf("%v; want one part, lambda at most %.3f", m, most)
	}
	return nil
}

// String writes the measures in a line.
func (m Measures) String() string {
	var degrees []string
	for _, d := range slices.Sorted(maps.Keys(m.Degrees)) {
		degrees = append(degrees, fmt.Sprintf("%d:%d", d, m.Degrees[d]))
	}
	return fmt.Sprintf("%d servers, %d links, %d parts, lambda %.3f, %.2f hops, %d at most; links of servers %s",
		m.Servers, m.Links, len(m.Parts), m.Lambda, m.Paths.Mean, m.Paths.Longest, strings.Join(degrees, " "))
}

// RingGraph returns the graph that a directory wants: each server is linked with
// the next on each ring. It also returns how often two servers are next to each
// other on several rings, which makes no further link.
func RingGraph(d directory.Directory) (g *graph.Graph, parallel int) {
	number := make(map[circuit.ServerID]int, d.Len())
	for r := range d.All() {
		number[r.ID] = len(number)
	}
	var links [][2]int
	for ring := range directory.Rings {
		last := -1
		for r := range d.After(ring, 0) {
			links = append(links, [2]int{last, number[r.ID]})
			last = number[r.ID]
		}
		if n := len(number); n > 0 {
			links[len(links)-n][0] = last // the first is next to the last
		}
	}
	for i, l := range links {
		links[i] = [2]int{min(l[0], l[1]), max(l[0], l[1])}
	}
	slices.SortFunc(links, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	all := len(links)
	links = slices.Compact(links)
	g = graph.New(len(number))
	for _, l := range links {
		g.Link(l[0], l[1])
	}
	return g, all - len(links)
}

// Graph returns the graph of the links that both ends have in use, of all
// servers that run.
func (s *Sim) Graph() *graph.Graph {
	number := make(map[circuit.ServerID]int)
	for _, h := range s.servers {
		if h.active() {
			number[h.ID] = len(number)
		}
	}
	g := graph.New(len(number))
	for _, h := range s.servers {
		if !h.active() {
			continue
		}
		for _, id := range h.proc.ov.Neighbours() {
			if o := s.active(id); o != nil && id > h.ID && linkedWith(o, h.ID) {
				g.Link(number[h.ID], number[id])
			}
		}
	}
	return g
}

// linkedWith reports whether a server has a link in use to another.
func linkedWith(h *Server, id circuit.ServerID) bool {
	_, ok := slices.BinarySearch(h.proc.ov.Neighbours(), id)
	return ok
}
