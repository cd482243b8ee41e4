package spool

import (
	"sync"
	"sync/atomic"
)

// blockSize is the size of a full block of memory, of a slot in a file, and of
// the ranges of offsets that a stream is divided into.
const blockSize = 128 << 10

// smallest and largest sizes of blocks for streams that say little.
const (
	smallLeast = 512
	smallMost  = 16 << 10
)

// block is memory shared by a spool and its readers. The one who drops the
// last reference gives it back to its pool.
type block struct {
	buf  []byte
	refs atomic.Int32
	pool *sync.Pool // nil: left to the garbage collector
}

// newBlock returns a full block with one reference.
func newBlock(pool *sync.Pool) *block {
	b, ok := pool.Get().(*block)
	if !ok {
		b = &block{buf: make([]byte, blockSize), pool: pool}
	}
	b.refs.Store(1)
	return b
}

// smallBlock returns a block with one reference and room for n bytes and some
// more.
func smallBlock(n int) *block {
	size := smallLeast
	for size < n {
		size *= 2
	}
	b := &block{buf: make([]byte, size)}
	b.refs.Store(1)
	return b
}

func (b *block) ref() *block {
	b.refs.Add(1)
	return b
}

func (b *block) unref() {
	if b.refs.Add(-1) == 0 && b.pool != nil {
		b.pool.Put(b)
	}
}

// isSmall reports whether b cannot hold a whole block of the stream.
func (b *block) isSmall() bool { return len(b.buf) < blockSize }

// piece is a run of the stream that is in memory: n bytes from offset off on,
// at the beginning of blk. It never goes past the end of its block of the
// stream.
type piece struct {
	off uint64
	n   int
	blk *block
}

// room returns how many bytes can be added to p's block of the stream.
func (p piece) room() int { return blockSize - int(p.off%blockSize) - p.n }

func (p piece) end() uint64  { return p.off + uint64(p.n) }
func (p piece) data() []byte { return p.blk.buf[:p.n:p.n] }

// bell wakes all who wait for it to ring. The zero bell is ready for use.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that the next ring closes.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
