package sim

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// wantFailure wants a checker to have found what was planted.
func wantFailure(t *testing.T, s *Sim, kind string) {
	t.Helper()
	for _, err := range s.Failures() {
		if strings.Contains(err.Error(), kind) {
			return
		}
	}
	t.Errorf("no %q found; failures: %v", kind, s.Failures())
}

// isEvent reports whether a packet is an event of the membership protocol.
func isEvent(p *packet) bool {
	const event = 9
	return p.what == membershipData && len(p.data) > 0 && p.data[0] == event<<3|2
}

// TestFindsGap swallows an event that all neighbours of a server pass on to it,
// so that it hears of a later one first.
func TestFindsGap(t *testing.T) {
	s := circle(t, Config{Seed: 1}, 4)
	a, b := s.Servers()[0], s.Servers()[1]
	swallow := true
	s.tamper = &tamper{packet: func(e *end, p *packet) bool { return swallow && e.peer().host == b && isEvent(p) }}
	s.Broadcast(a, "one")
	s.Run(100 * time.Millisecond)
	if err := s.Settled(); err == nil || !strings.Contains(err.Error(), "difference") {
		t.Errorf("a server that missed an event is not told from the others: %v", err)
	}
	swallow = false
	s.Broadcast(a, "two")
	s.Run(100 * time.Millisecond)
	wantFailure(t, s, "gap")
	// The server that lacks an event asks, and is as wise as the others.
	s.Run(30 * time.Second)
	if err := s.Settled(); err != nil {
		t.Error(err)
	}
}

// TestFindsDisorder keeps from one server whatever speaks of a newcomer, so that
// it hears of the next departure, whose author knew the newcomer, too early.
func TestFindsDisorder(t *testing.T) {
	s := circle(t, Config{Seed: 2}, 3)
	a, b, c := s.Servers()[0], s.Servers()[1], s.Servers()[2]
	x := s.Add()
	id := binary.LittleEndian.AppendUint64(nil, uint64(x.ID))
	s.tamper = &tamper{packet: func(e *end, p *packet) bool { return e.peer().host == b && bytes.Contains(p.data, id) }}
	s.Start(x, a.Address)
	s.Run(500 * time.Millisecond)
	s.Leave(c)
	s.Run(500 * time.Millisecond)
	wantFailure(t, s, "causality")
}

// TestFindsBroadcastTwice delivers what is broadcast twice, and then out of
// order.
func TestFindsBroadcastTwice(t *testing.T) {
	s := circle(t, Config{Seed: 2}, 3)
	a, b := s.Servers()[0], s.Servers()[1]
	var first membership.Output
	s.tamper = &tamper{outputs: func(p *process, outs []membership.Output) []membership.Output {
		for _, out := range outs {
			if _, ok := out.(membership.Deliver); ok && p.host == b {
				if first == nil {
					first = out
					return outs
				}
				return append(outs, first)
			}
		}
		return outs
	}}
	s.Broadcast(a, "one")
	s.Run(time.Second)
	if len(s.Failures()) > 0 || s.Got("one") != 2 {
		t.Fatalf("%d servers got it: %v", s.Got("one"), s.Failures())
	}
	s.Broadcast(a, "two")
	s.Run(time.Second)
	wantFailure(t, s, "order")
}

// TestFindsRepetition lets a server say everything twice.
func TestFindsRepetition(t *testing.T) {
	s := New(Config{Seed: 3})
	s.tamper = &tamper{outputs: func(_ *process, outs []membership.Output) []membership.Output { return append(outs, outs...) }}
	s.Start(s.Add())
	s.Start(s.Add(), s.Servers()[0].Address)
	s.Run(time.Second)
	wantFailure(t, s, "alternation")
}

// TestFindsSilence lets a server keep a departure to itself: its next Joined is
// one too many.
func TestFindsSilence(t *testing.T) {
	s := circle(t, Config{Seed: 4}, 3)
	a, b := s.Servers()[0], s.Servers()[1]
	s.tamper = &tamper{outputs: func(p *process, outs []membership.Output) []membership.Output {
		if p.host == a {
			return nil
		}
		return outs
	}}
	s.Crash(b)
	s.Run(time.Second)
	s.tamper = nil
	s.Start(b, a.Address)
	s.Run(time.Second)
	wantFailure(t, s, "alternation")
}

// TestFindsFalseDeath makes servers believe that one which runs was replaced.
func TestFindsFalseDeath(t *testing.T) {
	s := circle(t, Config{Seed: 5}, 4)
	victim := s.Servers()[3]
	for _, h := range s.Servers()[:3] {
		h.proc.membership(membership.Replaced{ID: victim.ID, Old: victim.proc.instance})
	}
	wantFailure(t, s, "false death")
	if s.Deaths() != 3 {
		t.Errorf("%d deaths are counted, want 3", s.Deaths())
	}
}

// TestFindsSplit leaves a server on its own.
func TestFindsSplit(t *testing.T) {
	s := circle(t, Config{Seed: 6}, 3)
	d := s.Add()
	s.Start(d) // nobody told it whom to join
	s.Run(30 * time.Second)
	if err := s.Settled(); err == nil || !strings.Contains(err.Error(), "split") {
		t.Errorf("a server on its own is no split: %v", err)
	}
	if err := s.Meshed(); err == nil || !strings.Contains(err.Error(), "split") {
		t.Errorf("a server on its own is of the same graph: %v", err)
	}
}

// TestFindsLinks makes links that are missing, are in use at one end only, lead
// nowhere, or are wanted by nobody.
func TestFindsLinks(t *testing.T) {
	const n = 24
	for what, plant := range map[string]func(s *Sim, h *Server){
		"half a link": func(s *Sim, h *Server) {
			h.proc.ov = overlay.New(h.proc.clock(), overlay.Config{Self: h.proc.peer(), Rand: s.rng})
		},
		"no link":   func(s *Sim, _ *Server) { *s = *New(Config{Seed: 9}); s.Form(n) },
		"dead link": func(s *Sim, h *Server) { s.Vanish(h) },
		"spare links": func(s *Sim, _ *Server) {
			for i := range 3 {
				s.Start(s.Add(), s.Servers()[i].Address)
			}
			s.Run(300 * time.Millisecond)
		},
	} {
		s := circle(t, Config{Seed: 9}, n)
		if err := s.Meshed(); err != nil {
			t.Fatal(err)
		}
		plant(s, s.Servers()[n-1])
		if err := s.Meshed(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not found: %v", what, err)
		}
	}
}

// TestFindsNoise lets servers talk in a circuit that should be silent.
func TestFindsNoise(t *testing.T) {
	s := circle(t, Config{Seed: 9}, 12)
	if err := idle(s, time.Minute).tooMuch(); err != nil {
		t.Errorf("a quiet circuit: %v", err)
	}
	var talk func()
	talk = func() {
		s.Broadcast(s.Servers()[0], "again")
		s.After(10*time.Second, talk)
	}
	talk()
	if err := idle(s, time.Minute).tooMuch(); err == nil {
		t.Error("a circuit that talks all the time is taken for a quiet one")
	}
}

// TestFindsGhost asks right after a crash, before anybody can know.
func TestFindsGhost(t *testing.T) {
	s := circle(t, Config{Seed: 7}, 3)
	s.Crash(s.Servers()[1])
	if err := s.Settled(); err == nil || !strings.Contains(err.Error(), "ghost") {
		t.Errorf("a server that nobody knows to be gone is no ghost: %v", err)
	}
	s.Start(s.Servers()[1])
	if err := s.Settled(); err == nil || !strings.Contains(err.Error(), "earlier life") {
		t.Errorf("an earlier life that nobody knows to be over is no ghost: %v", err)
	}
}

// TestFindsDifference changes one thing in a story: its digest differs.
func TestFindsDifference(t *testing.T) {
	tell := func(cut bool) uint64 {
		s := circle(t, Config{Seed: 8}, 3)
		if cut {
			s.Servers()[0].proc.overlay(overlay.Tick{})
		}
		return s.Hash()
	}
	if again := tell(false); tell(false) != again {
		t.Error("the same story has two digests")
	}
	if tell(false) == tell(true) {
		t.Error("two stories have the same digest")
	}
}
