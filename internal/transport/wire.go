package transport

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocircuit/circuit/internal/credential"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
)

const (
	recordSize = 16 << 10 // most plaintext in a TLS record
	// writeSize is the most that reaches the system in one write. It holds
	// all that gRPC writes at once, and what TLS adds to each record.
	writeSize  = writeBuffer + (writeBuffer/recordSize+1)*64
	aheadSize  = 64 << 10 // most that is read from the system at once
	hungryRead = 4 << 10  // a read that fills this much is worth reading ahead after
)

// buffers lend read-ahead and write buffers to connections while bytes flow:
// an idle connection holds none. The zero value is ready for use.
type buffers struct {
	ahead sync.Pool // of *[aheadSize]byte
	write sync.Pool // of *[writeSize]byte
}

func (b *buffers) getAhead() *[aheadSize]byte {
	if p, ok := b.ahead.Get().(*[aheadSize]byte); ok {
		return p
	}
	return new([aheadSize]byte)
}

func (b *buffers) getWrite() *[writeSize]byte {
	if p, ok := b.write.Get().(*[writeSize]byte); ok {
		return p
	}
	return new([writeSize]byte)
}

// frameSizes are those of the buffers that framePool keeps: gRPC reads every
// frame of data into one, and a frame has no more than the largest.
const (
	smallFrame = 4 << 10
	fullFrame  = 16 << 10
)

// framePool is gRPC's pool of buffers for what comes in. Unlike gRPC's own it
// does not clear a buffer that is about to be overwritten.
type framePool struct{ small, full sync.Pool } // of *[]byte

// Get implements mem.BufferPool.
func (p *framePool) Get(n int) *[]byte {
	pool, size := &p.full, fullFrame
	switch {
	case n > fullFrame:
		return mem.DefaultBufferPool().Get(n)
	case n <= smallFrame:
		pool, size = &p.small, smallFrame
	}
	b, ok := pool.Get().(*[]byte)
	if !ok {
		b = new([]byte)
		*b = make([]byte, size)
	}
	*b = (*b)[:n]
	return b
}

// Put implements mem.BufferPool.
func (p *framePool) Put(b *[]byte) {
	switch cap(*b) {
	case smallFrame:
		p.small.Put(b)
	case fullFrame:
		p.full.Put(b)
	default:
		mem.DefaultBufferPool().Put(b)
	}
}

// wire is the connection below TLS. TLS writes record by record and reads a
// header and a record at a time; wire joins the records of one Write above
// TLS into one write to the system, and reads ahead. Nothing is ever held
// back once that Write returns.
type wire struct {
	net.Conn
	buffers *buffers
	began   time.Time
	heard   atomic.Int64 // when bytes last came, as time since began
	turns   *guest       // while a server's handshake lasts: whom to ask before computing

	// Reading; TLS lets one goroutine in at a time.
	early    []byte // read before TLS began, and still to be given to it
	ahead    *[aheadSize]byte
	from, to int  // what is left in ahead
	hungry   bool // the last read was filled, so more is waiting

	mu   sync.Mutex // guards the rest
	held bool       // between hold and release
	out  *[writeSize]byte
	n    int   // bytes in out
	err  error // of an earlier write; the connection is broken
}

func newWire(c net.Conn, b *buffers) *wire { return &wire{Conn: c, buffers: b, began: time.Now()} }

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if w.from < w.to {
		n := copy(p, w.ahead[w.from:w.to])
		w.from += n
		return n, nil
	}
	if len(w.early) > 0 {
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
		return n, nil
	}
	if w.turns != nil {
		w.turns.yield()
		defer w.turns.resume()
	}
	if !w.hungry || len(p) >= aheadSize {
		w.releaseAhead()
		n, err := w.Conn.Read(p)
		w.noteRead(n)
		w.hungry = n == len(p) && n >= hungryRead
		return n, err
	}
	if w.ahead == nil {
		w.ahead = w.buffers.getAhead()
	}
	n, err := w.Conn.Read(w.ahead[:])
	w.noteRead(n)
	w.hungry = n >= recordSize
	w.from, w.to = 0, n
	n = copy(p, w.ahead[:n])
	w.from = n
	return n, err
}

func (w *wire) noteRead(n int) {
	if n > 0 {
		w.heard.Store(int64(time.Since(w.began)))
	}
}

// silentFor returns how long no bytes have come.
func (w *wire) silentFor() time.Duration {
	return time.Since(w.began) - time.Duration(w.heard.Load())
}

func (w *wire) releaseAhead() {
	if w.ahead != nil {
		w.buffers.ahead.Put(w.ahead)
		w.ahead, w.from, w.to = nil, 0, 0
	}
}

// hold makes wire join writes until release.
func (w *wire) hold() {
	w.mu.Lock()
	w.held = true
	w.mu.Unlock()
}

// release writes what is held back.
func (w *wire) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	w.flush()
	if w.out != nil {
		w.buffers.write.Put(w.out)
		w.out = nil
	}
	return w.err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n+len(p) > writeSize {
		w.flush()
	}
	if w.err != nil {
		return 0, w.err
	}
	if !w.held || len(p) > writeSize {
		return w.Conn.Write(p)
	}
	if w.out == nil {
		w.out = w.buffers.getWrite()
	}
	w.n += copy(w.out[w.n:], p)
	return len(p), nil
}

func (w *wire) flush() {
	if w.n > 0 && w.err == nil {
		_, w.err = w.Conn.Write(w.out[:w.n])
	}
	w.n = 0
}

// secured is a connection above TLS, as gRPC gets it.
type secured struct {
	*tls.Conn
	wire    *wire
	auth    AuthInfo
	failed  atomic.Pointer[error] // the first that a Read returned
	closing sync.Once
	gone    chan struct{} // closed when the connection is closed
	onClose func()        // called then, once; may be nil
}

func newSecured(c *tls.Conn, w *wire, p credential.Peer) *secured {
	s := &secured{Conn: c, wire: w, gone: make(chan struct{})}
	s.auth = AuthInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		Peer:           p,
		conn:           s,
	}
	return s
}

// Read implements net.Conn.
func (c *secured) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// failure returns what the first failing Read failed with.
func (c *secured) failure() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return io.EOF
}

// Write implements net.Conn.
func (c *secured) Write(p []byte) (int, error) {
	if len(p) <= recordSize {
		return c.Conn.Write(p)
	}
	c.wire.hold()
	n, err := c.Conn.Write(p)
	if failed := c.wire.release(); err == nil && failed != nil {
		return 0, failed
	}
	return n, err
}

// Close implements net.Conn.
func (c *secured) Close() error {
	err := c.Conn.Close()
	c.closed()
	return err
}

// abort closes the connection without a farewell, which could block.
func (c *secured) abort() {
	c.wire.Conn.Close()
	c.closed()
}

func (c *secured) closed() {
	c.closing.Do(func() {
		close(c.gone)
		if c.onClose != nil {
			c.onClose()
		}
	})
}
