package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// complete returns the graph in which every two nodes have a link.
func complete(n int) *Graph {
	g := New(n)
	for a := range n {
		for b := range a {
			g.Link(a, b)
		}
	}
	return g
}

// ring returns a cycle.
func ring(n int) *Graph {
	g := New(n)
	for i := range n {
		g.Link(i, (i+1)%n)
	}
	return g
}

// cube returns the hypercube of a dimension.
func cube(dim int) *Graph {
	g := New(1 << dim)
	for i := range g.Len() {
		for b := range dim {
			if j := i ^ 1<<b; i < j {
				g.Link(i, j)
			}
		}
	}
	return g
}

// petersen returns the graph of that name, whose eigenvalues are 3, 1 and -2.
func petersen() *Graph {
	g := New(10)
	for i := range 5 {
		g.Link(i, (i+1)%5)
		g.Link(i, i+5)
		g.Link(i+5, (i+2)%5+5)
	}
	return g
}

// cycles returns the union of random Hamiltonian cycles.
func cycles(n, count int) *Graph {
	g, r := New(n), rng()
	for range count {
		order := r.Perm(n)
		for i := range order {
			g.Link(order[i], order[(i+1)%n])
		}
	}
	return g
}

func TestDegrees(t *testing.T) {
	g := New(4)
	g.Link(0, 1)
	g.Link(0, 2)
	g.Link(0, 2)
	g.Link(2, 2)
	if d := g.Degrees(); d != (Degrees{Min: 0, Max: 3, Mean: 7. / 4}) {
		t.Errorf("degrees %+v", d)
	}
	if g.Links() != 4 || g.Len() != 4 || g.Degree(2) != 3 {
		t.Errorf("%d links, %d nodes, degree %d", g.Links(), g.Len(), g.Degree(2))
	}
	if d := New(0).Degrees(); d != (Degrees{}) {
		t.Errorf("degrees of nothing: %+v", d)
	}
}

func TestComponents(t *testing.T) {
	g := New(7)
	g.Link(0, 6)
	g.Link(6, 3)
	g.Link(1, 2)
	if got := g.Components(); !slices.Equal(got, []int{3, 2, 1, 1}) {
		t.Errorf("components %v", got)
	}
	if got := New(0).Components(); len(got) != 0 {
		t.Errorf("components of nothing: %v", got)
	}
}

func TestPaths(t *testing.T) {
	parts := New(5) // 0-1-2 and 3-4
	parts.Link(0, 1)
	parts.Link(1, 2)
	parts.Link(3, 4)
	for _, test := range []struct {
		name    string
		g       *Graph
		sources int
		want    Paths
	}{
		{"complete", complete(6), 6, Paths{1, 1, true}},
		{"ring", ring(8), 100, Paths{4, 16. / 7, true}},
		{"ring, from two", ring(8), 2, Paths{4, 16. / 7, false}},
		{"cube", cube(5), 32, Paths{5, 80. / 31, true}},
		{"petersen", petersen(), 10, Paths{2, 15. / 9, true}},
		{"two parts", parts, 5, Paths{2, 10. / 8, true}},
		{"one node", New(1), 1, Paths{0, 0, true}},
		{"nothing", New(0), 1, Paths{0, 0, true}},
	} {
		if got := test.g.Paths(test.sources); got.Longest != test.want.Longest || got.Exact != test.want.Exact || math.Abs(got.Mean-test.want.Mean) > 1e-12 {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestLambda2(t *testing.T) {
	star := New(5)
	for i := range 4 {
		star.Link(0, i+1)
	}
	doubled := complete(4)
	for a := range 4 {
		for b := range a {
			doubled.Link(a, b)
		}
	}
	parts := New(6)
	for _, l := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {3, 4}, {4, 5}, {5, 3}} {
		parts.Link(l[0], l[1])
	}
	lonely := New(3)
	lonely.Link(0, 1)
	for _, test := range []struct {
		name string
		g    *Graph
		want float64
	}{
		{"complete", complete(9), 1. / 8},
		{"two nodes", complete(2), 1},
		{"complete, each link twice", doubled, 1. / 3},
		{"odd ring", ring(9), math.Cos(math.Pi / 9)},
		{"even ring is bipartite", ring(10), 1},
		{"cube is bipartite", cube(4), 1},
		{"star is bipartite", star, 1},
		{"petersen", petersen(), 2. / 3},
		{"two triangles", parts, 1},
		{"a node without links", lonely, 1},
		{"one node", New(1), 1},
		{"nothing", New(0), 1},
	} {
		if got := test.g.Lambda2(rng(), 10_000); math.Abs(got-test.want) > 1e-4 {
			t.Errorf("%s: %.6f, want %.6f", test.name, got, test.want)
		}
	}
}

// Random cycles expand nearly as well as is possible; a bridge between two
// halves, each of which expands, shows.
func TestLambda2TellsGoodFromBad(t *testing.T) {
	if got, bound := cycles(2000, 4).Lambda2(rng(), 1000), Bound(8); got < 0.9*bound || got > 1.05*bound {
		t.Errorf("four random cycles: %.3f, bound %.3f", got, bound)
	}
	half := cycles(1000, 4)
	both := New(2000)
	for a, neighbours := range half.neighbours {
		for _, b := range neighbours {
			if int32(a) < b {
				both.Link(a, int(b))
				both.Link(a+1000, int(b)+1000)
			}
		}
	}
	both.Link(0, 1000)
	if got := both.Lambda2(rng(), 1000); got < 0.99 {
		t.Errorf("two halves with one bridge: %.3f", got)
	}
}

// Fewer steps never give more.
func TestLambda2GrowsWithSteps(t *testing.T) {
	g, last := cycles(300, 3), 0.0
	for _, steps := range []int{1, 3, 10, 30, 100, 300} {
		got := g.Lambda2(rng(), steps)
		if got < last-1e-12 {
			t.Errorf("%d steps give %.6f, fewer gave %.6f", steps, got, last)
		}
		last = got
	}
}

func TestBound(t *testing.T) {
	for degree, want := range map[float64]float64{0: 1, 1: 1, 2: 1, 3: 2 * math.Sqrt2 / 3, 8: 2 * math.Sqrt(7) / 8} {
		if got := Bound(degree); math.Abs(got-want) > 1e-12 {
			t.Errorf("degree %v: %v, want %v", degree, got, want)
		}
	}
}
