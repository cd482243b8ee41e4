//go:build simlong

package sim

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// memory returns how much of the heap is in use.
func memory() string {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf("%d MB in use", m.HeapAlloc>>20)
}

// TestLongLoss runs circuits at 5 % loss for a million server-hours, or
// SIM_HOURS, and counts how often a server that runs is declared dead.
func TestLongLoss(t *testing.T) {
	const worlds, n, parts = 8, 128, 20
	hours := float64(number(t, "SIM_HOURS", 1_000_000)) / worlds
	for world := range uint64(worlds) {
		t.Run(fmt.Sprint(world), func(t *testing.T) {
			t.Parallel()
			s := New(Config{Seed: world, Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: .05})
			s.Hush()
			s.Form(n)
			t.Log(Columns())
			for part := range parts {
				for want := hours * float64(part+1) / parts; s.ServerHours() < want; {
					s.Run(time.Minute)
				}
				t.Log(s.Line())
			}
			t.Logf("%.0f server-hours, %d times somebody said that somebody failed who ran", s.ServerHours(), s.Deaths())
			if s.Deaths() > 0 || s.Well() != nil {
				t.Errorf("seed %d: %d deaths; %v", world, s.Deaths(), s.Well())
			}
			blameless(t, s)
		})
	}
}

// TestLongFull runs the whole protocol with SIM_SERVERS servers, 4,096 if not
// given: they start within a second with one seed, and then suffer.
func TestLongFull(t *testing.T) {
	n := int(number(t, "SIM_SERVERS", 4096))
	s := New(Config{Seed: 1})
	s.Hush()
	for range n {
		s.Add()
	}
	first := s.Servers()[0]
	s.Start(first)
	for _, h := range s.Servers()[1:] {
		s.After(time.Duration(s.rng.Int64N(int64(time.Second))), func() { s.Start(h, first.Address) })
	}
	story := newLongStory(t, s)
	story.Run(time.Second)
	story.settled("storm of joins in a second")
	story.suffer()
}

// TestLongShared runs SIM_SERVERS servers, 100,000 if not given, that share one
// directory from the beginning.
func TestLongShared(t *testing.T) {
	s := New(Config{Seed: 2})
	s.Hush()
	s.Form(int(number(t, "SIM_SERVERS", 100_000)))
	story := newLongStory(t, s)
	story.settled("links, where everybody knows everybody")
	story.suffer()
}

// longStory is what large worlds go through.
type longStory struct {
	*Sim
	t    *testing.T
	real time.Time
}

func newLongStory(t *testing.T, s *Sim) *longStory {
	t.Log(Columns())
	return &longStory{Sim: s, t: t, real: time.Now()}
}

// settled lets time pass until all is well, and says how long it took.
func (l *longStory) settled(what string) {
	l.t.Helper()
	began, was := l.Now(), l.Traffic()
	ok := l.RunUntil(time.Minute, func() bool { return l.Settled() == nil })
	known := l.Now() - began
	ok = ok && l.RunUntil(time.Minute, func() bool { return l.Well() == nil })
	tr := l.Traffic().Sub(was)
	l.t.Log(l.Line())
	l.t.Logf("%s: known to all after %v, all links as wanted after %v; %d bytes a server, at most %d waited on a connection; took %v so far, %s",
		what, known, l.Now()-began, tr.Bytes/len(l.servers), l.Backlog(), time.Since(l.real).Round(time.Second), memory())
	if !ok {
		l.t.Errorf("%s: not well: %v", what, l.Well())
	}
	blameless(l.t, l.Sim)
}

// suffer goes through a quiet time, a broadcast, a join, deaths, and the loss of
// half of all servers.
func (l *longStory) suffer() {
	hs := l.Servers()
	n := len(hs)
	l.Run(time.Minute) // new links use the stream at first
	got := idle(l.Sim, 30*time.Second)
	l.t.Logf("quiet: each sends %.2f datagrams and %.2f messages, %.1f bytes, a second; %.2f steps, %.2f of them wake-ups",
		got.datagrams, got.messages, got.bytes, got.steps, got.wakes)
	if err := got.tooMuch(); err != nil {
		l.t.Error(err)
	}
	began := l.Now()
	l.Broadcast(hs[n/2], "long story")
	for l.Got("long story") < n-1 && l.Now()-began < time.Second {
		l.Run(100 * time.Microsecond)
	}
	l.t.Logf("broadcast: %d servers got it within %v", l.Got("long story"), l.Now()-began)
	if l.Got("long story") < n-1 {
		l.t.Error("not all others")
	}
	h := l.Add()
	l.Start(h, hs[n/3].Address)
	l.settled("one more joins")
	l.Crash(h)
	l.settled("it is killed")
	l.Vanish(hs[n/4])
	l.settled("a host vanishes")
	if n > 10_000 {
		return // each server makes a directory of its own of what follows
	}
	l.t.Log(Measure(l.Graph(), 1))
	for _, at := range l.rng.Perm(n)[:n/2] {
		l.Crash(hs[at])
	}
	l.settled("half of all are killed at once")
	l.t.Log(Measure(l.Graph(), 1))
	var sides [2][]*Server
	for i, h := range hs {
		sides[i%2] = append(sides[i%2], h)
	}
	l.Partition(sides[:]...)
	l.Run(time.Minute)
	l.t.Log(l.Line())
	l.Heal()
	l.settled("two halves meet again after a minute")
	l.t.Log(Measure(l.Graph(), 1))
}
