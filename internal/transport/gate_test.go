package transport

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// fakeConn is a connection from somewhere that can be closed.
type fakeConn struct {
	net.Conn
	from   memoryAddr
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.from }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

func from(host string) *fakeConn { return &fakeConn{from: memoryAddr{host, 1}} }

func TestGateDropsTheOldest(t *testing.T) {
	g := newGate(4, 1)
	conns := make([]*fakeConn, 6)
	for i := range conns {
		conns[i] = from(fmt.Sprint("host", i))
		g.enter(conns[i])
	}
	for i, c := range conns {
		if c.closed != (i < 2) {
			t.Errorf("connection %d: closed is %v", i, c.closed)
		}
	}
}

func TestGateDropsTheMuteFirst(t *testing.T) {
	g := newGate(8, 1)
	honest := from("x")
	g.enter(honest).spoke()
	for range 100 {
		g.enter(from("x"))
	}
	for i := range 100 {
		g.enter(from(fmt.Sprint(i)))
	}
	if honest.closed {
		t.Error("mute connections closed one that had spoken")
	}
	talkers := make([]*fakeConn, 4)
	for i := range talkers {
		talkers[i] = from("x")
		g.enter(talkers[i]).spoke()
	}
	if !honest.closed || talkers[0].closed {
		t.Error("among those who have spoken, the oldest does not go first")
	}
}

func TestGateSparesOtherSources(t *testing.T) {
	g := newGate(8, 1)
	honest := from("honest")
	g.enter(honest)
	var flood []*fakeConn
	for range 100 {
		flood = append(flood, from("attacker"))
		g.enter(flood[len(flood)-1])
	}
	if honest.closed {
		t.Error("one source's flood closed another's connection")
	}
	if open := slices.DeleteFunc(flood, func(c *fakeConn) bool { return c.closed }); len(open) != 4 {
		t.Errorf("the attacker has %d of 8 places", len(open))
	}
}

// TestGateTurns checks the order of turns: round the sources, within a source
// first come first served, but those who had a turn before go first.
func TestGateTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(100, 1)
		again, running := g.enter(from("b")), g.enter(from("a"))
		again.resume()
		again.yield()
		running.resume()
		order := make(chan string, 10)
		for _, name := range []string{"a1", "a2", "a3", "b1", "b again"} {
			x := again
			if name != "b again" {
				x = g.enter(from(name[:1]))
			}
			go func() {
				x.resume()
				order <- name
				x.leave()
			}()
			synctest.Wait()
		}
		running.yield()
		var got []string
		for range 5 {
			got = append(got, <-order)
		}
		if want := []string{"a1", "b again", "a2", "b1", "a3"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestGateWakesTheDropped(t *testing.T) {
	g := newGate(2, 1)
	running := g.enter(from("a"))
	running.resume()
	x := g.enter(from("b"))
	done := make(chan struct{})
	go func() {
		x.resume()
		close(done)
	}()
	g.enter(from("c"))
	g.enter(from("d"))
	<-done
	if x.leave() || running.leave() {
		t.Error("a dropped guest is still welcome")
	}
	if g.turns != 1 {
		t.Errorf("%d turns are left", g.turns)
	}
}

// TestGateModel runs random guests and checks that nothing is ever beyond its
// bound, or left over.
func TestGateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, turns := rapid.IntRange(1, 6).Draw(t, "most"), rapid.IntRange(1, 3).Draw(t, "turns")
		g := newGate(most, turns)
		var inside []*guest
		check := func() {
			held, all := 0, 0
			for _, x := range inside {
				if x.turn {
					held++
				}
				if x.gone && x.turn {
					t.Fatal("a guest that is gone has a turn")
				}
			}
			for name, s := range g.sources {
				if all += s.guests.len(); s.guests.len() == 0 || s.guests.len() > max(1, most/2) && most > 1 {
					t.Fatalf("source %s has %d of %d guests", name, s.guests.len(), most)
				}
			}
			if all != g.guests.len() || all > most || held+g.turns != turns {
				t.Fatalf("%d and %d guests of %d, %d turns held and %d left of %d", all, g.guests.len(), most, held, g.turns, turns)
			}
		}
		pick := func(t *rapid.T) *guest {
			if len(inside) == 0 {
				t.Skip("nobody is inside")
			}
			return rapid.SampledFrom(inside).Draw(t, "guest")
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				inside = append(inside, g.enter(from(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "from"))))
			},
			"leave": func(t *rapid.T) {
				x := pick(t)
				x.leave()
				inside = slices.DeleteFunc(inside, func(y *guest) bool { return x == y })
			},
			"resume": func(t *rapid.T) {
				if g.turns == 0 {
					t.Skip("it would wait")
				}
				pick(t).resume()
			},
			"spoke": func(t *rapid.T) { pick(t).spoke() },
			"yield": func(t *rapid.T) { pick(t).yield() },
			"":      func(t *rapid.T) { check() },
		})
		for _, x := range inside {
			x.leave()
		}
		if g.guests.len() != 0 || len(g.sources) != 0 || g.waiting.Len() != 0 || g.turns != turns {
			t.Fatal("something is left over")
		}
	})
}

func TestSourceOf(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"10.0.0.1:11022", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:11022", "10.0.0.1"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1", "fe80::/64"},
		{"[::1]:1", "::/64"},
	} {
		a, err := net.ResolveTCPAddr("tcp", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := sourceOf(a); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.addr, got, tt.want)
		}
	}
	if got := sourceOf(memoryAddr{"x", 1}); got != "x" {
		t.Errorf("got %s", got)
	}
}
