package spool

import (
	"context"
	"io"
	"math"
)

// Cursor is one reader's place in a spool.
type Cursor struct {
	s    *Spool
	pos  uint64 // the next byte; guarded by s.mu
	stop uint64 // where the reader ends, whether the stream does or not
}

// Chunk is what a reader gets: bytes of the stream, and how many are missing
// before them.
type Chunk struct {
	Offset uint64 // where Data begins in the stream
	Lost   uint64 // how many bytes just before Offset are gone
	Data   []byte // not to be written to; empty only if Lost is not 0
	blk    *block
}

// Free ends the use of Data. It must be called once for each chunk.
func (c Chunk) Free() {
	if c.blk != nil {
		c.blk.unref()
	}
}

// Cursor returns a reader that begins at offset from; where that is gone, its
// first chunk says how much is missing. With follow it goes on to the end of
// the stream, otherwise to where the stream is now.
func (s *Spool) Cursor(from uint64, follow bool) *Cursor {
	c := &Cursor{s: s, pos: from, stop: math.MaxUint64}
	if !follow {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.stop = s.end
	}
	return c
}

// Ack notes that the reader has used all bytes before offset. Those that it
// was not given do not count. A spool that is full gives up bytes that any
// reader has acknowledged.
func (c *Cursor) Ack(offset uint64) {
	c.s.mu.Lock()
	offset = min(offset, c.pos)
	c.s.mu.Unlock()
	c.s.ack(offset)
}

// Next waits for the next bytes, at most 128 KiB. The error is io.EOF at the
// end, ErrClosed once the spool is closed, ctx's, or that of reading the file,
// after which Next may be called again.
func (c *Cursor) Next(ctx context.Context) (Chunk, error) {
	for {
		chunk, more, err := c.next()
		if more == nil {
			return chunk, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Chunk{}, ctx.Err()
		}
	}
}

// next returns the next chunk, or a channel that is closed once there may be
// one.
func (c *Cursor) next() (Chunk, <-chan struct{}, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Chunk{}, nil, ErrClosed
	}
	chunk := Chunk{Offset: c.pos}
	if c.pos < s.base {
		chunk.Offset = min(s.base, c.stop)
		chunk.Lost = chunk.Offset - c.pos
	}
	end := min(s.end, c.stop)
	switch {
	case chunk.Offset < end:
		if err := s.load(&chunk, end); err != nil {
			return Chunk{}, nil, err
		}
	case chunk.Lost > 0:
	case chunk.Offset >= c.stop || s.ended:
		return Chunk{}, nil, io.EOF
	default:
		return Chunk{}, s.data.next(), nil
	}
	c.pos = chunk.Offset + uint64(len(chunk.Data))
	if s.pace.read(c.pos) {
		s.room.ring()
	}
	return chunk, nil, nil
}

// load gives a chunk the bytes from its offset on, at most up to end, from
// memory or from the file. mu is released while the file is read.
func (s *Spool) load(chunk *Chunk, end uint64) error {
	inFile := s.end
	if len(s.pieces) > 0 {
		inFile = s.pieces[0].off
	}
	if chunk.Offset >= inFile {
		p := s.pieces[chunk.Offset/blockSize-inFile/blockSize]
		chunk.blk = p.blk.ref()
		chunk.Data = p.data()[chunk.Offset-p.off : min(p.end(), end)-p.off]
		return nil
	}
	n := min(end, inFile) - chunk.Offset
	n = min(n, blockSize-chunk.Offset%blockSize)
	blk := newBlock(&s.cfg.Budget.pool)
	slot := s.slots.pin(chunk.Offset)
	s.mu.Unlock()
	err := s.file.get(slot, chunk.Offset, blk.buf[:n])
	s.mu.Lock()
	s.slots.unpin(slot)
	if err != nil || s.closed {
		blk.unref()
		if s.closed {
			err = ErrClosed
		}
		return err
	}
	chunk.blk, chunk.Data = blk, blk.buf[:n:n]
	return nil
}
