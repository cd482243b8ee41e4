package client

import (
	"io"

	"google.golang.org/grpc/mem"
)

// data is bytes received and not used yet, in the buffers that they came in.
type data struct {
	bufs mem.BufferSlice
	at   int // first unused byte of bufs[0]
}

// set takes over the reference to b; what was left is given up.
func (d *data) set(b mem.BufferSlice) {
	d.free()
	d.bufs = b
	d.trim()
}

// free gives everything up.
func (d *data) free() {
	d.bufs.Free()
	d.bufs, d.at = nil, 0
}

func (d *data) empty() bool { return len(d.bufs) == 0 }

// chunk returns the first unused bytes, at most n, in place.
func (d *data) chunk(n int) []byte {
	if d.empty() {
		return nil
	}
	b := d.bufs[0].ReadOnlyData()[d.at:]
	return b[:min(n, len(b))]
}

// skip counts n bytes as used; there must be as many.
func (d *data) skip(n int) {
	for n > 0 {
		k := min(n, d.bufs[0].Len()-d.at)
		d.at += k
		n -= k
		d.trim()
	}
}

// trim drops buffers that are used up.
func (d *data) trim() {
	for len(d.bufs) > 0 && d.at == d.bufs[0].Len() {
		d.bufs[0].Free()
		d.bufs, d.at = d.bufs[1:], 0
	}
}

// read copies and uses bytes as they fit into b, at most n.
func (d *data) read(b []byte, n int) int {
	b = b[:min(n, len(b))]
	done := 0
	for done < len(b) && !d.empty() {
		k := copy(b[done:], d.chunk(len(b)))
		d.skip(k)
		done += k
	}
	return done
}

// writeTo writes and uses at most n bytes. Those that w failed to take count
// as unused.
func (d *data) writeTo(w io.Writer, n int) (done int, err error) {
	for done < n && !d.empty() && err == nil {
		c := d.chunk(n - done)
		var k int
		k, err = w.Write(c)
		k = max(0, min(k, len(c)))
		if err == nil && k < len(c) {
			err = io.ErrShortWrite
		}
		d.skip(k)
		done += k
	}
	return done, err
}

// sendChunk is how much data goes into a frame.
const sendChunk = 128 << 10

// newPool returns a pool of buffers for data to be sent.
func newPool() mem.BufferPool { return mem.NewTieredBufferPool(1<<10, 16<<10, sendChunk) }

// gather returns what one Read of r gives, with its error. Small reads cost
// little memory.
func gather(pool mem.BufferPool, r io.Reader) (mem.Buffer, error) {
	space := pool.Get(sendChunk)
	n, err := r.Read(*space)
	n = max(0, min(n, sendChunk))
	if n <= sendChunk/8 {
		small := mem.Copy((*space)[:n], pool)
		pool.Put(space)
		return small, err
	}
	*space = (*space)[:n]
	return mem.NewBuffer(space, pool), err
}
