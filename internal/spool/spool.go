package spool

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"github.com/gocircuit/circuit"
)

// Errors.
var (
	// ErrClosed says that the spool was closed, or, to its writer, that the
	// stream was ended.
	ErrClosed = errors.New("the spool is closed")
	// ErrFull says that nothing can be taken now; Wait waits until it can.
	ErrFull = errors.New("the spool is full")
)

// Why a writer waits, as circuit.OutputStat.Blocked says it.
const (
	fullSpool  = "spool full"
	fullServer = "server spool limit"
	fullDisk   = "disk full"
)

// diskRetry is how often a writer that waits for the disk tries again: nobody
// says when a disk has room.
const diskRetry = time.Second

// Config configures a Spool.
type Config struct {
	// Path is where the file is made once it is needed. Nothing may be there.
	Path string
	// Limit is the most bytes kept; it must be positive.
	Limit int64
	// Drop gives up the oldest bytes where the spool is full. Otherwise its
	// writer waits for acknowledgements.
	Drop bool
	// Budget is shared with other spools.
	Budget *Budget
}

// Spool is one stream. See the package's comment on who may call what.
type Spool struct {
	cfg  Config
	file file

	data bell // rings when there are new bytes, and at the end
	room bell // rings when the writer may have room

	// writing is held by whoever moves bytes: the writer while it fills, others
	// while they evict or reclaim. It is taken before mu.
	writing sync.Mutex

	mu     sync.Mutex
	base   uint64  // the oldest byte kept
	end    uint64  // after the newest byte
	acked  uint64  // bytes before it were used by the furthest reader
	pieces []piece // in memory, in order, up to end
	memory int64   // bytes of memory of pieces
	bytes  int64   // taken from the budget
	slots  slots   // where in the file the bytes before pieces are
	ended  bool
	closed bool
	full   <-chan struct{} // set where Fill found no room; closed once there may be some
	why    string          // why there was none; empty if it is for the sake of a reader
	pace   pace

	// Guarded by the budget's lock.
	memoryList  *list.List
	memoryPlace *list.Element
	ackedPlace  *list.Element
}

// New returns an empty spool.
func New(cfg Config) *Spool {
	return &Spool{cfg: cfg, file: file{path: cfg.Path}}
}

// Stat returns the state of the stream.
func (s *Spool) Stat() circuit.OutputStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return circuit.OutputStat{
		Written: s.end, Kept: s.end - s.base, GivenUp: s.base,
		Ended: s.ended, Blocked: s.why,
	}
}

// End ends the stream: nothing will be added to it, and a writer that waits
// fails with ErrClosed.
func (s *Spool) End() {
	s.writing.Lock() // a Fill that is under way finishes first
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.why = true, ""
	s.trim()
	s.data.ring()
	s.room.ring()
}

// trim moves the newest piece to a block of its own size if it fills less than
// half of the one it has.
func (s *Spool) trim() {
	if s.closed || len(s.pieces) == 0 {
		return
	}
	p := &s.pieces[len(s.pieces)-1]
	if p.blk.isSmall() || p.n > blockSize/2 {
		return
	}
	small := smallBlock(p.n)
	copy(small.buf, p.data())
	saved := int64(len(p.blk.buf) - len(small.buf))
	p.blk.unref()
	p.blk = small
	s.memory -= saved
	s.cfg.Budget.giveBack(0, saved)
	s.cfg.Budget.touch(s, s.memory)
}

// Close gives everything up, removes the file, and wakes all who wait: they
// fail with ErrClosed. What readers were given already stays theirs. Closing
// again does nothing.
func (s *Spool) Close() { s.close(true) }

// Leave is Close, but leaves the file for Recover, with all that Save put
// there.
func (s *Spool) Leave() { s.close(false) }

func (s *Spool) close(remove bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed, s.why = true, ""
	bytes, memory := s.bytes, s.memory
	for _, p := range s.pieces {
		p.blk.unref()
	}
	s.base, s.pieces, s.memory, s.bytes = s.end, nil, 0, 0
	s.data.ring()
	s.room.ring()
	s.mu.Unlock()
	s.cfg.Budget.giveBack(bytes, memory)
	s.cfg.Budget.forget(s)

	s.writing.Lock() // whoever is moving bytes to the file finishes first
	defer s.writing.Unlock()
	if remove {
		s.file.remove()
	}
}

// Save moves all that is in memory to the file, where it survives this program.
// Readers go on. The error is that of the file; what it did not take stays in
// memory. A closed spool has nothing to save.
func (s *Spool) Save() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.spillAll()
	return err
}

// ack notes that bytes before offset were used by a reader.
func (s *Spool) ack(offset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset <= s.acked || s.closed {
		return
	}
	s.acked = offset
	s.cfg.Budget.noteAcked(s, s.acked > s.base)
	s.room.ring()
}

// usable returns how many bytes may be given up to make room for others.
func (s *Spool) usable() int64 {
	if s.cfg.Drop {
		return int64(s.end - s.base)
	}
	if s.acked <= s.base {
		return 0
	}
	return int64(s.acked - s.base)
}

// giveUp forgets the n oldest bytes, which must be there.
func (s *Spool) giveUp(n int64) {
	s.base += uint64(n)
	memory := int64(0)
	for len(s.pieces) > 0 && s.pieces[0].end() <= s.base {
		memory += s.dropPiece()
	}
	s.slots.giveUp(s.base)
	kept := int64(s.end - s.base)
	bytes := s.bytes - kept
	s.bytes = kept
	s.cfg.Budget.giveBack(bytes, memory)
	s.cfg.Budget.noteAcked(s, s.acked > s.base)
}

// dropPiece takes the oldest piece out of memory and returns its size there.
func (s *Spool) dropPiece() int64 {
	blk := s.pieces[0].blk
	size := int64(len(blk.buf))
	s.pieces[0] = piece{}
	if s.pieces = s.pieces[1:]; len(s.pieces) == 0 {
		s.pieces = nil
	}
	s.memory -= size
	blk.unref()
	return size
}

// giveUpAcked gives up at most want acknowledged bytes for the sake of another
// spool. The caller holds writing.
func (s *Spool) giveUpAcked(want int64) {
	s.mu.Lock()
	if !s.closed && s.acked > s.base {
		s.giveUp(min(int64(s.acked-s.base), want))
		s.cfg.Budget.touch(s, s.memory)
	}
	unused := !s.closed && s.slots.unused()
	if unused {
		s.slots = slots{}
	}
	s.mu.Unlock()
	if unused {
		s.file.remove()
	}
}
