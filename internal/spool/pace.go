package spool

import "time"

const (
	// paceWait is how long a writer waits at most for the furthest reader to
	// get paceStep further. A slower reader is not worth waiting for.
	paceWait = 4 * time.Millisecond
	paceStep = spillMost * blockSize
	// After a wait in vain the writer moves this many blocks to the file before
	// it waits again, and twice as many each time.
	paceSkip    = 64
	paceSkipMax = 1 << 14
)

// pace keeps a writer that is faster than its reader from running away. Bytes
// that a reader takes while they are in memory cost half of what those cost
// that go by way of the file. So a writer that is about to move bytes there
// which a reader is coming for waits a moment, as it would with a pipe, until
// it can move several blocks that were read at once; and as it moves one block
// where a reader who came late reads several, that one catches up.
// It is a matter of speed alone: the writer never waits for long.
type pace struct {
	given uint64 // where the furthest reader is
	until uint64 // where it is to be before the next block is moved; 0 where the writer does not wait
	wake  uint64 // from where on that may be, or be needless
	skip  int    // blocks to move before the next wait
	next  int    // what skip will be after the next wait in vain
}

// waits reports whether the writer should wait before it moves the oldest
// pieces in memory, up to this one, to the file.
func (p *pace) waits(last piece) bool {
	switch {
	case p.given == 0 || p.given >= last.end():
		p.until = 0
		return false // nobody reads, or all have read it
	case p.skip > 0:
		p.skip--
		return false
	case p.until != 0 && p.given >= p.until:
		p.until = p.given + paceStep
		return false
	case p.until == 0:
		p.until = p.given + paceStep
	}
	p.wake = min(p.until, last.end())
	return true
}

// waited notes that the writer has waited, and whether in vain.
func (p *pace) waited(late bool) {
	if !late {
		p.next = 0
		return
	}
	p.next = min(max(2*p.next, paceSkip), paceSkipMax)
	p.skip, p.until = p.next, 0
}

// read notes that a reader has got to offset, and reports whether a writer may
// be waiting for that.
func (p *pace) read(offset uint64) bool {
	before := p.given
	p.given = max(before, offset)
	return p.until != 0 && before < p.wake && p.given >= p.wake
}
