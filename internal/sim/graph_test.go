package sim

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// TestRings measures the graph that the rings of a directory make.
// SIM_GRAPH=N measures that of N servers: 1000000 take half a minute.
func TestRings(t *testing.T) {
	t.Parallel()
	sizes := []int{16, 100, 1_000, 10_000, 100_000}
	if testing.Short() {
		sizes = sizes[:4]
	}
	if os.Getenv("SIM_GRAPH") != "" {
		sizes = []int{int(number(t, "SIM_GRAPH", 0))}
	}
	for _, n := range sizes {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		records := make([]*directory.Record, n)
		for i := range records {
			records[i] = &directory.Record{ID: circuit.ServerID(rng.Uint64() | 1), State: directory.Alive}
		}
		g, parallel := RingGraph(directory.Of(records))
		m := Measure(g, 1)
		t.Logf("%v; %d parallel", m, parallel)
		if err := m.Expands(); err != nil {
			t.Errorf("%d servers: %v", n, err)
		}
		if n >= 1000 && parallel*100 > m.Links {
			t.Errorf("%d servers: %d of %d links are parallel, more than 1 %%", n, parallel, m.Links)
		}
	}
}
