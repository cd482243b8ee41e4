package channel

import "google.golang.org/grpc/mem"

const (
	// MaxBuffered is the length in bytes of the longest message that can be
	// buffered whole.
	MaxBuffered = 32 << 10

	// minHeld is the least that a transport's buffer must hold on average to
	// be kept by reference. Smaller ones are copied, so that a few bytes never
	// keep a large buffer.
	minHeld = 4 << 10
)

// store holds bytes of one message. Up to MaxBuffered they are a copy in head;
// beyond, they are references to the transport's buffers in rest.
type store struct {
	head   []byte
	rest   mem.BufferSlice
	spare  bool  // the last of rest is a copy of ours, and may have room
	len    int   // bytes held
	pinned int64 // bytes of memory kept from reuse by that
}

// add puts the bytes of src at the end. The caller keeps its references.
func (b *store) add(src mem.BufferSlice) {
	n := src.Len()
	if n == 0 {
		return
	}
	if len(b.rest) == 0 && len(b.head)+n <= MaxBuffered {
		b.pinned -= int64(cap(b.head))
		if b.head == nil {
			b.head = make([]byte, 0, n)
		}
		for _, buf := range src {
			b.head = append(b.head, buf.ReadOnlyData()...)
		}
		b.pinned += int64(cap(b.head))
		b.len += n
		return
	}
	if b.head != nil {
		b.rest, b.head, b.spare = append(b.rest, mem.SliceBuffer(b.head)), nil, false
	}
	if n < minHeld*len(src) {
		b.copyIn(src, n)
	} else {
		for _, buf := range src {
			buf.Ref()
			b.rest = append(b.rest, buf)
			b.pinned += pinned(buf)
		}
		b.spare = false
	}
	b.len += n
}

// copyIn puts a copy of src, n bytes, at the end of rest.
func (b *store) copyIn(src mem.BufferSlice, n int) {
	if b.spare {
		last, _ := b.rest[len(b.rest)-1].(mem.SliceBuffer)
		if cap(last)-len(last) >= n {
			for _, buf := range src {
				last = append(last, buf.ReadOnlyData()...)
			}
			b.rest[len(b.rest)-1] = last
			return
		}
	}
	own := make(mem.SliceBuffer, 0, max(n, minHeld))
	for _, buf := range src {
		own = append(own, buf.ReadOnlyData()...)
	}
	b.rest, b.spare = append(b.rest, own), true
	b.pinned += int64(cap(own))
}

func pinned(buf mem.Buffer) int64 { return int64(cap(buf.ReadOnlyData())) }

// pop takes up to most bytes out, from the beginning; the references are the
// caller's then.
func (b *store) pop(most int) mem.BufferSlice {
	if b.head != nil {
		b.rest, b.head = append(b.rest, mem.SliceBuffer(b.head)), nil
	}
	var out mem.BufferSlice
	for len(b.rest) > 0 && most > 0 {
		buf := b.rest[0]
		n := buf.Len()
		if n > most {
			// What is left of the buffer stays pinned as a whole.
			out = append(out, buf.Slice(0, most))
			b.rest[0] = buf.Slice(most, n)
			b.pinned += pinned(b.rest[0]) - pinned(buf)
			buf.Free()
			b.len -= most
			break
		}
		out = append(out, buf)
		b.rest[0] = nil
		b.rest = b.rest[1:]
		b.pinned -= pinned(buf)
		b.len -= n
		most -= n
	}
	if len(b.rest) == 0 {
		b.rest, b.spare = nil, false
	}
	return out
}

// peek returns references to up to most bytes from offset from on.
func (b *store) peek(from, most int) mem.BufferSlice {
	if b.head != nil {
		return mem.BufferSlice{mem.SliceBuffer(b.head[from:min(from+most, len(b.head))])}
	}
	var out mem.BufferSlice
	for _, buf := range b.rest {
		n := buf.Len()
		if from >= n {
			from -= n
			continue
		}
		to := min(n, from+most)
		out = append(out, buf.Slice(from, to))
		most -= to - from
		from = 0
		if most == 0 {
			break
		}
	}
	return out
}

// free gives everything back.
func (b *store) free() {
	b.rest.Free()
	*b = store{}
}

// cursor reads buffers from their beginning.
type cursor struct {
	bufs mem.BufferSlice
	at   int // in the first of bufs
}

// copyTo adds the next n bytes, which there are, to an empty store.
func (c *cursor) copyTo(b *store, n int) {
	short := n <= MaxBuffered
	if short && n > 0 {
		b.head = make([]byte, 0, n)
	}
	var held mem.BufferSlice
	for n > 0 {
		buf := c.bufs[0]
		to := min(buf.Len(), c.at+n)
		if short {
			b.head = append(b.head, buf.ReadOnlyData()[c.at:to]...)
		} else if to > c.at {
			held = append(held, buf.Slice(c.at, to))
		}
		n -= to - c.at
		if c.at = to; to == buf.Len() {
			c.bufs, c.at = c.bufs[1:], 0
		}
	}
	b.len, b.pinned = len(b.head), int64(cap(b.head))
	b.add(held)
	held.Free()
}
