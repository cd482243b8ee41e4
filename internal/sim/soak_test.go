package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSoak runs random stories. SIM_SEEDS=N runs N of them, beginning at a seed
// of the day, or at SIM_FROM; SIM_SEED=n repeats the one with that seed and
// prints it.
func TestSoak(t *testing.T) {
	first, n := uint64(1), uint64(40)
	if testing.Short() {
		n = 10
	}
	if v := os.Getenv("SIM_SEEDS"); v != "" {
		n, _ = strconv.ParseUint(v, 10, 64)
		first = uint64(time.Now().Unix()) * 1000
	}
	if v := os.Getenv("SIM_FROM"); v != "" {
		first, _ = strconv.ParseUint(v, 10, 64)
	}
	one := os.Getenv("SIM_SEED")
	if one != "" {
		first, _ = strconv.ParseUint(one, 10, 64)
		n = 1
	}
	var steps int
	var worst, total time.Duration
	for seed := first; seed < first+n; seed++ {
		r := Soak(seed)
		steps += r.Steps
		total += r.Time
		worst = max(worst, r.Settled)
		if r.Err != nil {
			t.Errorf("seed %d: %v\n%s\nrepeat it: SIM_SEED=%d go test ./internal/sim -run TestSoak -v",
				seed, r.Err, strings.Join(r.Story, "\n"), seed)
		} else if one != "" {
			t.Logf("seed %d\n%s", seed, strings.Join(r.Story, "\n"))
		}
	}
	t.Logf("%d stories, %v simulated, %d steps, settled within %v", n, total.Round(time.Second), steps, worst)
}
