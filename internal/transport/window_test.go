package transport

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestWindow(t *testing.T) {
	var w window
	for i, step := range []struct {
		counter uint32
		fresh   bool
	}{
		{0, false}, {1, true}, {1, false}, {3, true}, {2, true}, {2, false},
		{66, true}, {2, false}, {3, false}, {4, true}, {4, false}, // 63 behind still counts
		{67, true}, {4, false}, {5, true}, {66, false},
		{67 + 64, true}, {67, false}, {68, true}, // nothing is left of before
		{math.MaxUint32, true}, {math.MaxUint32, false}, {68 + 64, false}, {math.MaxUint32 - 63, true}, {0, false},
	} {
		if w.accept(step.counter) != step.fresh {
			t.Fatalf("step %d: counter %d must be new: %v", i, step.counter, step.fresh)
		}
	}
}

// TestWindowRemembers compares windows with sets.
func TestWindowRemembers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w window
		seen, top := make(map[uint32]bool), uint32(0)
		for range 500 {
			c := uint32(max(1, int(top)-80+rng.IntN(90)))
			want := !seen[c] && c+63 >= top
			if w.accept(c) != want {
				t.Fatalf("counter %d after %d must be new: %v", c, top, want)
			}
			seen[c] = seen[c] || want
			top = max(top, c)
		}
	}
}
