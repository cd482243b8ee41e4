package overlay

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestGraphIsThatOfTheRings: after any story of joins, departures, crashes and
// restarts, the links are those that the rings say, at both ends.
func TestGraphIsThatOfTheRings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(rt, "seed"))
		w.fail = rt.Fatalf
		w.add()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			w.act(rt)
			w.run(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 10, 100, 1000}).Draw(rt, "ms")) * time.Millisecond)
		}
		for _, n := range w.alive() {
			if !n.member { // who it knows ended before they met
				w.crash(n)
			}
		}
		w.run(time.Minute)
		w.check()
	})
}

// act does one thing to the world.
func (w *world) act(rt *rapid.T) {
	alive := w.alive()
	any := func() *node { return alive[rapid.IntRange(0, len(alive)-1).Draw(rt, "which")] }
	verb := rapid.SampledFrom([]string{"join", "join", "join", "join", "leave", "crash", "vanish", "restart"}).Draw(rt, "verb")
	if len(alive) < 3 && verb != "join" {
		return
	}
	switch n := any(); verb {
	case "join":
		for range rapid.IntRange(1, 5).Draw(rt, "how many") {
			w.add(n.self)
		}
	case "leave":
		w.leave(n)
	case "crash":
		w.crash(n)
	case "vanish":
		w.vanish(n)
	case "restart":
		w.crash(n)
		next := n.self
		next.Instance++
		var remembered []Peer
		for _, o := range w.alive() {
			remembered = append(remembered, o.self)
		}
		w.start(next, nil, remembered...)
	}
}

// TestConnectedThroughout: while servers join, at no moment do links end in such
// a way that the graph falls apart.
func TestConnectedThroughout(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed)
		first := w.add().self
		w.onLink = func() {
			if n := w.islands(); n > 1 {
				t.Fatalf("seed %d: %d islands at %v", seed, n, w.now)
			}
		}
		for range 60 {
			w.add(first)
			w.run(jitter(w.rng, 0, 30*time.Millisecond))
		}
		w.run(5 * time.Second)
		w.check()
	}
}

// TestStorm: hundreds of servers join within a second, all through one. Nobody
// dials more than a few.
func TestStorm(t *testing.T) {
	w := newWorld(t, 5)
	first := w.add().self
	const servers = 400
	for range servers {
		w.add(first)
		w.run(time.Second / servers)
	}
	w.run(3 * time.Second)
	w.check()
	sum, most := 0, 0
	for _, n := range w.nodes {
		sum += n.dialled
		most = max(most, n.dialled)
	}
	t.Logf("%.1f dials a server, %d at most", float64(sum)/servers, most)
	if sum > 20*servers || most > 60 {
		t.Errorf("%.1f dials a server, %d at most", float64(sum)/servers, most)
	}
}

// TestMassFailure: many hosts vanish at once. The rest is one graph again long
// before anybody is declared dead.
func TestMassFailure(t *testing.T) {
	for _, percent := range []int{30, 50, 70, 80, 90} {
		w := newWorld(t, uint64(percent))
		first := w.add().self
		const servers = 128
		for range servers - 1 {
			w.add(first)
		}
		w.run(5 * time.Second)
		w.check()
		w.declare = 0
		for _, i := range w.rng.Perm(servers)[:servers*percent/100] {
			w.vanish(w.nodes[i])
		}
		began, bound := w.now, 5*time.Second
		if percent > 70 {
			bound = 30 * time.Second
		}
		for w.islands() > 1 {
			if w.run(10 * time.Millisecond); w.now.Sub(began) > bound {
				t.Fatalf("%d %% vanished, and the rest is in %d parts after %v", percent, w.islands(), bound)
			}
		}
		t.Logf("%d %%: one graph after %v", percent, w.now.Sub(began))
	}
}
