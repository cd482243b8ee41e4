package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit/internal/graph"
	"github.com/gocircuit/circuit/internal/membership"
)

// TestRefused cuts some of a server's ways by a firewall that refuses connections:
// that is no proof that its process is gone.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{200 * time.Microsecond, 5 * time.Millisecond, 25 * time.Millisecond} {
		for _, n := range []int{2, 4} {
			for seed := range uint64(8) {
				s := circle(t, Config{Seed: seed, Delay: delay, Jitter: delay / 10}, 16)
				h := s.Servers()[3]
				for _, id := range wanted(h.proc.mem.Directory(), h.ID)[:n] {
					s.Reject(h, s.active(id))
					s.Reject(s.active(id), h)
				}
				s.Run(2 * time.Minute)
				blameless(t, s)
				if s.Deaths() > 0 {
					t.Errorf("seed %d, delay %v: %d of 8 neighbours are refused: %d times somebody said that it failed", seed, delay, n, s.Deaths())
				}
			}
		}
	}
}

// TestHidden lets a server join that reaches all others, and advertises an address
// at which nobody reaches it.
func TestHidden(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 8, 16, 64} {
		s := circle(t, Config{Seed: 3, Delay: 5 * time.Millisecond, Jitter: time.Millisecond}, n)
		h := s.Add()
		s.Hide(h)
		s.Start(h, s.Servers()[1].Address)
		s.Run(2 * time.Minute)
		if err := s.Settled(); err != nil || s.Deaths() > 0 {
			t.Errorf("%d servers and one that cannot be dialled: %d deaths, %v", n, s.Deaths(), err)
		}
		blameless(t, s)
	}
}

// TestLeaveTogether lets most servers leave at the same time: all who stay know
// that they left, and did not fail.
func TestLeaveTogether(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]int{{5, 4}, {13, 12}, {16, 12}, {64, 32}, {64, 57}} {
		for seed := range uint64(5) {
			s := circle(t, Config{Seed: seed}, c[0])
			for _, at := range s.rng.Perm(c[0])[:c[1]] {
				s.Leave(s.Servers()[at])
			}
			s.Run(10 * time.Second)
			if err := s.Settled(); err != nil {
				t.Errorf("%d of %d leave: %v", c[1], c[0], err)
			}
			blameless(t, s)
		}
	}
}

// TestRestartedWhileApart restarts all servers, one after the other, while a
// partition keeps their halves apart: they find each other all the same.
func TestRestartedWhileApart(t *testing.T) {
	t.Parallel()
	s := circle(t, Config{Seed: 5}, 6)
	hs := s.Servers()
	s.Partition(hs[:3], hs[3:])
	s.Run(30 * time.Second)
	for range 2 {
		for _, h := range hs {
			s.Crash(h)
			s.Start(h)
			s.Run(2 * time.Second)
		}
	}
	s.Heal()
	within(t, s, time.Minute, "one circuit", s.Settled)
	blameless(t, s)
}

// TestFindsMissedBroadcast keeps what is broadcast from one server.
func TestFindsMissedBroadcast(t *testing.T) {
	s := circle(t, Config{Seed: 2}, 3)
	a, b := s.Servers()[0], s.Servers()[1]
	s.Broadcast(a, "one")
	s.Run(time.Minute)
	if err := s.Missed(time.Second); err != nil {
		t.Fatal(err)
	}
	s.tamper = &tamper{outputs: func(p *process, outs []membership.Output) []membership.Output {
		if p.host == b {
			return nil
		}
		return outs
	}}
	s.Broadcast(a, "two")
	s.Run(time.Minute)
	if err := s.Missed(time.Second); err == nil || !strings.Contains(err.Error(), "s2 did not get") {
		t.Errorf("a broadcast that a server did not get is not missed: %v", err)
	}
}

// TestFindsWrongReason takes those who leave for dead, and the dead for those who
// left.
func TestFindsWrongReason(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		s := circle(t, Config{Seed: 2}, 4)
		s.Run(excuse)
		h := s.Servers()[3]
		s.tamper = &tamper{outputs: func(_ *process, outs []membership.Output) []membership.Output {
			for i, out := range outs {
				if left, ok := out.(membership.Left); ok {
					left.Record.State ^= 3 ^ 4 // from dead to left, and back
					outs[i] = left
				}
			}
			return outs
		}}
		if leaves {
			s.Leave(h)
		} else {
			s.Crash(h)
		}
		s.Run(time.Second)
		wantFailure(t, s, "reason")
	}
}

// TestFindsBacklog lets a server take nothing while another has much to say.
func TestFindsBacklog(t *testing.T) {
	s := circle(t, Config{Seed: 2}, 3)
	if err := s.Bounded(); err != nil {
		t.Fatal(err)
	}
	s.Cut(s.Servers()[0], s.Servers()[1])
	for range maxBacklog/membership.MaxData + 1 {
		s.Broadcast(s.Servers()[0], strings.Repeat("x", membership.MaxData))
	}
	s.Run(time.Second)
	if err := s.Bounded(); err == nil {
		t.Error("too much on a connection is not found")
	}
}

// TestFindsPoorGraph measures servers that each know the next and the one after
// that, and two circuits.
func TestFindsPoorGraph(t *testing.T) {
	const n = 64
	g, apart := graph.New(n), graph.New(n)
	for i := range n {
		g.Link(i, (i+1)%n)
		g.Link(i, (i+2)%n)
		apart.Link(i, i^1)
	}
	for _, g := range []*graph.Graph{g, apart} {
		if m := Measure(g, 1); m.Expands() == nil {
			t.Errorf("taken for as good as random links: %v", m)
		}
	}
}

// TestBroadcastWhileLinksChange broadcasts while a server joins and much is lost,
// so that some learn from a new neighbour what is still under way to them: they
// get it all the same.
func TestBroadcastWhileLinksChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		s := circle(t, Config{Seed: seed, Delay: 2 * time.Millisecond, Jitter: time.Millisecond}, 3+int(seed)%3)
		s.Run(excuse)
		s.cfg.Loss = 0.25
		h := s.Add()
		s.Start(h, s.Servers()[1].Address)
		for i := range 200 {
			s.After(time.Duration(i)*3*time.Millisecond, func() { s.Broadcast(s.Servers()[0], fmt.Sprint("word ", i)) })
		}
		s.Run(2 * time.Minute)
		if err := s.Missed(time.Minute); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
