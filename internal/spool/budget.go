package spool

import (
	"container/list"
	"slices"
	"sync"
)

// Budget is what the spools of a server share: how many bytes they may keep
// together, and how many of those in memory. It may be used from any number of
// goroutines.
type Budget struct {
	pool sync.Pool // of full blocks

	mu       sync.Mutex
	total    int64 // most bytes kept
	kept     int64
	memory   int64 // most bytes of memory
	inMemory int64
	// Spools with memory, those least recently written to first: with at least
	// a full block of it, and with less.
	large, small list.List
	// Spools with bytes that were acknowledged and not yet given up, the one
	// for which that has been so for longest first.
	acked list.List
	// Spools whose writers wait, the first first: for bytes, and for memory.
	wantBytes, wantMemory []*Spool
}

// Limits of memory.
const (
	streamMemory = 1 << 20   // of one spool
	minMemory    = blockSize // of all spools
	minStream    = 16 << 10  // that every spool may keep, whatever the others do
)

// NewBudget returns a budget of total bytes kept, of which at most memory in
// memory. Less memory than one block means one block.
func NewBudget(total, memory int64) *Budget {
	return &Budget{total: total, memory: max(memory, minMemory)}
}

// Kept returns how many bytes all spools keep.
func (b *Budget) Kept() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept
}

// InMemory returns how many bytes of memory all spools have.
func (b *Budget) InMemory() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inMemory
}

// takeBytes allows s, which is locked, to keep up to n more bytes, and returns
// how many. Where it is none and enlist is set, s is among those who are told
// of free bytes. A spool that keeps next to nothing is always allowed a little,
// so that a stream that is read goes on however much others keep that nobody
// reads.
func (b *Budget) takeBytes(s *Spool, n int64, enlist bool) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = max(min(n, max(b.total-b.kept, minStream-s.bytes)), 0)
	b.kept += n
	if n == 0 && enlist {
		b.wantBytes = enqueue(b.wantBytes, s)
	}
	return n
}

// takeMemory allows s to use n more bytes of memory, all or none.
func (b *Budget) takeMemory(s *Spool, n int64, enlist bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inMemory+n > b.memory {
		if enlist {
			b.wantMemory = enqueue(b.wantMemory, s)
			if b.kept < b.total {
				b.wantBytes = ringFirst(b.wantBytes) // s cannot use them now
			}
		}
		return false
	}
	b.inMemory += n
	return true
}

// giveBack returns bytes and memory, and wakes whom that helps.
func (b *Budget) giveBack(bytes, memory int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept -= bytes
	b.inMemory -= memory
	b.wake()
}

// wake wakes the first of those who wait for what there is now. Each wakes the
// next once it has taken its part.
func (b *Budget) wake() {
	if b.kept < b.total || b.acked.Len() > 0 {
		b.wantBytes = ringFirst(b.wantBytes)
	}
	if b.inMemory+blockSize <= b.memory {
		b.wantMemory = ringFirst(b.wantMemory)
	}
}

func enqueue(queue []*Spool, s *Spool) []*Spool {
	if slices.Contains(queue, s) {
		return queue
	}
	return append(queue, s)
}

func ringFirst(queue []*Spool) []*Spool {
	if len(queue) == 0 {
		return nil
	}
	queue[0].room.ring()
	return slices.Delete(queue, 0, 1)
}

func dequeue(queue []*Spool, s *Spool) []*Spool {
	return slices.DeleteFunc(queue, func(q *Spool) bool { return q == s })
}

// touch notes that s was written to and has this much memory.
func (b *Budget) touch(s *Spool, memory int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	want := &b.small
	switch {
	case memory == 0:
		want = nil
	case memory >= blockSize:
		want = &b.large
	}
	if s.memoryList != nil && s.memoryList != want {
		s.memoryList.Remove(s.memoryPlace)
		s.memoryList, s.memoryPlace = nil, nil
	}
	switch {
	case want == nil:
	case s.memoryList == nil:
		s.memoryList, s.memoryPlace = want, want.PushBack(s)
	default:
		want.MoveToBack(s.memoryPlace)
	}
}

// noteAcked notes whether s has bytes that were acknowledged and not given up.
func (b *Budget) noteAcked(s *Spool, any bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case any && s.ackedPlace == nil:
		s.ackedPlace = b.acked.PushBack(s)
		b.wake()
	case !any && s.ackedPlace != nil:
		b.acked.Remove(s.ackedPlace)
		s.ackedPlace = nil
	}
}

// leave takes s, which no longer waits, off the queues.
func (b *Budget) leave(s *Spool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wantBytes = dequeue(b.wantBytes, s)
	b.wantMemory = dequeue(b.wantMemory, s)
}

// forget takes s off all lists.
func (b *Budget) forget(s *Spool) {
	b.touch(s, 0)
	b.noteAcked(s, false)
	b.leave(s)
	b.giveBack(0, 0) // s may have been woken, and will not take its part
}

// evict moves what another spool than s has in memory to its file, and reports
// whether there was one. It prefers spools with much memory, then those that
// were not written to for longest. An error is that of the file.
func (b *Budget) evict(s *Spool) (bool, error) {
	victim := b.lockFirst(s, &b.large)
	if victim == nil {
		victim = b.lockFirst(s, &b.small)
	}
	if victim == nil {
		return false, nil
	}
	defer victim.writing.Unlock()
	return victim.spillAll()
}

// reclaim gives up at most want acknowledged bytes of another spool than s,
// and reports whether there was one.
func (b *Budget) reclaim(s *Spool, want int64) bool {
	victim := b.lockFirst(s, &b.acked)
	if victim == nil {
		return false
	}
	defer victim.writing.Unlock()
	victim.giveUpAcked(want)
	return true
}

// lockFirst returns the first spool in a list, other than s, whose writer is
// not at work, with its writing locked.
func (b *Budget) lockFirst(s *Spool, l *list.List) *Spool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := l.Front(); e != nil; e = e.Next() {
		if v := e.Value.(*Spool); v != s && v.writing.TryLock() {
			return v
		}
	}
	return nil
}
