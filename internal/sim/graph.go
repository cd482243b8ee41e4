package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Graph is who is linked with whom, servers being numbers from 0 on.
type Graph struct {
	first    []int32 // where in near a server's neighbours begin; one more at the end
	near     []int32
	loops    int // links of servers with themselves, which are left out
	parallel int // links beside another one between the same servers, left out
}

// Measures are what is measured of a Graph.
type Measures struct {
	Servers, Links int
	Components     int
	Largest        int         // servers in the largest component
	Degrees        map[int]int // how many servers have how many links
	Loops          int         // links of servers with themselves
	Parallel       int         // links beside another one between the same servers
	// Lambda is the second largest eigenvalue, by its size, of the random walk on
	// the graph: |lambda2|/d where all servers have d links. What is not known yet
	// of a random walk shrinks by it with each step. It is 1 if there are several
	// components, or the graph is bipartite.
	Lambda float64
	// Hops is the mean number of links between two servers of one component, and
	// Diameter the largest found, both from a sample of servers.
	Hops     float64
	Diameter int
}

// Bound returns the least that Lambda can be in large graphs where all servers
// have d links, by Alon and Boppana; Ramanujan graphs stay below it.
func Bound(d int) float64 { return 2 * math.Sqrt(float64(d-1)) / float64(d) }

// NewGraph returns the graph of n servers with the given links.
func NewGraph(n int, links [][2]int32) *Graph {
	g := &Graph{first: make([]int32, n+1)}
	degree := make([]int32, n+1)
	for _, l := range links {
		degree[l[0]]++
		degree[l[1]]++
	}
	var sum int32
	for i, d := range degree {
		degree[i] = sum
		sum += d
	}
	all := make([]int32, sum) // with loops and parallels
	next := slices.Clone(degree)
	for _, l := range links {
		all[next[l[0]]] = l[1]
		next[l[0]]++
		all[next[l[1]]] = l[0]
		next[l[1]]++
	}
	g.near = all[:0]
	for i := range n {
		of := all[degree[i]:degree[i+1]]
		slices.Sort(of)
		g.first[i] = int32(len(g.near))
		for k, j := range of {
			switch {
			case j == int32(i):
				g.loops++ // twice for each
			case k > 0 && of[k-1] == j:
				g.parallel++ // twice for each
			default:
				g.near = append(g.near, j)
			}
		}
	}
	g.first[n] = int32(len(g.near))
	g.loops /= 2
	g.parallel /= 2
	return g
}

// RingGraph returns the graph that a directory wants: each server is linked with
// the next on each ring.
func RingGraph(d directory.Directory) *Graph {
	number := make(map[circuit.ServerID]int32, d.Len())
	for r := range d.All() {
		number[r.ID] = int32(len(number))
	}
	links := make([][2]int32, 0, directory.Rings*len(number))
	for ring := range directory.Rings {
		var first, last int32 = -1, -1
		for r := range d.After(ring, 0) {
			i := number[r.ID]
			if last < 0 {
				first = i
			} else {
				links = append(links, [2]int32{last, i})
			}
			last = i
		}
		if last >= 0 {
			links = append(links, [2]int32{last, first})
		}
	}
	return NewGraph(len(number), links)
}

// Len returns the number of servers.
func (g *Graph) Len() int { return len(g.first) - 1 }

// Near returns the neighbours of a server.
func (g *Graph) Near(i int32) []int32 { return g.near[g.first[i]:g.first[i+1]] }

// Measure measures the graph, from samples drawn from seed.
func (g *Graph) Measure(seed uint64) Measures {
	const sources = 16
	m := Measures{
		Servers: g.Len(), Links: len(g.near) / 2,
		Loops: g.loops, Parallel: g.parallel, Degrees: make(map[int]int),
	}
	for i := range g.Len() {
		m.Degrees[len(g.Near(int32(i)))]++
	}
	m.Components, m.Largest = g.Components()
	rng := rand.New(rand.NewPCG(seed, 0x6a09))
	m.Lambda = 1
	if m.Components == 1 {
		m.Lambda = g.lambda(rng)
	}
	var sum, pairs int
	for range min(sources, g.Len()) {
		far, total, reached := g.reach(int32(rng.IntN(g.Len())), make([]int32, g.Len()))
		m.Diameter = max(m.Diameter, far)
		sum, pairs = sum+total, pairs+reached
	}
	if pairs > 0 {
		m.Hops = float64(sum) / float64(pairs)
	}
	return m
}

// Components returns the number of components, and the size of the largest.
func (g *Graph) Components() (n, largest int) {
	seen := make([]int32, g.Len())
	for i := range g.Len() {
		if seen[i] == 0 {
			_, _, reached := g.reach(int32(i), seen)
			n, largest = n+1, max(largest, reached+1)
		}
	}
	return n, largest
}

// reach goes from a server to all that can be reached, and returns how far the
// farthest is, the sum of all distances, and how many they are. Whoever was
// seen is not gone to again.
func (g *Graph) reach(from int32, seen []int32) (far, total, reached int) {
	seen[from] = 1 // distances plus one
	for queue := []int32{from}; len(queue) > 0; queue = queue[1:] {
		i := queue[0]
		for _, j := range g.Near(i) {
			if seen[j] == 0 {
				seen[j] = seen[i] + 1
				far = int(seen[i])
				total += far
				reached++
				queue = append(queue, j)
			}
		}
	}
	return far, total, reached
}

// lambda computes Measures.Lambda of a connected graph by power iteration:
// D^-1/2 A D^-1/2, which has the eigenvalues of the random walk, is applied to a
// random vector, from which the eigenvector of 1, the roots of the degrees, is
// taken out each time. What is found grows towards the truth.
func (g *Graph) lambda(rng *rand.Rand) float64 {
	const (
		most   = 1000
		span   = 20   // rounds
		enough = 5e-4 // grown in a span
	)
	n := g.Len()
	root := make([]float64, n) // eigenvector of 1
	inverse := make([]float64, n)
	x, y := make([]float64, n), make([]float64, n)
	for i := range n {
		d := float64(len(g.Near(int32(i))))
		root[i], inverse[i] = math.Sqrt(d), 1/math.Sqrt(d)
		x[i] = rng.NormFloat64()
	}
	scale(root, 1/norm(root))
	lambda, before := 0.0, 0.0
	for round := range most {
		onto := 0.0
		for i := range x {
			onto += x[i] * root[i]
		}
		for i := range x {
			x[i] -= onto * root[i]
		}
		size := norm(x)
		if size == 0 { // one server
			return 0
		}
		for i := range x {
			x[i] *= inverse[i] / size
		}
		for i := range y {
			sum := 0.0
			for _, j := range g.Near(int32(i)) {
				sum += x[j]
			}
			y[i] = sum * inverse[i]
		}
		x, y = y, x
		lambda = norm(x)
		if round%span == span-1 {
			if lambda-before < enough*lambda {
				break
			}
			before = lambda
		}
	}
	return lambda
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

func scale(x []float64, by float64) {
	for i := range x {
		x[i] *= by
	}
}

// String writes the measures in a line: see columns.
func (m Measures) String() string {
	var degrees []string
	var all []int
	for d := range m.Degrees {
		all = append(all, d)
	}
	slices.Sort(all)
	for _, d := range all {
		degrees = append(degrees, fmt.Sprintf("%d:%d", d, m.Degrees[d]))
	}
	return fmt.Sprintf("n=%d links=%d parts=%d largest=%d lambda=%.3f hops=%.2f far=%d parallel=%d loops=%d degrees %s",
		m.Servers, m.Links, m.Components, m.Largest, m.Lambda, m.Hops, m.Diameter, m.Parallel, m.Loops, strings.Join(degrees, " "))
}
