// Package graph measures undirected graphs: degrees, components, distances, and
// how well a graph expands, by the second eigenvalue of its random walk.
//
// Package client measures with it the overlay that servers tell of, and the
// simulator the one that it has made. It is pure: it gets its randomness from
// the caller. A Graph may be read from any number of goroutines once all links
// are made.
package graph

import "slices"

// Graph is an undirected graph on the nodes 0 to Len()-1. Two nodes may have
// several links, and each counts.
type Graph struct {
	neighbours [][]int32
	links      int
}

// New returns a graph of n nodes without links. At most 2^31-1 nodes.
func New(n int) *Graph { return &Graph{neighbours: make([][]int32, n)} }

// Link links two nodes. To link a node to itself counts once for its degree.
func (g *Graph) Link(a, b int) {
	g.neighbours[a] = append(g.neighbours[a], int32(b))
	if a != b {
		g.neighbours[b] = append(g.neighbours[b], int32(a))
	}
	g.links++
}

// Len returns how many nodes there are.
func (g *Graph) Len() int { return len(g.neighbours) }

// Links returns how many links there are.
func (g *Graph) Links() int { return g.links }

// Degree returns how many links a node has.
func (g *Graph) Degree(node int) int { return len(g.neighbours[node]) }

// Degrees is how many links the nodes of a graph have.
type Degrees struct {
	Min, Max int
	Mean     float64
}

// Degrees returns how many links the nodes have; all 0 where there is no node.
func (g *Graph) Degrees() Degrees {
	if g.Len() == 0 {
		return Degrees{}
	}
	d, sum := Degrees{Min: g.Degree(0)}, 0
	for _, n := range g.neighbours {
		d.Min, d.Max = min(d.Min, len(n)), max(d.Max, len(n))
		sum += len(n)
	}
	d.Mean = float64(sum) / float64(g.Len())
	return d
}

// Components returns the sizes of the parts that are connected in themselves,
// the largest first.
func (g *Graph) Components() []int {
	var sizes []int
	s := newSearch(g)
	for node := range g.neighbours {
		if s.seen[node] == 0 {
			sizes = append(sizes, s.from(node, 1).reached)
		}
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	return sizes
}

// Paths is how far the nodes of a graph are from one another, in links, along
// shortest paths. Nodes without a path between them are left out.
type Paths struct {
	Longest int     // the diameter, if Exact
	Mean    float64 // over all pairs of different nodes
	// Exact is false where the paths from some of the nodes only were measured:
	// then Longest is a lower bound, and Mean an estimate.
	Exact bool
}

// Paths measures shortest paths from at most that many nodes, chosen evenly. It
// takes time in proportion to that many times the links.
func (g *Graph) Paths(sources int) Paths {
	n := g.Len()
	sources = min(max(sources, 1), n)
	p := Paths{Exact: sources == n}
	s := newSearch(g)
	var sum, pairs float64
	for i := range sources {
		r := s.from(i*n/sources, int32(i+1))
		p.Longest = max(p.Longest, r.depth)
		sum += r.sum
		pairs += float64(r.reached - 1)
	}
	if pairs > 0 {
		p.Mean = sum / pairs
	}
	return p
}

// search is the memory of breadth-first searches, one after the other.
type search struct {
	g     *Graph
	seen  []int32 // by which search a node was reached last; 0 for none
	queue []int32
}

func newSearch(g *Graph) *search { return &search{g: g, seen: make([]int32, g.Len())} }

// reach is what a search found.
type reach struct {
	reached int     // nodes, the first included
	depth   int     // distance of the farthest
	sum     float64 // of the distances
}

// from searches from a node. No two searches have the same number, nor 0.
func (s *search) from(node int, number int32) reach {
	var r reach
	s.seen[node] = number
	s.queue = append(s.queue[:0], int32(node))
	for at := 0; at < len(s.queue); r.depth++ {
		end := len(s.queue)
		r.sum += float64(end-at) * float64(r.depth)
		for ; at < end; at++ {
			for _, next := range s.g.neighbours[s.queue[at]] {
				if s.seen[next] != number {
					s.seen[next] = number
					s.queue = append(s.queue, next)
				}
			}
		}
	}
	r.reached = len(s.queue)
	r.depth--
	return r
}
