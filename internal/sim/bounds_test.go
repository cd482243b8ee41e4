package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocircuit/circuit/internal/directory"
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
	within(t, s, 30*time.Second, "start", s.Well)
	s.Run(10 * time.Second)
	return s
}

// formed returns a world of n servers that were one circuit from the beginning.
func formed(t *testing.T, cfg Config, n int) *Sim {
	t.Helper()
	s := New(cfg)
	s.Form(n)
	within(t, s, 30*time.Second, "form", s.Meshed)
	s.Run(10 * time.Second)
	return s
}

// known returns nil if all servers know each other, and are linked.
func known(s *Sim) func() error {
	return func() error {
		if err := s.Settled(); err != nil {
			return err
		}
		return s.Linked()
	}
}

// within lets time pass until all is well, d at most, and returns how long it
// took.
func within(t *testing.T, s *Sim, d time.Duration, what string, well func() error) time.Duration {
	t.Helper()
	began := s.Now()
	if !s.RunUntil(d, func() bool { return well() == nil }) {
		t.Fatalf("%s: not well after %v: %v", what, d, well())
	}
	return s.Now() - began
}

func blameless(t *testing.T, s *Sim) {
	t.Helper()
	for _, err := range s.Failures() {
		t.Error(err)
	}
}

// goodGraph wants the graph to be as good as random ones of that degree are.
func goodGraph(t *testing.T, s *Sim, what string) {
	t.Helper()
	m := Measure(s.Graph(), 1)
	t.Logf("%s: %v", what, m)
	const d = 2 * directory.Rings
	if err := m.Expands(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for degree, n := range m.Degrees {
		if degree > d || degree < d-3 && m.Servers > 32 {
			t.Errorf("%s: %d servers have %d links", what, n, degree)
		}
	}
}

// TestBounds holds the times in which something is known to all to what
// docs/overlay.md promises.
func TestBounds(t *testing.T) {
	for _, n := range []int{2, 3, 5, 9, 10, 16, 64, 128} {
		if testing.Short() && n > 64 {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := circle(t, Config{Seed: uint64(n)}, n)
			do := func(what string, d time.Duration, fault func()) string {
				fault()
				took := within(t, s, d, what, s.Settled)
				within(t, s, 10*time.Second, what, s.Well)
				s.Run(10 * time.Second)
				return fmt.Sprintf("%s %v", what, took)
			}
			h := s.Add()
			t.Log(
				do("join", 50*time.Millisecond, func() { s.Start(h, s.Servers()[n/2].Address) }),
				do("crash", 100*time.Millisecond, func() { s.Crash(h) }),
				do("restart", 50*time.Millisecond, func() { s.Start(h, s.Servers()[0].Address) }),
				do("freeze", 5*time.Second, func() { s.Freeze(h) }),
				do("thaw", 100*time.Millisecond, func() { s.Thaw(h) }),
				do("leave", 100*time.Millisecond, func() { s.Leave(h); s.Run(10 * time.Millisecond) }),
				do("return", 50*time.Millisecond, func() { s.Start(h, s.Servers()[0].Address) }),
				do("vanish", 5*time.Second, func() { s.Vanish(h) }))
			blameless(t, s)
		})
	}
}

// TestFreezeTimes looks at how long it takes until a frozen server is known to
// all to have failed, over many of them.
func TestFreezeTimes(t *testing.T) {
	t.Parallel()
	var sum, worst time.Duration
	const times = 60
	for i := range times {
		s := circle(t, Config{Seed: uint64(i)}, 3+i%14)
		s.Run(time.Duration(i) * 37 * time.Millisecond)
		s.Freeze(s.Servers()[i%3])
		d := within(t, s, 5*time.Second, "freeze", s.Settled)
		sum += d
		worst = max(worst, d)
		blameless(t, s)
	}
	t.Logf("known to all after %v on average, %v at worst", sum/times, worst)
	if mean := sum / times; mean > 3*time.Second {
		t.Errorf("on average %v, more than 3 s", mean)
	}
}

// TestStorm starts many servers at the same instant, and then the only server
// that they know.
func TestStorm(t *testing.T) {
	t.Parallel()
	for _, n := range []int{16, 64, 256} {
		if testing.Short() && n > 64 {
			continue
		}
		s := New(Config{Seed: 7})
		for range n {
			s.Add()
		}
		for _, h := range s.Servers()[1:] {
			s.After(time.Duration(s.rng.Int64N(int64(time.Second))), func() { s.Start(h, s.Servers()[0].Address) })
		}
		s.Run(time.Second)
		s.Start(s.Servers()[0])
		d := within(t, s, 3*time.Second, "storm", known(s))
		all := within(t, s, 10*time.Second, "storm", s.Well)
		blameless(t, s)
		tr := s.Traffic()
		t.Logf("%d servers are one circuit %v after their seed started, without other links after %v; %d steps, %d bytes each, at most %d waited on a connection",
			n, d, all, tr.Steps, tr.Bytes/n, s.Backlog())
		if s.Backlog() > 1000*n {
			t.Errorf("%d bytes waited on one connection", s.Backlog())
		}
		goodGraph(t, s, "after a storm")
	}
}

// TestMassKill ends a share of all servers at once, their processes or their
// hosts.
func TestMassKill(t *testing.T) {
	t.Parallel()
	n := 128
	if testing.Short() {
		n = 64
	}
	for _, percent := range []int{30, 50, 70, 80, 90} {
		for _, hosts := range []bool{false, true} {
			s := formed(t, Config{Seed: uint64(percent)}, n)
			for _, at := range s.rng.Perm(n)[:n*percent/100] {
				if h := s.Servers()[at]; hosts {
					s.Vanish(h)
				} else {
					s.Crash(h)
				}
			}
			bound := 5 * time.Second
			if percent > 70 {
				bound = 30 * time.Second
			}
			what := fmt.Sprintf("%d percent, hosts %v", percent, hosts)
			whole := func() error {
				if n := len(s.Graph().Components()); n > 1 {
					return fmt.Errorf("%d parts", n)
				}
				return nil
			}
			one := within(t, s, bound, what, whole)
			all := one + within(t, s, 30*time.Second, what, known(s))
			well := all + within(t, s, 10*time.Second, what, s.Well)
			blameless(t, s)
			t.Logf("%s: one graph after %v, known to all after %v, without other links after %v", what, one, all, well)
		}
	}
}

// TestGraph looks at the graph after growth from one seed, churn, and the loss of
// nine servers of ten.
func TestGraph(t *testing.T) {
	t.Parallel()
	const n = 128
	s := circle(t, Config{Seed: 21}, n)
	goodGraph(t, s, "after growth")
	for range 5 {
		for _, at := range s.rng.Perm(n)[:n/4] {
			h := s.Servers()[at]
			s.Leave(h)
			s.After(2*time.Second, func() { s.Start(h, s.Servers()[(at+1)%n].Address) })
		}
		s.Run(5 * time.Second)
	}
	within(t, s, 10*time.Second, "churn", s.Well)
	goodGraph(t, s, "after churn")
	for _, at := range s.rng.Perm(n)[:n*9/10] {
		s.Leave(s.Servers()[at])
	}
	within(t, s, 30*time.Second, "shrink", s.Well)
	goodGraph(t, s, "after shrinking")
	blameless(t, s)
}

// TestPartition splits a circuit for a while, and looks at how soon it is one
// again.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		d      time.Duration
		shares []int
	}{
		{"halves", 10 * time.Second, []int{24, 24}},
		{"one and all others", 10 * time.Second, []int{1, 47}},
		{"three", 10 * time.Second, []int{16, 16, 16}},
		{"halves", 10 * time.Minute, []int{24, 24}},
		{"one and all others", 10 * time.Minute, []int{1, 47}},
		{"three", 10 * time.Minute, []int{10, 18, 20}},
		{"a day", 23 * time.Hour, []int{4, 4, 4}},
	} {
		if testing.Short() && c.d > 10*time.Second {
			continue
		}
		servers := 0
		for _, share := range c.shares {
			servers += share
		}
		s := circle(t, Config{Seed: 31}, servers)
		var groups [][]*Server
		rest := s.Servers()
		for _, share := range c.shares {
			groups, rest = append(groups, rest[:share]), rest[share:]
		}
		s.Partition(groups...)
		s.Run(c.d)
		for _, g := range groups {
			if known := g[0].proc.mem.Directory().Len(); known != len(g) {
				t.Errorf("%s, for %v: a side of %d servers knows %d", c.what, c.d, len(g), known)
			}
		}
		s.Heal()
		d := within(t, s, 30*time.Second, c.what, s.Settled)
		all := d + within(t, s, 10*time.Second, c.what, s.Well)
		blameless(t, s)
		t.Logf("%s, %v, for %v: one circuit after %v, without other links after %v", c.what, c.shares, c.d, d, all)
	}
}

// noise is what a quiet circuit does, a second and a server.
type noise struct{ steps, wakes, datagrams, messages, bytes float64 }

// tooMuch returns an error where a quiet circuit does more than it may.
func (n noise) tooMuch() error {
	if n.bytes > 60 || n.datagrams > 1 || n.messages > .01 || n.wakes > 4 {
		return fmt.Errorf("too much: %+v", n)
	}
	return nil
}

// idle looks at what servers do for a while.
func idle(s *Sim, d time.Duration) noise {
	was := s.Traffic()
	s.Run(d)
	t := s.Traffic().Sub(was)
	per := func(n int) float64 { return float64(n) / d.Seconds() / float64(len(s.Servers())) }
	return noise{per(t.Steps), per(t.Wakes), per(t.Datagrams), per(t.Messages), per(t.Bytes)}
}

// TestIdle looks at what a quiet circuit does: it must not grow with the circuit.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 8, 16, 128, 1024} {
		if testing.Short() && n > 128 {
			continue
		}
		s := formed(t, Config{Seed: 3}, n)
		s.Run(time.Minute)
		got := idle(s, 100*time.Second)
		t.Logf("%d servers: each sends %.2f datagrams and %.2f messages, %.1f bytes, a second; %.2f steps, %.2f of them wake-ups",
			n, got.datagrams, got.messages, got.bytes, got.steps, got.wakes)
		if err := got.tooMuch(); err != nil {
			t.Errorf("%d servers: %v", n, err)
		}
		blameless(t, s)
	}
}

// TestEvent looks at what it costs to tell all servers something, and how long it
// takes.
func TestEvent(t *testing.T) {
	for _, n := range []int{9, 64, 512} {
		if testing.Short() && n > 64 {
			continue
		}
		s := formed(t, Config{Seed: 5}, n)
		was := s.Traffic()
		began := s.Now()
		s.Broadcast(s.Servers()[0], "0123456789abcdef")
		for s.Got("0123456789abcdef") < n-1 && s.Now()-began < time.Second {
			s.Run(100 * time.Microsecond)
		}
		took := s.Now() - began
		s.Run(100 * time.Millisecond)
		tr := s.Traffic().Sub(was)
		t.Logf("%d servers: known to all after %v; %.1f messages and %d bytes each", n, took, float64(tr.Messages)/float64(n), tr.Bytes/n)
		if took > 50*time.Millisecond || tr.Messages > 8*n {
			t.Errorf("%d servers: known to all after %v, %d messages", n, took, tr.Messages)
		}
		blameless(t, s)
	}
}

// TestLoss runs circuits on bad networks: hardly anybody who runs is declared
// dead.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss float64
		most int // times that somebody said so
	}{{0, 0}, {.05, 0}, {.25, 0}, {.40, 200}} {
		s := formed(t, Config{Seed: 11, Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond}, 32)
		s.cfg.Loss = c.loss
		hours := s.ServerHours()
		for range 32 { // whatever loss does is no excuse
			s.Run(20 * time.Second)
		}
		hours = s.ServerHours() - hours
		t.Logf("loss %.2f: %d times somebody said that somebody failed, in %.1f server-hours", c.loss, s.Deaths(), hours)
		if s.Deaths() > c.most {
			t.Errorf("loss %.2f: %d times somebody said that somebody failed", c.loss, s.Deaths())
		}
	}
}

// TestFrozen freezes some of the servers for a while: nobody else is declared
// dead, and all are back afterwards.
func TestFrozen(t *testing.T) {
	t.Parallel()
	const n = 128
	s := formed(t, Config{Seed: 13}, n)
	for round := range 3 {
		frozen := s.rng.Perm(n)[:16+16*(round%2)] // an eighth, then a quarter
		for _, at := range frozen {
			s.Freeze(s.Servers()[at])
		}
		s.Run(16 * time.Second)
		if err := s.Settled(); err != nil {
			t.Errorf("%d of %d frozen for 16 s: %v", len(frozen), n, err)
		}
		for _, at := range frozen {
			s.Thaw(s.Servers()[at])
		}
		d := within(t, s, 90*time.Second, "thaw", s.Well)
		t.Logf("%d of %d frozen for 16 s: all back after %v", len(frozen), n, d)
		s.Run(2 * time.Minute)
	}
	blameless(t, s)
}

// TestSlow slows servers down, the clocks of others jump, and ways are cut: none
// of them is declared dead that the others can hear.
func TestSlow(t *testing.T) {
	s := formed(t, Config{Seed: 14}, 64)
	for i, each := range []time.Duration{200 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond} {
		for k := range 4 {
			s.Slow(s.Servers()[4*i+k], each) // 10, 100 and 1000 times as long as usual
		}
	}
	for i := range 8 {
		h, o := s.Servers()[20+i], s.Servers()[40+i]
		for _, id := range wanted(h.proc.mem.Directory(), h.ID)[:3] {
			s.Cut(h, s.active(id))
		}
		s.Cut(o, h)
		s.Jump(s.Servers()[30+i], time.Duration(i)*10*time.Second)
	}
	s.Run(5 * time.Minute)
	if s.Deaths() > 0 {
		t.Errorf("%d times somebody said that somebody failed: %v", s.Deaths(), s.Failures())
	}
	for _, h := range s.Servers() {
		s.Slow(h, 0)
	}
	s.Heal()
	within(t, s, 10*time.Second, "end", s.Well)
	blameless(t, s)
}

// TestStarved runs a circuit on a machine that has far too little time for it.
func TestStarved(t *testing.T) {
	for _, most := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond} {
		s := circle(t, Config{Seed: 12}, 24)
		said := s.Said()
		for _, h := range s.Servers() {
			s.Starve(h, most, 5*time.Minute)
		}
		s.Run(6 * time.Minute)
		blameless(t, s)
		if n := s.Said() - said; n > 0 {
			t.Errorf("standing still for up to %v: %d times somebody said that somebody left or joined", most, n)
		}
	}
}

// TestRemembered ends a whole circuit, and starts all but the seed again, which
// know no address but those they remember.
func TestRemembered(t *testing.T) {
	for _, n := range []int{3, 24, 64} {
		s := circle(t, Config{Seed: 15}, n)
		for _, h := range s.Servers() {
			s.Crash(h)
		}
		s.Run(time.Second)
		s.Vanish(s.Servers()[0])
		for _, h := range s.Servers()[1:] {
			s.Start(h)
		}
		d := within(t, s, 5*time.Second, "restart", s.Settled)
		within(t, s, 10*time.Second, "restart", s.Well)
		t.Logf("%d servers are one circuit again after %v", n-1, d)
		blameless(t, s)
	}
}

// TestSameSeed tells a story twice.
func TestSameSeed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		if a, b := Soak(seed, false), Soak(seed, true); a.Hash != b.Hash || a.Traffic != b.Traffic {
			t.Errorf("seed %d: hashes %x and %x, %+v and %+v", seed, a.Hash, b.Hash, a.Traffic, b.Traffic)
		}
	}
	if Soak(1, false).Hash == Soak(2, false).Hash {
		t.Error("two seeds tell the same story")
	}
}
