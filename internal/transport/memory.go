package transport

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Memory is a network inside this process, for tests: hosts with names, and
// links between them that can be cut. It needs no real time, so that it works
// in a testing/synctest bubble.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener // by HOST:PORT
	conns     map[*memoryConn]struct{}   // both ends of each
	cut       map[[2]string]bool         // links between hosts, names in order
	stopped   map[string]bool            // hosts
	nextPort  int
	changed   chan struct{} // closed and replaced when a cut heals
}

// NewMemory makes a network without hosts.
func NewMemory() *Memory {
	return &Memory{
		listeners: make(map[string]*memoryListener),
		conns:     make(map[*memoryConn]struct{}),
		cut:       make(map[[2]string]bool),
		stopped:   make(map[string]bool),
		nextPort:  32768,
		changed:   make(chan struct{}),
	}
}

// Host returns the network as the host name sees it: it listens on addresses
// whose host is name, and dials from there.
func (m *Memory) Host(name string) Network { return &memoryHost{m, name} }

// Cut lets nothing through between two hosts any more, in either direction.
// Their connections stay open, as when a cable is pulled.
func (m *Memory) Cut(a, b string) { m.setCut(a, b, true) }

// Heal undoes Cut. What was sent meanwhile arrives.
func (m *Memory) Heal(a, b string) { m.setCut(a, b, false) }

func link(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (m *Memory) setCut(a, b string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut[link(a, b)] = cut
	if !cut {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	for c := range m.conns {
		if link(c.local.host, c.remote.host) == link(a, b) {
			c.in.update(func() { c.in.cut = cut })
			c.out.update(func() { c.out.cut = cut })
		}
	}
}

// Reset breaks the connections between two hosts, at both ends.
func (m *Memory) Reset(a, b string) {
	m.reset(func(c *memoryConn) bool { return link(c.local.host, c.remote.host) == link(a, b) })
}

// Stop ends a host as the system ends a process: nothing listens there any
// more, its connections break, and it dials nobody, until something listens
// there again. What is cut off from it does not notice.
func (m *Memory) Stop(host string) {
	m.mu.Lock()
	m.stopped[host] = true
	var victims []*memoryListener
	for _, l := range m.listeners {
		if l.addr.host == host {
			victims = append(victims, l)
		}
	}
	m.mu.Unlock()
	for _, l := range victims {
		l.Close()
	}
	m.reset(func(c *memoryConn) bool { return c.local.host == host || c.remote.host == host })
}

func (m *Memory) reset(which func(*memoryConn) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		if which(c) {
			c.in.update(func() { c.in.reset = true })
			c.out.update(func() { c.out.reset = true })
		}
	}
}

type memoryAddr struct {
	host string
	port int
}

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

type memoryHost struct {
	m    *Memory
	name string
}

// Listen implements Network. Port 0 takes any.
func (h *memoryHost) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || host != h.name {
		return nil, &net.OpError{Op: "listen", Net: "memory", Err: syscall.EADDRNOTAVAIL}
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if n == 0 {
		h.m.nextPort++
		n = h.m.nextPort
	}
	l := &memoryListener{m: h.m, addr: memoryAddr{host, n}, backlog: make(chan *memoryConn, 4096), closed: make(chan struct{})}
	if h.m.listeners[l.addr.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Err: syscall.EADDRINUSE}
	}
	h.m.listeners[l.addr.String()] = l
	delete(h.m.stopped, h.name)
	return l, nil
}

// Dial implements Network. Where the link is cut it waits for ctx.
func (h *memoryHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: err}
	}
	for {
		h.m.mu.Lock()
		if !h.m.cut[link(h.name, host)] {
			break
		}
		changed := h.m.changed
		h.m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "memory", Err: ctx.Err()}
		}
	}
	defer h.m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: err}
	}
	if h.m.stopped[h.name] {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: syscall.ENETDOWN}
	}
	l := h.m.listeners[addr]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	h.m.nextPort++
	here, there := newMemoryPair(h.m, memoryAddr{h.name, h.m.nextPort}, l.addr)
	select {
	case l.backlog <- there:
	default:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: fmt.Errorf("the listener's queue is full")}
	}
	h.m.conns[here], h.m.conns[there] = struct{}{}, struct{}{}
	return here, nil
}

type memoryListener struct {
	m       *Memory
	addr    memoryAddr
	backlog chan *memoryConn
	closed  chan struct{}
	once    sync.Once
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case c := <-l.backlog:
		return c, nil
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		delete(l.m.listeners, l.addr.String())
		l.m.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.backlog:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return l.addr }
