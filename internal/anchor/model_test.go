package anchor

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocircuit/circuit"
)

// TestTreeModel compares the tree with the plainest thing that does the same:
// a map from path to generation, whose anchors are all its keys' prefixes.
func TestTreeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, model := New(Config{Self: self}), map[circuit.Path]uint64{}
		path := func() circuit.Path {
			names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a-b", "c"}), 1, 4).Draw(t, "names")
			p, err := self.Path().Join(strings.Join(names, "/"))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		t.Repeat(map[string]func(*rapid.T){
			"make": func(t *rapid.T) {
				p := path()
				_, taken := model[p]
				g, err := tree.Make(t.Context(), p, nil, func(uint64) (Element, error) { return &fake{kind: circuit.Chan}, nil })
				switch {
				case taken && !errors.Is(err, circuit.Exists):
					t.Fatalf("make at a taken anchor: %v", err)
				case !taken && err != nil:
					t.Fatalf("make at a free anchor: %v", err)
				case !taken:
					model[p] = g
				}
			},
			"fail": func(t *rapid.T) {
				_, _ = tree.Make(t.Context(), path(), nil, func(uint64) (Element, error) { return nil, errors.New("no") })
			},
			"scrub": func(t *rapid.T) {
				p := path()
				_, there := model[p]
				if err := tree.Scrub(t.Context(), p, 0, Scrub{}); there != (err == nil) {
					t.Fatalf("scrub of %v, there %v: %v", p, there, err)
				}
				delete(model, p)
			},
			"remove": func(t *rapid.T) {
				p := path()
				g := model[p] + rapid.Uint64Range(0, 1).Draw(t, "off")
				want := g != 0 && model[p] == g
				if got := tree.Remove(p, g); got != want {
					t.Fatalf("remove of %v: %v, want %v", p, got, want)
				}
				if want {
					delete(model, p)
				}
			},
			"": func(t *rapid.T) { compare(t, tree, model) },
		})
	})
}

func compare(t *rapid.T, tree *Tree, model map[circuit.Path]uint64) {
	anchors := map[circuit.Path]uint64{}
	for p, g := range model {
		anchors[p] = g
		for up := p.Parent(); !up.IsServer(); up = up.Parent() {
			if _, ok := anchors[up]; !ok {
				anchors[up] = model[up]
			}
		}
	}
	want := slices.SortedFunc(maps.Keys(anchors), func(a, b circuit.Path) int { return slices.Compare(a.Names(), b.Names()) })
	var got []circuit.Path
	err := tree.List(self.Path(), true, func(e circuit.Entry) bool {
		got = append(got, e.Path)
		if e.Generation != anchors[e.Path] || (e.Kind == circuit.None) != (e.Generation == 0) {
			t.Fatalf("%v is listed as %q, generation %d, want %d", e.Path, e.Kind, e.Generation, anchors[e.Path])
		}
		return true
	})
	if err != nil || !slices.Equal(got, want) || tree.Count() != len(want) {
		t.Fatalf("listed %v (count %d, error %v), want %v", got, tree.Count(), err, want)
	}
}
