package anchor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

const self = circuit.ServerID(0x56e7a2a0d47a7b5d)

// fake is an element that is scrubbed unless it refuses.
type fake struct {
	kind    circuit.Kind
	refuses bool
}

func (f *fake) Kind() circuit.Kind { return f.kind }
func (f *fake) State() string      { return "fake" }
func (f *fake) Scrub(_ context.Context, how Scrub) error {
	if f.refuses && how.Mode == circuitv1.ScrubRequest_REFUSE {
		return circuit.Errorf(circuit.Exists, "it still runs")
	}
	return nil
}

func at(t testing.TB, rel string) circuit.Path {
	p, err := self.Path().Join(rel)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func makeFake(t testing.TB, tree *Tree, rel string, e *fake) uint64 {
	g, err := tree.Make(context.Background(), at(t, rel), nil, func(uint64) (Element, error) { return e, nil })
	if err != nil {
		t.Fatalf("make %s: %v", rel, err)
	}
	return g
}

func TestTakenAnchor(t *testing.T) {
	tree := New(Config{Self: self})
	makeFake(t, tree, "hi/charlie", &fake{kind: circuit.Proc})
	never := func(uint64) (Element, error) { t.Error("start was called"); return nil, nil }
	for rel, kind := range map[string]circuit.ErrorKind{"hi/charlie": circuit.Exists, "": circuit.Exists} {
		if _, err := tree.Make(context.Background(), at(t, rel), nil, never); !errors.Is(err, kind) {
			t.Errorf("make %q: %v, want %v", rel, err, kind)
		}
	}
	other := circuit.ServerID(7).Path()
	if _, err := tree.Make(context.Background(), other, nil, never); !errors.Is(err, circuit.Invalid) {
		t.Errorf("make on another server: %v", err)
	}
	makeFake(t, tree, "hi", &fake{kind: circuit.Chan}) // an inner anchor holds an element, too
}

func TestFailedMakeLeavesNothing(t *testing.T) {
	tree := New(Config{Self: self})
	boom := errors.New("no such program")
	_, err := tree.Make(context.Background(), at(t, "a/b/c"), []byte("n"), func(uint64) (Element, error) { return nil, boom })
	if err != boom || tree.Count() != 0 {
		t.Fatalf("error %v, %d anchors left", err, tree.Count())
	}
	if _, err := tree.Make(context.Background(), at(t, "a/b/c"), []byte("n"), func(uint64) (Element, error) { return &fake{}, nil }); err != nil {
		t.Fatalf("the same nonce after a failure: %v", err)
	}
}

func TestNonceMakesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := New(Config{Self: self})
		started, release := 0, make(chan struct{})
		start := func(uint64) (Element, error) { started++; <-release; return &fake{kind: circuit.Proc}, nil }
		results := make(chan uint64, 2)
		for range 2 {
			go func() {
				g, err := tree.Make(t.Context(), at(t, "p"), []byte("nonce"), start)
				if err != nil {
					t.Error(err)
				}
				results <- g
			}()
		}
		synctest.Wait()
		close(release)
		a, b := <-results, <-results
		if a != b || started != 1 {
			t.Fatalf("generations %d and %d, started %d times", a, b, started)
		}
		tree.Remove(at(t, "p"), a)
		if g, err := tree.Make(t.Context(), at(t, "p"), []byte("nonce"), start); g != a || err != nil || started != 1 {
			t.Errorf("a late retry gave %d, %v, started %d times", g, err, started)
		}
		if g, err := tree.Make(t.Context(), at(t, "p"), []byte("other"), start); g == a || err != nil {
			t.Errorf("another nonce gave generation %d again, %v", g, err)
		}
		time.Sleep(nonceTTL + time.Second)
		makeFake(t, tree, "q", &fake{})
		if _, err := tree.Make(t.Context(), at(t, "x"), []byte("later"), start); err != nil {
			t.Error(err)
		}
		if n := len(tree.nonces.uses); n != 1 {
			t.Errorf("%d nonces are remembered, want only the newest", n)
		}
	})
}

func TestNonceWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree, release := New(Config{Self: self}), make(chan struct{})
		start := func(uint64) (Element, error) { <-release; return &fake{}, nil }
		done := make(chan struct{})
		go func() { defer close(done); tree.Make(t.Context(), at(t, "p"), []byte("n"), start) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tree.Make(ctx, at(t, "p"), []byte("n"), start); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		<-done
	})
}

func TestGenerationsKeepHandlesApart(t *testing.T) {
	tree := New(Config{Self: self})
	old := makeFake(t, tree, "q", &fake{kind: circuit.Chan})
	if err := tree.Scrub(t.Context(), at(t, "q"), old, Scrub{}); err != nil {
		t.Fatal(err)
	}
	makeFake(t, tree, "q", &fake{kind: circuit.Proc})
	if _, _, err := tree.Get(at(t, "q"), old); !errors.Is(err, circuit.NotFound) {
		t.Errorf("get of the old generation: %v", err)
	}
	if err := tree.Scrub(t.Context(), at(t, "q"), old, Scrub{}); !errors.Is(err, circuit.NotFound) {
		t.Errorf("scrub of the old generation: %v", err)
	}
	if tree.Remove(at(t, "q"), old) {
		t.Error("remove of the old generation removed the new element")
	}
	if e, _, err := tree.Get(at(t, "q"), 0); err != nil || e.Kind() != circuit.Proc {
		t.Errorf("get of whatever is there: %v, %v", e, err)
	}
}

func TestRemovedWhileBeingMade(t *testing.T) {
	tree := New(Config{Self: self})
	_, err := tree.Make(t.Context(), at(t, "a/p"), nil, func(g uint64) (Element, error) {
		if !tree.Remove(at(t, "a/p"), g) {
			t.Error("an element being made could not be removed")
		}
		return &fake{}, nil
	})
	if err != nil || tree.Count() != 0 {
		t.Errorf("error %v, %d anchors left", err, tree.Count())
	}
}

func TestScrubRefusedKeepsElement(t *testing.T) {
	tree := New(Config{Self: self})
	makeFake(t, tree, "p", &fake{kind: circuit.Proc, refuses: true})
	if err := tree.Scrub(t.Context(), at(t, "p"), 0, Scrub{}); !errors.Is(err, circuit.Exists) {
		t.Errorf("scrub: %v", err)
	}
	if err := tree.Scrub(t.Context(), at(t, "p"), 0, Scrub{Mode: circuitv1.ScrubRequest_KILL}); err != nil {
		t.Errorf("scrub --kill: %v", err)
	}
	if tree.Count() != 0 {
		t.Errorf("%d anchors left", tree.Count())
	}
	for _, rel := range []string{"p", ""} {
		if err := tree.Scrub(t.Context(), at(t, rel), 0, Scrub{}); err == nil {
			t.Errorf("scrub of %q succeeded", rel)
		}
	}
}

func TestAnchorLimit(t *testing.T) {
	tree := New(Config{Self: self, MaxAnchors: 3})
	makeFake(t, tree, "a/b", &fake{})
	start := func(uint64) (Element, error) { return &fake{}, nil }
	if _, err := tree.Make(t.Context(), at(t, "c/d"), nil, start); !errors.Is(err, circuit.Exhausted) {
		t.Errorf("4 anchors of 3: %v", err)
	}
	if tree.Count() != 2 {
		t.Errorf("%d anchors after a refusal, want 2", tree.Count())
	}
	makeFake(t, tree, "a/c", &fake{})
}

func BenchmarkMakeAndRemove(b *testing.B) {
	tree := New(Config{Self: self})
	start := func(uint64) (Element, error) { return &fake{}, nil }
	b.ReportAllocs()
	for i := range b.N {
		path := at(b, fmt.Sprintf("jobs/%d", i))
		g, err := tree.Make(b.Context(), path, nil, start)
		if err != nil {
			b.Fatal(err)
		}
		tree.Remove(path, g)
	}
}
