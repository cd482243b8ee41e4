package proc

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/spool"
)

// output is one output stream of a process: the pipe that it comes from, and
// the spool that it is kept in.
type output struct {
	pipe  *os.File // nil for a process that was lost
	spool *spool.Spool

	// Of an earlier run of the server:
	cut     bool   // what the process wrote last may be lost
	missing uint64 // how much of it is, so far as that is known

	mu      sync.Mutex
	whole   bool          // the stream has ended, and nothing that came was left unread
	drained bool          // what comes is thrown away
	readers int           // cursors open
	idle    chan struct{} // closed once there are none; nil unless somebody waits
}

func (o *output) stat() circuit.OutputStat {
	s := o.spool.Stat()
	s.Written += o.missing
	s.GivenUp += o.missing
	return s
}

// length returns how much the process wrote, or nil if that is not known.
func (o *output) length() *uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.whole {
		return nil
	}
	n := o.spool.Stat().Written
	return &n
}

// copy moves bytes from the pipe to the spool until the stream ends, or the
// element does. It holds no memory while the process is silent.
func (o *output) copy() {
	defer o.pipe.Close()
	defer o.spool.End()
	conn, err := o.pipe.SyscallConn()
	if err != nil {
		return // the element is over already
	}
	for widened := false; ; {
		var n int
		var fillErr error
		err := conn.Read(func(fd uintptr) bool {
			n, fillErr = o.spool.Fill(func(p []byte) (int, error) { return read(int(fd), p) })
			if n >= pipeSize && !widened {
				widened = true
				widen(int(fd))
			}
			return fillErr != syscall.EAGAIN
		})
		switch {
		case err != nil: // the pipe was closed
			return
		case errors.Is(fillErr, spool.ErrFull):
			if o.spool.Wait() == nil {
				continue
			}
			fallthrough // the spool was closed
		case errors.Is(fillErr, spool.ErrClosed):
			o.drain()
			return
		case fillErr != nil || n == 0:
			o.mu.Lock()
			o.whole = true
			o.mu.Unlock()
			return
		}
	}
}

// pipeSize is how much a pipe holds as the system makes it.
const pipeSize = 64 << 10

// drain throws away what the process writes, if it was abandoned, so that it
// does not notice.
func (o *output) drain() {
	o.mu.Lock()
	drained := o.drained
	o.mu.Unlock()
	if !drained {
		return
	}
	buf := make([]byte, 4096)
	for {
		if _, err := o.pipe.Read(buf); err != nil {
			return
		}
	}
}

// read reads from a descriptor that does not block.
func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// discard throws away what is kept, and what will come.
func (o *output) discard() {
	o.mu.Lock()
	o.drained = true
	o.mu.Unlock()
	o.spool.Close()
	// A copier that waits for the process notices that the spool is closed at
	// its next byte.
}

// stop ends the stream where it is, and closes the pipe.
func (o *output) stop() {
	o.spool.End()
	if o.pipe != nil {
		o.pipe.Close()
	}
}

// close throws away what is kept, and closes the pipe.
func (o *output) close() {
	o.spool.Close()
	if o.pipe != nil {
		o.pipe.Close()
	}
}

// open returns a reader's cursor, and what to call when the reader is done.
func (o *output) open(from uint64, follow bool) (*spool.Cursor, func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers++
	return o.spool.Cursor(from, follow), o.closeReader
}

func (o *output) closeReader() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers--
	if o.readers == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// lastReader waits until nobody reads.
func (o *output) lastReader() {
	o.mu.Lock()
	if o.readers == 0 {
		o.mu.Unlock()
		return
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	<-idle
}

// buffer returns a chunk's bytes as a buffer that frees the chunk when it has
// been sent.
func buffer(c spool.Chunk) mem.BufferSlice {
	data := c.Data[:len(c.Data):len(c.Data)]
	if mem.IsBelowBufferPoolingThreshold(len(data)) {
		defer c.Free()
		return mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), data...))}
	}
	return mem.BufferSlice{mem.NewBuffer(&data, chunkPool{c})}
}

// chunkPool is the buffer pool of one chunk: what is put back frees it.
type chunkPool struct{ chunk spool.Chunk }

func (p chunkPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p chunkPool) Put(*[]byte)       { p.chunk.Free() }
