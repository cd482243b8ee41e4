package spool

import (
	"errors"
	"math"
	"slices"
	"time"
)

// spillMost is how many pieces are moved to the file at once at most.
const spillMost = 4

// grant is what a Fill may use.
type grant struct {
	buf   []byte // to read into
	fresh *block // what buf is in, unless it is in the newest piece
	tail  *block // the newest piece's, held while it is read into
	have  int    // bytes at the beginning of fresh that are left for the newest piece
	bytes int64  // taken from the budget for new bytes
	spare int64  // new bytes that nothing needs to be given up for
	lose  bool   // there is no memory to keep anything: all that is read is given up
}

// Fill calls read once, with memory for at least one byte, and appends what it
// reads. It returns what read returns. read must not block; it may be tried
// with nothing to read. Errors of its own are ErrFull and ErrClosed, and then
// read was not called.
func (s *Spool) Fill(read func(p []byte) (int, error)) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	g, _, ok := s.grant(false)
	if !ok {
		// Listen first and look again, so that no ring is missed.
		full, why := s.room.next(), ""
		if g, why, ok = s.grant(true); !ok {
			s.mu.Lock()
			s.full, s.why = full, why
			s.mu.Unlock()
			return 0, ErrFull
		}
	}
	if len(g.buf) == 0 {
		return 0, ErrClosed
	}
	s.mu.Lock()
	s.full, s.why = nil, ""
	s.mu.Unlock()
	n, err := read(g.buf)
	s.commit(g, n)
	return n, err
}

// Wait waits until a Fill that failed with ErrFull may succeed. The error is
// ErrClosed.
func (s *Spool) Wait() error {
	s.mu.Lock()
	full, why, over := s.full, s.why, s.closed || s.ended
	s.mu.Unlock()
	if over {
		return ErrClosed
	}
	if full == nil {
		return nil
	}
	var retry <-chan time.Time
	switch why {
	case fullDisk:
		retry = time.After(diskRetry)
	case "":
		retry = time.After(paceWait)
	}
	late := false
	select {
	case <-full:
	case <-retry:
		late = true
	}
	s.cfg.Budget.leave(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = nil // why stays, until there turns out to be room
	if why == "" {
		s.pace.waited(late)
	}
	if s.closed || s.ended {
		return ErrClosed
	}
	return nil
}

// grant takes memory and room for new bytes; ok is false where there is none,
// and why says why, unless it is only for the sake of a reader. Where the
// stream is over it grants nothing.
func (s *Spool) grant(enlist bool) (g grant, why string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ended {
		return grant{}, "", true
	}
	if p := s.newest(); p == nil || p.room() == 0 || p.blk.isSmall() {
		if s.memory+blockSize > streamMemory && !s.cfg.Drop && s.pace.waits(s.pieces[min(spillMost, len(s.pieces))-1]) {
			return grant{}, "", false
		}
		taken, why := s.takeBlock(enlist)
		switch {
		case s.closed && taken:
			s.cfg.Budget.giveBack(0, blockSize)
			return grant{}, "", true
		case s.closed:
			return grant{}, "", true
		case !taken && !s.cfg.Drop:
			return grant{}, why, false
		}
		g.fresh, g.lose = newBlock(&s.cfg.Budget.pool), !taken
		if g.lose {
			g.buf = g.fresh.buf
			return g, "", true
		}
	}
	p := s.newest() // taking a block may have changed it
	switch {
	case g.fresh == nil:
		g.tail = p.blk.ref()
		g.buf = p.blk.buf[p.n : p.n+p.room()]
	case p != nil && p.room() > 0 && p.blk.isSmall():
		g.have = p.n
		g.buf = g.fresh.buf[p.n : p.n+p.room()]
	default:
		g.buf = g.fresh.buf[:blockSize-int(s.end%blockSize)]
	}
	if why = s.takeRoom(&g, enlist); len(g.buf) == 0 || s.closed {
		s.release(g)
		return grant{}, why, s.closed
	}
	return g, "", true
}

func (s *Spool) newest() *piece {
	if len(s.pieces) == 0 {
		return nil
	}
	return &s.pieces[len(s.pieces)-1]
}

// takeRoom limits g to the bytes that may be kept, and takes them from the
// budget. Where there are none it says why.
func (s *Spool) takeRoom(g *grant, enlist bool) (why string) {
	want := int64(len(g.buf))
	free := s.cfg.Limit - int64(s.end-s.base)
	why = fullSpool
	if free < want {
		want = max(free, 0)
	}
	if want > 0 {
		b := s.cfg.Budget
		if g.bytes = b.takeBytes(s, want, false); g.bytes == 0 {
			s.mu.Unlock()
			b.reclaim(s, streamMemory)
			s.mu.Lock()
			g.bytes = b.takeBytes(s, want, enlist && s.usable() == 0)
		}
		why = fullServer
	}
	g.spare = g.bytes
	if most := g.spare + s.usable(); most < int64(len(g.buf)) && !s.cfg.Drop {
		g.buf = g.buf[:most]
	}
	if s.closed {
		return ""
	}
	return why
}

// release returns what g holds and no piece took over.
func (s *Spool) release(g grant) {
	memory := int64(0)
	if g.fresh != nil && !g.lose {
		memory = int64(len(g.fresh.buf))
	}
	if g.fresh != nil {
		g.fresh.unref()
	}
	if g.tail != nil {
		g.tail.unref()
	}
	s.cfg.Budget.giveBack(g.bytes, memory)
}

// commit appends the first n bytes of g.buf.
func (s *Spool) commit(g grant, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= 0 || s.closed {
		s.release(g)
		return
	}
	if g.lose {
		s.loseAll(n)
		s.release(g)
		return
	}
	s.append(&g, n)
	s.end += uint64(n)
	s.bytes += g.bytes
	g.bytes = 0
	excess := max(int64(n)-g.spare, 0)
	s.giveUp(excess) // and returns to the budget what is not used
	s.release(g)
	s.cfg.Budget.touch(s, s.memory)
	s.data.ring()
}

// append makes the first n bytes of g.buf part of the newest piece, or a piece
// of their own, in the smallest block that will do.
func (s *Spool) append(g *grant, n int) {
	p := s.newest()
	if g.fresh == nil {
		p.n += n
		return
	}
	if p == nil || p.room() == 0 {
		s.pieces = append(s.pieces, piece{off: s.end})
		p = s.newest()
	}
	switch total := p.n + n; {
	case total > smallMost:
		if p.blk != nil {
			copy(g.fresh.buf, p.data())
		}
		s.replace(p, g.fresh)
		// Its memory was taken already.
		s.memory += int64(len(g.fresh.buf))
		g.fresh = nil
	case p.blk == nil || total > len(p.blk.buf):
		small := smallBlock(total)
		if p.blk != nil {
			copy(small.buf, p.data())
		}
		copy(small.buf[p.n:], g.buf[:n])
		s.replace(p, small)
		s.memory += int64(len(small.buf))
		s.cfg.Budget.giveBack(0, -int64(len(small.buf)))
	default:
		copy(p.blk.buf[p.n:], g.buf[:n])
	}
	p.n += n
}

// replace gives p another block.
func (s *Spool) replace(p *piece, blk *block) {
	if old := p.blk; old != nil {
		s.memory -= int64(len(old.buf))
		s.cfg.Budget.giveBack(0, int64(len(old.buf)))
		old.unref()
	}
	p.blk = blk
}

// loseAll notes n bytes that were read and can only be given up, and with them
// all that is older.
func (s *Spool) loseAll(n int) {
	s.end += uint64(n)
	s.giveUp(int64(s.end - s.base))
	s.cfg.Budget.touch(s, s.memory)
	s.data.ring()
}

// takeBlock takes memory for a full block, moving older bytes to files or, if
// those fail, giving them up. Where it cannot it says why, unless the spool was
// closed.
func (s *Spool) takeBlock(enlist bool) (taken bool, why string) {
	b := s.cfg.Budget
	for !s.closed {
		var err error
		switch {
		case s.memory+blockSize > streamMemory:
			err = s.spill(s.together())
		case b.takeMemory(s, blockSize, false):
			return true, ""
		default:
			var found bool
			s.mu.Unlock()
			found, err = b.evict(s)
			s.mu.Lock()
			if err == nil && !found && len(s.pieces) > 0 {
				err = s.spill(s.together())
			} else if err == nil && !found {
				// Others are at work with all of it.
				return b.takeMemory(s, blockSize, enlist), fullServer
			}
		}
		if err != nil && !s.closed && !s.doWithout() {
			return false, fullDisk
		}
	}
	return false, ""
}

// doWithout gives bytes up where the disk does not take any, and reports
// whether that may have made room in memory or in a file.
func (s *Spool) doWithout() bool {
	s.mu.Unlock()
	found := s.cfg.Budget.reclaim(s, math.MaxInt64)
	s.mu.Lock()
	if found {
		return true
	}
	// Up to the end of the oldest block, for less would not help.
	rest := blockSize - int64(s.base%blockSize)
	if n := min(rest, int64(s.end-s.base)); n > 0 && n <= s.usable() {
		s.giveUp(n)
		return true
	}
	return false
}

// spill moves the n oldest pieces in memory to the file. The caller holds
// writing and mu; mu is released meanwhile.
func (s *Spool) spill(n int) error {
	pieces := slices.Clone(s.pieces[:n])
	to := s.slots.place(pieces)
	for _, p := range pieces {
		p.blk.ref()
	}
	s.mu.Unlock()
	err := s.file.put(to, pieces)
	for _, p := range pieces {
		p.blk.unref()
	}
	s.mu.Lock()
	if s.closed {
		return ErrClosed
	}
	if err != nil {
		s.slots.failed(to)
		return err
	}
	s.slots.placed(to, pieces)
	memory := int64(0)
	for range pieces {
		memory += s.dropPiece()
	}
	s.cfg.Budget.giveBack(0, memory)
	s.cfg.Budget.touch(s, s.memory)
	return nil
}

// together returns how many pieces to move to the file at once, where one must
// be: a few, for that costs less, but none that a reader is coming for.
func (s *Spool) together() int {
	n := 1
	for n < min(spillMost, len(s.pieces)) && (s.pace.given == 0 || s.pieces[n].end() <= s.pace.given) {
		n++
	}
	return n
}

// spillAll moves all pieces to the file, and reports whether there were any. The caller holds writing.
func (s *Spool) spillAll() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := len(s.pieces) > 0
	for len(s.pieces) > 0 {
		if err := s.spill(min(spillMost, len(s.pieces))); errors.Is(err, ErrClosed) {
			break
		} else if err != nil {
			return true, err
		}
	}
	return some, nil
}
