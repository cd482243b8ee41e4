package spool

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// model is the plainest thing that does what a spool does: three numbers, for
// what a byte is follows from its offset.
type model struct {
	limit            uint64
	drop             bool
	base, end, acked uint64
	ended            bool
}

// write returns how many of n bytes are taken.
func (m *model) write(n uint64) uint64 {
	if !m.drop {
		free := m.limit - (m.end - m.base)
		n = min(n, free+max(m.acked, m.base)-m.base)
	}
	m.end += n
	if m.end-m.base > m.limit {
		m.base = m.end - m.limit
	}
	return n
}

// reader is a cursor and where the model has it.
type reader struct {
	c         *Cursor
	pos, stop uint64
}

// TestModel runs random steps on a spool, among others that compete for the
// same memory, and on the model.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		b := NewBudget(1<<40, rapid.SampledFrom([]int64{0, 300 << 10, 16 << 20}).Draw(t, "memory"))
		m := model{
			limit: uint64(rapid.SampledFrom([]int{1, 700, 100_000, 700_000, 2_000_000}).Draw(t, "limit")),
			drop:  rapid.Bool().Draw(t, "drop"),
		}
		s := New(Config{Path: filepath.Join(dir, "a"), Limit: int64(m.limit), Drop: m.drop, Budget: b})
		defer s.Close()
		other := New(Config{Path: filepath.Join(dir, "b"), Limit: 1 << 30, Drop: true, Budget: b})
		defer other.Close()
		var readers []*reader
		size := rapid.OneOf(rapid.IntRange(1, 2000), rapid.IntRange(1, 400_000))
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := size.Draw(t, "n")
				got, err := write(s, n)
				if m.ended {
					if got != 0 || !errors.Is(err, ErrClosed) {
						t.Fatalf("a write after the end: %d, %v", got, err)
					}
					return
				}
				want := m.write(uint64(n))
				if uint64(got) != want || (err != nil) != (want < uint64(n)) || err != nil && !errors.Is(err, ErrFull) {
					t.Fatalf("wrote %d of %d, want %d: %v", got, n, want, err)
				}
			},
			"compete": func(t *rapid.T) {
				if _, err := write(other, size.Draw(t, "n")); err != nil {
					t.Fatal(err)
				}
			},
			"open": func(t *rapid.T) {
				r := &reader{pos: rapid.Uint64Range(0, m.end).Draw(t, "from"), stop: m.end}
				follow := rapid.Bool().Draw(t, "follow")
				if follow {
					r.stop = 1 << 62
				}
				r.c = s.Cursor(r.pos, follow)
				readers = append(readers, r)
			},
			"read": func(t *rapid.T) {
				if len(readers) > 0 {
					readStep(t, &m, rapid.SampledFrom(readers).Draw(t, "reader"))
				}
			},
			"ack": func(t *rapid.T) {
				if len(readers) > 0 {
					r := rapid.SampledFrom(readers).Draw(t, "reader")
					at := rapid.Uint64Range(0, m.end+10).Draw(t, "at")
					r.c.Ack(at)
					m.acked = max(m.acked, min(at, r.pos))
				}
			},
			"end": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					s.End()
					m.ended = true
				}
			},
			"": func(t *rapid.T) { compare(t, s, &m, b, other) },
		})
	})
}

// readStep takes one chunk, if there is one.
func readStep(t *rapid.T, m *model, r *reader) {
	at := min(max(r.pos, m.base), max(r.stop, r.pos))
	chunk, more, err := r.c.next()
	switch {
	case more != nil:
		if at < min(m.end, r.stop) || at > r.pos || at >= r.stop || m.ended {
			t.Fatalf("a reader at %d waits; base %d, end %d, ended %v", r.pos, m.base, m.end, m.ended)
		}
	case err == io.EOF:
		if at > r.pos || at < min(m.end, r.stop) || at < r.stop && !m.ended {
			t.Fatalf("a reader at %d is told of the end; base %d, end %d, ended %v", r.pos, m.base, m.end, m.ended)
		}
	case err != nil:
		t.Fatal(err)
	default:
		if chunk.Offset != at || chunk.Lost != at-r.pos || len(chunk.Data) == 0 && chunk.Lost == 0 || at+uint64(len(chunk.Data)) > min(m.end, r.stop) {
			t.Fatalf("a reader at %d got %d bytes at %d, %d lost; base %d, end %d", r.pos, len(chunk.Data), chunk.Offset, chunk.Lost, m.base, m.end)
		}
		checkChunk(t, chunk, r.pos)
		r.pos = at + uint64(len(chunk.Data))
		chunk.Free()
	}
}

// compare checks all that can be seen without reading.
func compare(t *rapid.T, s *Spool, m *model, b *Budget, other *Spool) {
	got := s.Stat()
	if got.Written != m.end || got.Kept != m.end-m.base || got.GivenUp != m.base || got.Ended != m.ended {
		t.Fatalf("state %+v, want end %d, base %d, ended %v", got, m.end, m.base, m.ended)
	}
	if o := other.Stat(); b.Kept() != int64(got.Kept+o.Kept) {
		t.Fatalf("the budget has %d bytes kept, the spools %d and %d", b.Kept(), got.Kept, o.Kept)
	}
	if b.InMemory() != s.memory+other.memory || b.InMemory() > b.memory || s.memory > streamMemory {
		t.Fatalf("the budget has %d bytes in memory of %d, the spools %d and %d", b.InMemory(), b.memory, s.memory, other.memory)
	}
	sum := int64(0)
	at := s.end
	for i := len(s.pieces) - 1; i >= 0; i-- {
		p := s.pieces[i]
		if p.end() != at {
			t.Fatalf("a piece ends at %d, the next begins at %d", p.end(), at)
		}
		at, sum = p.off, sum+int64(len(p.blk.buf))
	}
	if sum != s.memory {
		t.Fatalf("the pieces have %d bytes of memory, the spool counts %d", sum, s.memory)
	}
}
