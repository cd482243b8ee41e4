package sim

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// cycle returns the links of a cycle through servers, in order.
func cycle(servers ...int32) [][2]int32 {
	var links [][2]int32
	for i, s := range servers {
		links = append(links, [2]int32{s, servers[(i+1)%len(servers)]})
	}
	return links
}

func upTo(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

// TestMeasures measures graphs of which everything is known.
func TestMeasures(t *testing.T) {
	complete := func(n int) (links [][2]int32) {
		for i := range int32(n) {
			for j := range i {
				links = append(links, [2]int32{i, j})
			}
		}
		return links
	}
	cube := func(dim int) (links [][2]int32) {
		for i := range int32(1 << dim) {
			for b := range dim {
				if j := i ^ 1<<b; i < j {
					links = append(links, [2]int32{i, j})
				}
			}
		}
		return links
	}
	for _, c := range []struct {
		name  string
		n     int
		links [][2]int32
		want  Measures
	}{
		{"two", 2, complete(2), Measures{Links: 1, Components: 1, Largest: 2, Lambda: 1, Hops: 1, Diameter: 1}},
		{"complete", 9, complete(9), Measures{Links: 36, Components: 1, Largest: 9, Lambda: 1. / 8, Hops: 1, Diameter: 1}},
		{"cycle", 9, cycle(upTo(9)...), Measures{Links: 9, Components: 1, Largest: 9, Lambda: math.Cos(math.Pi / 9), Hops: 2.5, Diameter: 4}},
		{"bipartite", 8, cube(3), Measures{Links: 12, Components: 1, Largest: 8, Lambda: 1, Hops: 12. / 7, Diameter: 3}},
		{"apart", 7, append(cycle(0, 1, 2), cycle(3, 4, 5, 6)...), Measures{Links: 7, Components: 2, Largest: 4, Lambda: 1}},
		{"alone", 3, cycle(0, 1)[:1], Measures{Links: 1, Components: 2, Largest: 2, Lambda: 1}},
		{"star", 5, [][2]int32{{0, 1}, {0, 2}, {0, 3}, {0, 4}}, Measures{Links: 4, Components: 1, Largest: 5, Lambda: 1}},
		{"twice", 3, append(cycle(0, 1, 2), [2]int32{1, 0}, [2]int32{2, 2}), Measures{Links: 3, Components: 1, Largest: 3, Lambda: .5, Hops: 1, Diameter: 1, Parallel: 1, Loops: 1}},
	} {
		m := NewGraph(c.n, c.links).Measure(1)
		same := m.Servers == c.n && m.Links == c.want.Links && m.Components == c.want.Components && m.Largest == c.want.Largest &&
			m.Parallel == c.want.Parallel && m.Loops == c.want.Loops && math.Abs(m.Lambda-c.want.Lambda) < .01
		if c.want.Hops > 0 {
			same = same && math.Abs(m.Hops-c.want.Hops) < .01 && m.Diameter == c.want.Diameter
		}
		if !same {
			t.Errorf("%s: measured %v, want %v", c.name, m, c.want)
		}
	}
}

// TestLambdaFindsBadGraphs measures a graph that looks harmless but for lambda:
// two expanders with a few links between them.
func TestLambdaFindsBadGraphs(t *testing.T) {
	const half = 1000
	rng := rand.New(rand.NewPCG(1, 2))
	var links [][2]int32
	for range directory.Rings {
		for _, side := range []int32{0, half} {
			ring := upTo(half)
			rng.Shuffle(half, func(i, j int) { ring[i], ring[j] = ring[j], ring[i] })
			for i := range ring {
				ring[i] += side
			}
			links = append(links, cycle(ring...)...)
		}
	}
	for i := range int32(20) {
		links = append(links, [2]int32{i, half + i})
	}
	m := NewGraph(2*half, links).Measure(1)
	t.Log(m)
	if m.Components != 1 || m.Hops > 8 || m.Lambda < .98 {
		t.Errorf("two halves with a bridge: %v", m)
	}
}

// TestRings measures the graph that the rings of a directory make.
// SIM_GRAPH=N measures that of N servers: 1000000 takes a minute.
func TestRings(t *testing.T) {
	sizes := []int{16, 100, 1_000, 10_000, 100_000}
	if testing.Short() {
		sizes = sizes[:4]
	}
	if v := os.Getenv("SIM_GRAPH"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		sizes = []int{n}
	}
	for _, n := range sizes {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		records := make([]*directory.Record, n)
		for i := range records {
			records[i] = &directory.Record{ID: circuit.ServerID(rng.Uint64() | 1), State: directory.Alive}
		}
		m := RingGraph(directory.Of(records)).Measure(1)
		t.Log(m)
		const d = 2 * directory.Rings
		if m.Components != 1 || m.Loops > 0 || m.Lambda > 1.1*Bound(d) {
			t.Errorf("%d servers: %v; want one component, and lambda at most 1.1 x %.3f", n, m, Bound(d))
		}
		if n >= 1000 && m.Parallel*100 > m.Links {
			t.Errorf("%d servers: %d of %d links are parallel, more than 1 %%", n, m.Parallel, m.Links)
		}
	}
}
