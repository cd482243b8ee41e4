package channel

import (
	"sync"
	"sync/atomic"
)

// DefaultBytes is how much all channels of a server hold together, unless it
// is told otherwise.
const DefaultBytes = 1 << 30

// Budget is the memory that the channels of one server share. It does not
// refuse bytes that are there already; it says when no more should be taken in,
// and tells those that wait for it, in order, when there is room again. It may
// be used concurrently.
type Budget struct {
	limit int64
	used  atomic.Int64

	waiting atomic.Int64 // length of line, to be read without the lock
	mu      sync.Mutex
	line    list[sender]
}

// NewBudget returns a budget of limit bytes; 0 means DefaultBytes.
func NewBudget(limit int64) *Budget {
	if limit == 0 {
		limit = DefaultBytes
	}
	return &Budget{limit: limit}
}

// Used returns how many bytes are held now.
func (b *Budget) Used() int64 { return b.used.Load() }

// full reports whether nothing more should be taken in.
func (b *Budget) full() bool { return b.used.Load() > b.limit }

// add counts n more bytes, or fewer, and wakes those that wait once a
// sixteenth of the limit is free, so that each time it is worth while.
func (b *Budget) add(n int64) {
	if used := b.used.Add(n); n >= 0 || b.waiting.Load() == 0 || used > b.limit-b.limit/16 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := b.line.head(); s != nil; s = b.line.head() {
		s.inBudget.remove()
		s.wake()
	}
	b.waiting.Store(0)
}

// room reports whether more can be taken in for s, which is woken later if not.
func (b *Budget) room(s *sender) bool {
	if !b.full() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.inBudget.in == nil {
		b.line.push(&s.inBudget)
		b.waiting.Store(int64(b.line.n))
	}
	return !b.full() // what was freed meanwhile may have woken nobody
}

// forget lets s wait no more.
func (b *Budget) forget(s *sender) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.inBudget.remove()
	b.waiting.Store(int64(b.line.n))
}
