package transport

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memoryWindow is how many bytes can be under way in one direction.
const memoryWindow = 256 << 10

// memoryConn is one end of a connection in a Memory.
type memoryConn struct {
	m             *Memory
	local, remote memoryAddr
	in, out       *memoryPipe // what this end reads, and writes
	once          sync.Once
}

// memoryPipe is one direction of a connection.
type memoryPipe struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every change
	data    []byte
	cut     bool // nothing comes out
	reset   bool // by the network
	ended   bool // by the writer
	refused bool // by the reader
	readBy  time.Time
	writeBy time.Time
}

func newMemoryPair(m *Memory, a, b memoryAddr) (here, there *memoryConn) {
	ab, ba := &memoryPipe{changed: make(chan struct{})}, &memoryPipe{changed: make(chan struct{})}
	return &memoryConn{m: m, local: a, remote: b, in: ba, out: ab},
		&memoryConn{m: m, local: b, remote: a, in: ab, out: ba}
}

func (p *memoryPipe) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait unlocks p until something changes or the deadline passes.
func (p *memoryPipe) wait(deadline time.Time) {
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	if deadline.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// Read implements net.Conn.
func (c *memoryConn) Read(b []byte) (int, error) {
	p := c.in
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.refused:
			return 0, net.ErrClosed
		case passed(p.readBy):
			return 0, os.ErrDeadlineExceeded
		case p.cut:
		case p.reset:
			return 0, syscall.ECONNRESET
		case len(p.data) > 0:
			n := copy(b, p.data)
			p.data = append(p.data[:0], p.data[n:]...)
			close(p.changed)
			p.changed = make(chan struct{})
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		p.wait(p.readBy)
	}
}

// Write implements net.Conn.
func (c *memoryConn) Write(b []byte) (int, error) {
	p := c.out
	p.mu.Lock()
	defer p.mu.Unlock()
	written := 0
	for {
		switch {
		case p.ended:
			return written, net.ErrClosed
		case passed(p.writeBy):
			return written, os.ErrDeadlineExceeded
		case p.reset && !p.cut, p.refused && !p.cut:
			return written, syscall.EPIPE
		case len(p.data) < memoryWindow:
			n := min(len(b)-written, memoryWindow-len(p.data))
			p.data = append(p.data, b[written:written+n]...)
			written += n
			close(p.changed)
			p.changed = make(chan struct{})
		}
		if written == len(b) {
			return written, nil
		}
		p.wait(p.writeBy)
	}
}

// Close implements net.Conn.
func (c *memoryConn) Close() error {
	c.once.Do(func() {
		c.m.mu.Lock()
		delete(c.m.conns, c)
		c.m.mu.Unlock()
		c.in.update(func() { c.in.refused = true })
		c.out.update(func() { c.out.ended = true })
	})
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.update(func() { c.in.readBy = t })
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.update(func() { c.out.writeBy = t })
	return nil
}
