package directory_test

import (
	"cmp"
	"maps"
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
		sum ^= directory.Directory{}.With(r).Digest()
	}
	return sum
}

func begins(r *directory.Record, p directory.Prefix) bool {
	return directory.Place(0, r.ID)>>(64-4*p.Depth) == p.Bits>>(64-4*p.Depth)
}

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
	inUnder := slices.DeleteFunc(under, func(r *directory.Record) bool { return !r.In() })
	if d.Digest() != digest(in) || d.DigestOf(p) != digest(inUnder) {
		t.Fatalf("the digests are %x and, of %v, %x; want %x and %x", d.Digest(), p, d.DigestOf(p), digest(in), digest(inUnder))
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
		State:       rapid.SampledFrom([]directory.State{directory.Alive, directory.Suspect, directory.Dead, directory.Left}).Draw(t, "state"),
		Events:      rapid.Uint64Range(0, 3).Draw(t, "events"),
	}
}

// Any sequence of changes leaves what a map would hold, and leaves all earlier
// snapshots as they were.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]uint64{3, 40, 400}).Draw(t, "servers")
		anyID := rapid.Custom(func(t *rapid.T) circuit.ServerID {
			return circuit.ServerID(rapid.Uint64Range(1, most).Draw(t, "n"))
		})
		anyPrefix := rapid.Custom(func(t *rapid.T) directory.Prefix {
			return directory.Prefix{
				Bits:  directory.Place(0, anyID.Draw(t, "of")) ^ rapid.Uint64Range(0, 1<<60).Draw(t, "changed"),
				Depth: rapid.Uint8Range(0, 16).Draw(t, "depth"),
			}
		})
		var d directory.Directory
		m := model{}
		type snapshot struct {
			d directory.Directory
			m model
		}
		var snapshots []snapshot
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1:
				id := anyID.Draw(t, "id")
				d = d.Without(id)
				delete(m, id)
			case 2:
				for range most {
					r := drawRecord(t, anyID)
					d, m[r.ID] = d.With(r), r
				}
			case 3:
				id := anyID.Draw(t, "id")
				for i := range most {
					d = d.Without(id + circuit.ServerID(i))
					delete(m, id+circuit.ServerID(i))
				}
			default:
				r := drawRecord(t, anyID)
				d, m[r.ID] = d.With(r), r
			}
			check(t, d, m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
			snapshots = append(snapshots, snapshot{d, maps.Clone(m)})
		}
		for _, s := range snapshots {
			check(t, s.d, s.m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
		}
		again := directory.Of(slices.Collect(maps.Values(m)))
		check(t, again, m, anyID.Draw(t, "at"), anyPrefix.Draw(t, "under"))
	})
}
