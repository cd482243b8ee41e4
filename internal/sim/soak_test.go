package sim

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// number returns the number in an environment variable, or what it is without.
func number(t *testing.T, name string, without uint64) uint64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return without
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, v, err)
	}
	return n
}

// TestSoak runs random stories. SIM_SEEDS=N runs N of them, beginning at a seed
// of the day, or at SIM_FROM; SIM_SEED=n repeats the one with that seed and
// prints it, with the trace.
func TestSoak(t *testing.T) {
	t.Parallel()
	first, n := uint64(1), uint64(40)
	if testing.Short() {
		n = 10
	}
	if many := number(t, "SIM_SEEDS", 0); many > 0 {
		first, n = uint64(time.Now().Unix())*1000, many
	}
	first = number(t, "SIM_FROM", first)
	one := os.Getenv("SIM_SEED") != ""
	if one {
		first, n = number(t, "SIM_SEED", 0), 1
	}
	results := make([]Result, n)
	var next atomic.Uint64
	var tellers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		tellers.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				results[i] = Soak(first+i, one)
			}
		})
	}
	tellers.Wait()
	var all Result
	var worst time.Duration
	for i, r := range results {
		seed := first + uint64(i)
		all.Traffic.Steps += r.Traffic.Steps
		all.Time += r.Time
		all.Hours += r.Hours
		all.Deaths += r.Deaths
		worst = max(worst, r.Settled)
		switch story := strings.Join(r.Story, "\n"); {
		case r.Err != nil:
			t.Errorf("seed %d: %v\n%s\nrepeat it: make sim SEED=%d", seed, r.Err, story, seed)
		case one:
			t.Logf("seed %d\n%s\n%s", seed, Columns(), story)
		}
	}
	t.Logf("%d stories, %v simulated, %.1f server-hours, %d steps, settled within %v, %d times a running server was said to have failed, with cause",
		n, all.Time.Round(time.Second), all.Hours, all.Traffic.Steps, worst, all.Deaths)
}
