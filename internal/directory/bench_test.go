package directory_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

func alive(rng *rand.Rand, n int) []*directory.Record {
	list := make([]*directory.Record, n)
	for i := range list {
		list[i] = &directory.Record{ID: circuit.ServerID(rng.Uint64() | 1), Instance: rng.Uint64(), Incarnation: 1, State: directory.Alive}
	}
	return list
}

// heap returns how many bytes of the heap are in use.
func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// The rings take less than 64 bytes a server, whatever the number of servers;
// how full the leaves are depends on it.
func TestMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{4_000, 5_500, 8_000, 11_000, 16_000, 100_000} {
		list := alive(rng, n)
		before := heap()
		d := directory.Of(list)
		each := float64(heap()-before) / float64(n)
		t.Logf("%7d servers: %.1f bytes each for the rings", d.Len(), each)
		if each > 64 {
			t.Errorf("the rings take %.1f bytes a server, want at most 64", each)
		}
		runtime.KeepAlive(list)
	}
}

func BenchmarkDirectory(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		list := alive(rng, n)
		d := directory.Of(list)
		news := make([]*directory.Record, n)
		for i, r := range list {
			c := *r
			c.Events++
			news[i] = &c
		}
		rng.Shuffle(n, func(i, j int) { news[i], news[j] = news[j], news[i] })
		run := func(name string, f func(r *directory.Record)) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					f(news[i%n])
				}
			})
		}
		run("Get", func(r *directory.Record) { d.Get(r.ID) })
		run("With", func(r *directory.Record) { d.With(r) })
		run("WithWithout", func(r *directory.Record) { d.Without(r.ID).With(r) })
		run("After", func(r *directory.Record) {
			for range d.After(2, r.ID) {
				break
			}
		})
		run("Before", func(r *directory.Record) {
			for range d.Before(2, r.ID) {
				break
			}
		})
		run("Digest", func(*directory.Record) { d.Digest() })
		run("Children", func(r *directory.Record) {
			d.Children(directory.Prefix{Bits: directory.Place(0, r.ID), Depth: 2})
		})
	}
	b.Run("All/100000", func(b *testing.B) {
		d := directory.Of(alive(rand.New(rand.NewPCG(2, 2)), 100_000))
		for b.Loop() {
			for range d.All() {
			}
		}
	})
	b.Run("Of/100000", func(b *testing.B) {
		list := alive(rand.New(rand.NewPCG(2, 2)), 100_000)
		for b.Loop() {
			directory.Of(slices.Clone(list))
		}
	})
}
