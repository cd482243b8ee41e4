package sim

import (
	"fmt"
	"testing"
	"time"
)

// circle returns a world of n servers that are one circuit, and quiet.
func circle(t *testing.T, cfg Config, n int) *Sim {
	t.Helper()
	s := New(cfg)
	for range n {
		s.Add()
	}
	for _, h := range s.Servers() {
		s.Start(h, s.Servers()[0].Address)
	}
	within(t, s, 10*time.Second, "start")
	s.Run(10 * time.Second)
	return s
}

// within lets time pass until all is well, d at most, and returns how long it
// took.
func within(t *testing.T, s *Sim, d time.Duration, what string) time.Duration {
	t.Helper()
	began := s.Now()
	if !s.RunUntil(d, func() bool { return s.Settled() == nil && s.Meshed() == nil }) {
		t.Fatalf("%s: not well after %v: %v; %v", what, d, s.Settled(), s.Meshed())
	}
	return s.Now() - began
}

func blameless(t *testing.T, s *Sim) {
	t.Helper()
	for _, err := range s.Failures() {
		t.Error(err)
	}
}

// TestBounds holds the times in which something is known to all to what
// docs/overlay.md promises.
func TestBounds(t *testing.T) {
	for _, n := range []int{2, 3, 5, 8, 9, 10, 16, 32, 64} {
		if testing.Short() && n > 32 {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := circle(t, Config{Seed: uint64(n)}, n)
			new := s.Add()
			s.Start(new, s.Servers()[n/2].Address)
			join := within(t, s, 20*time.Millisecond, "join")
			s.Run(10 * time.Second)

			s.Crash(new)
			crash := within(t, s, 100*time.Millisecond, "crash")
			s.Run(10 * time.Second)

			s.Start(new, s.Servers()[0].Address)
			s.Run(10 * time.Second)
			s.Freeze(new)
			freeze := within(t, s, 4*time.Second, "freeze")
			s.Run(10 * time.Second)

			s.Thaw(new)
			thaw := within(t, s, 20*time.Millisecond, "thaw")
			s.Run(10 * time.Second)

			s.Vanish(new)
			vanish := within(t, s, 4*time.Second, "vanish")
			blameless(t, s)
			t.Logf("join %v, crash %v, freeze %v, thaw %v, vanish %v; %d steps", join, crash, freeze, thaw, vanish, s.Steps())
		})
	}
}

// TestFreezeTimes looks at how long it takes until a frozen server is known to
// all to have failed, over many of them.
func TestFreezeTimes(t *testing.T) {
	var sum, worst time.Duration
	const times = 100
	for i := range times {
		s := circle(t, Config{Seed: uint64(i)}, 3+i%10)
		s.Run(time.Duration(i) * 37 * time.Millisecond)
		s.Freeze(s.Servers()[i%3])
		d := within(t, s, 4*time.Second, "freeze")
		sum += d
		worst = max(worst, d)
		blameless(t, s)
	}
	t.Logf("known to all after %v on average, %v at worst", sum/times, worst)
	if mean := sum / times; mean > 2500*time.Millisecond {
		t.Errorf("on average %v, more than 2.5 s", mean)
	}
}

// TestStorm starts many servers at the same instant, and then the only server
// that they know.
func TestStorm(t *testing.T) {
	for _, n := range []int{16, 32, 64} {
		if testing.Short() && n > 32 {
			continue
		}
		s := New(Config{Seed: 7})
		for range n {
			s.Add()
		}
		for _, h := range s.Servers()[1:] {
			s.Start(h, s.Servers()[0].Address)
		}
		s.Run(time.Second)
		s.Start(s.Servers()[0])
		d := within(t, s, 1500*time.Millisecond, "storm")
		blameless(t, s)
		t.Logf("%d servers are one circuit %v after their seed started; %d steps", n, d, s.Steps())
	}
}

// TestMassKill ends a share of all servers at once, their processes or their
// hosts.
func TestMassKill(t *testing.T) {
	for _, percent := range []int{30, 50, 70, 90} {
		for _, hosts := range []bool{false, true} {
			s := circle(t, Config{Seed: uint64(percent)}, 32)
			for i, at := range s.rng.Perm(32) {
				switch h := s.Servers()[at]; {
				case i >= 32*percent/100:
				case hosts:
					s.Vanish(h)
				default:
					s.Crash(h)
				}
			}
			bound := 200 * time.Millisecond
			if hosts {
				bound = 10 * time.Second
			}
			d := within(t, s, bound, fmt.Sprintf("%d percent, hosts %v", percent, hosts))
			blameless(t, s)
			t.Logf("%d percent, hosts %v: known to all after %v", percent, hosts, d)
		}
	}
}

// TestIdle looks at what a quiet circuit does: it must not grow with the circuit.
func TestIdle(t *testing.T) {
	for _, n := range []int{2, 8, 16, 32} {
		s := circle(t, Config{Seed: 3}, n)
		steps, packets, bytes := s.Steps(), s.packets, s.bytes
		const span = 100
		s.Run(span * time.Second)
		per := func(now, then int) float64 { return float64(now-then) / span / float64(n) }
		t.Logf("%d servers: each %.2f steps, %.2f messages of %.1f bytes sent a second", n,
			per(s.Steps(), steps), per(s.packets, packets), float64(s.bytes-bytes)/float64(max(1, s.packets-packets)))
		if got := per(s.packets, packets); got > 1.2 {
			t.Errorf("%d servers: each sends %.2f messages a second when idle, more than 1.2", n, got)
		}
		blameless(t, s)
	}
}

// TestLoss runs a quiet circuit on a bad network for an hour: nobody is declared
// dead.
func TestLoss(t *testing.T) {
	for _, stall := range []float64{0.01, 0.05, 0.10} {
		s := circle(t, Config{Seed: 11, Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Stall: stall}, 16)
		said := len(s.Log())
		s.Run(15 * time.Minute)
		blameless(t, s)
		if n := len(s.Log()) - said; n > 0 {
			t.Errorf("loss %.2f: %d times somebody said that somebody left or joined", stall, n)
		}
	}
}

// TestStarved runs a circuit on a machine that has far too little time for it.
func TestStarved(t *testing.T) {
	for _, most := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond} {
		s := circle(t, Config{Seed: 12}, 16)
		said := len(s.Log())
		for _, h := range s.Servers() {
			s.Starve(h, most, 5*time.Minute)
		}
		s.Run(6 * time.Minute)
		blameless(t, s)
		if n := len(s.Log()) - said; n > 0 {
			t.Errorf("standing still for up to %v: %d times somebody said that somebody left or joined", most, n)
		}
	}
}

// TestSameSeed tells a story twice.
func TestSameSeed(t *testing.T) {
	for seed := range uint64(5) {
		if a, b := Soak(seed), Soak(seed); a.Hash != b.Hash || a.Steps != b.Steps {
			t.Errorf("seed %d: hashes %x and %x, %d and %d steps", seed, a.Hash, b.Hash, a.Steps, b.Steps)
		}
	}
	if Soak(1).Hash == Soak(2).Hash {
		t.Error("two seeds tell the same story")
	}
}
