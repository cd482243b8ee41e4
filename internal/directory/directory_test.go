package directory_test

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// model is a directory as a plain map.
type model map[circuit.ServerID]*directory.Record

// in returns the servers in the circuit in order of their places on a ring.
func (m model) in(ring int) []*directory.Record {
	return m.where(ring, (*directory.Record).In)
}

func (m model) where(ring int, ok func(*directory.Record) bool) []*directory.Record {
	list := slices.Collect(maps.Values(m))
	list = slices.DeleteFunc(list, func(r *directory.Record) bool { return !ok(r) })
	slices.SortFunc(list, func(a, b *directory.Record) int {
		return cmp.Compare(directory.Place(ring, a.ID), directory.Place(ring, b.ID))
	})
	return list
}

// after returns the others in the circuit in the order in which they follow id.
func (m model) after(ring int, id circuit.ServerID) []*directory.Record {
	list := m.in(ring)
	i, found := slices.BinarySearchFunc(list, directory.Place(ring, id), func(r *directory.Record, at uint64) int {
		return cmp.Compare(directory.Place(ring, r.ID), at)
	})
	rest := list[i:]
	if found {
		rest = rest[1:]
	}
	return append(slices.Clone(rest), list[:i]...)
}

// digest returns what the digest of the records must be: the exclusive or of
// theirs alone.
func digest(list []*directory.Record) directory.Digest {
	var sum directory.Digest
	for _, r := range list {
		sum ^= directory.Directory{}.With(r).DigestOf(directory.Prefix{})
	}
	return sum
}

func begins(r *directory.Record, p directory.Prefix) bool {
	rest := 64 - 4*min(p.Depth, 16)
	return directory.Place(0, r.ID)>>rest == p.Bits>>rest
}

var anyState = rapid.SampledFrom([]directory.State{directory.Alive, directory.Suspect, directory.Dead, directory.Left})

// check compares a directory with its model, at a server and a prefix of choice.
func check(t *rapid.T, d directory.Directory, m model, id circuit.ServerID, p directory.Prefix) {
	in := m.in(0)
	departed := m.where(0, func(r *directory.Record) bool { return !r.In() })
	under := m.where(0, func(r *directory.Record) bool { return begins(r, p) })
	same(t, "All", slices.Collect(d.All()), in)
	same(t, "EachDeparted", slices.Collect(d.EachDeparted()), departed)
	same(t, "Under", slices.Collect(d.Under(p)), under)
	if d.Len() != len(in) || d.Departed() != len(departed) || d.Count(p) != len(under) {
		t.Fatalf("Len %d, Departed %d, Count %d; want %d, %d, %d", d.Len(), d.Departed(), d.Count(p), len(in), len(departed), len(under))
	}
	if d.Digest() != digest(in) || d.DigestOf(p) != digest(under) {
		t.Fatalf("the digests are %x and, of %v, %x; want %x and %x", d.Digest(), p, d.DigestOf(p), digest(in), digest(under))
	}
	for i, got := range d.Children(p) {
		want := d.DigestOf(p.Child(i))
		if p.Depth >= 16 {
			want = 0
		}
		if got != want {
			t.Fatalf("child %d of %v has the digest %x, want %x", i, p, got, want)
		}
	}
	if d.Get(id) != m[id] {
		t.Fatalf("Get(%v) is %v, want %v", id, d.Get(id), m[id])
	}
	for ring := range directory.Rings {
		after := m.after(ring, id)
		same(t, "After", slices.Collect(d.After(ring, id)), after)
		slices.Reverse(after)
		same(t, "Before", slices.Collect(d.Before(ring, id)), after)
	}
}

func same(t *rapid.T, what string, got, want []*directory.Record) {
	if !slices.Equal(got, want) {
		t.Fatalf("%s is %v, want %v", what, ids(got), ids(want))
	}
}

func ids(list []*directory.Record) []circuit.ServerID {
	var ids []circuit.ServerID
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids
}

func drawRecord(t *rapid.T, ids *rapid.Generator[circuit.ServerID]) *directory.Record {
	return &directory.Record{
		ID:          ids.Draw(t, "id"),
		Instance:    rapid.Uint64Range(1, 3).Draw(t, "instance"),
		Incarnation: rapid.Uint64Range(1, 3).Draw(t, "incarnation"),
		State:       anyState.Draw(t, "state"),
		Events:      rapid.Uint64Range(0, 3).Draw(t, "events"),
	}
}

// Any sequence of changes leaves what a map would hold, and leaves all earlier
// snapshots as they were.
func TestAgainstMap(t *testing.T) { rapid.Check(t, againstMap) }

func FuzzAgainstMap(f *testing.F) { f.Fuzz(rapid.MakeFuzz(againstMap)) }

func againstMap(t *rapid.T) {
	most := rapid.SampledFrom([]uint64{3, 40, 400}).Draw(t, "servers")
	anyID := rapid.Custom(func(t *rapid.T) circuit.ServerID {
		return circuit.ServerID(rapid.Uint64Range(1, most).Draw(t, "n"))
	})
	anyPrefix := rapid.Custom(func(t *rapid.T) directory.Prefix {
		return directory.Prefix{
			Bits:  directory.Place(0, anyID.Draw(t, "of")) ^ rapid.Uint64Range(0, 1<<60).Draw(t, "changed"),
			Depth: rapid.Uint8Range(0, 20).Draw(t, "depth"),
		}
	})
	var d directory.Directory
	m := model{}
	with := func(r *directory.Record) { d, m[r.ID] = d.With(r), r }
	without := func(id circuit.ServerID) { d = d.Without(id); delete(m, id) }
	type snapshot struct {
		d directory.Directory
		m model
	}
	var snapshots []snapshot
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0, 1:
			without(anyID.Draw(t, "id"))
		case 2: // many come
			state := anyState.Draw(t, "state")
			for id := range most {
				with(&directory.Record{ID: circuit.ServerID(id + 1), State: state})
			}
		case 3: // many go
			first := anyID.Draw(t, "id")
			for i := range most {
				without(first + circuit.ServerID(i))
			}
		default:
			with(drawRecord(t, anyID))
		}
		check(t, d, m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
		snapshots = append(snapshots, snapshot{d, maps.Clone(m)})
	}
	for _, s := range snapshots {
		check(t, s.d, s.m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
	}
	again := directory.Of(slices.Collect(maps.Values(m)))
	check(t, again, m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
}

// The digest depends on what is in the directory, not on how it came there, and
// on each field that servers must agree on.
func TestDigest(t *testing.T) {
	list := alive(rand.New(rand.NewPCG(5, 5)), 1000)
	forth, back := directory.Directory{}, directory.Directory{}
	for i := range list {
		forth = forth.With(list[i])
		back = back.With(&directory.Record{ID: list[i].ID, State: directory.Left})
	}
	for i := range list {
		back = back.With(list[len(list)-1-i])
	}
	at := directory.Prefix{Bits: directory.Place(0, list[0].ID), Depth: 2}
	if forth.Digest() != back.Digest() || forth.Children(at) != back.Children(at) {
		t.Error("the digest depends on the order in which records came")
	}
	r := *list[0]
	for name, change := range map[string]func(*directory.Record){
		"ID":          func(r *directory.Record) { r.ID++ },
		"Incarnation": func(r *directory.Record) { r.Incarnation++ },
		"Instance":    func(r *directory.Record) { r.Instance++ },
		"State":       func(r *directory.Record) { r.State = directory.Suspect },
		"Events":      func(r *directory.Record) { r.Events++ },
	} {
		c := r
		change(&c)
		if forth.Without(r.ID).With(&c).Digest() == forth.Digest() {
			t.Errorf("the digest does not depend on %s", name)
		}
	}
	gone := r
	gone.State = directory.Dead
	if forth.With(&gone).Digest() != forth.Without(r.ID).Digest() {
		t.Error("the digest of the circuit depends on the departed")
	}
	if with, without := forth.With(&gone), forth.Without(r.ID); with.DigestOf(at) == without.DigestOf(at) {
		t.Error("that of a prefix does not")
	}
}

// Two servers find where they differ by going down from prefix to prefix.
func TestDescent(t *testing.T) {
	list := alive(rand.New(rand.NewPCG(6, 6)), 10_000)
	a := directory.Of(list)
	changed := *list[77]
	changed.Incarnation++
	left := *list[79]
	left.State = directory.Left
	b := a.With(&changed).Without(list[78].ID)
	a, b = a.With(&left), b.Without(left.ID)
	found := map[circuit.ServerID]bool{}
	asked := 0
	var descend func(p directory.Prefix)
	descend = func(p directory.Prefix) {
		asked++
		if a.Count(p) <= 64 {
			for r := range a.Under(p) {
				if b.Get(r.ID) != r {
					found[r.ID] = true
				}
			}
			return
		}
		ours, theirs := a.Children(p), b.Children(p)
		for i := range ours {
			if ours[i] != theirs[i] {
				descend(p.Child(i))
			}
		}
	}
	descend(directory.Prefix{})
	if len(found) != 3 || !found[list[77].ID] || !found[list[78].ID] || !found[left.ID] || asked > 7 {
		t.Errorf("found %v after asking %d times", found, asked)
	}
}

// Places are the same in all versions: servers of different ones must agree on
// the graph.
func TestPlace(t *testing.T) {
	want := [directory.Rings]uint64{0x2f42a873cb24e8aa, 0x583249df0bf05d6d, 0x55657359ed4862ff, 0xdb1c76235e095e36}
	for ring, want := range want {
		if got := directory.Place(ring, 0x56e7a2a0d47a7b5d); got != want {
			t.Errorf("on ring %d the place is %#x, want %#x", ring, got, want)
		}
	}
}
