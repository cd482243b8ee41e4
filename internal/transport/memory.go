package transport

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Memory is a network inside this process, for tests: hosts with names, and
// links between them that can be cut, in both directions or in one, and that
// can lose datagrams. It needs no real time, so that it works in a
// testing/synctest bubble.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener // by HOST:PORT
	conns     map[*memoryConn]struct{}   // both ends of each
	packets   map[string]*memoryPackets  // sockets, by HOST:PORT
	cut       map[direction]bool
	loss      map[direction]float64 // share of datagrams
	stopped   map[string]bool       // hosts
	nextPort  int
	changed   chan struct{} // closed and replaced when a cut heals
	rng       *rand.Rand    // which datagrams are lost
}

// direction is one of the two of a link between hosts.
type direction struct{ from, to string }

// NewMemory makes a network without hosts.
func NewMemory() *Memory {
	return &Memory{
		listeners: make(map[string]*memoryListener),
		conns:     make(map[*memoryConn]struct{}),
		packets:   make(map[string]*memoryPackets),
		cut:       make(map[direction]bool),
		loss:      make(map[direction]float64),
		stopped:   make(map[string]bool),
		nextPort:  32768,
		changed:   make(chan struct{}),
		rng:       rand.New(rand.NewPCG(1, 1)),
	}
}

// Host returns the network as the host name sees it: it listens on addresses
// whose host is name, and dials from there.
func (m *Memory) Host(name string) Network { return &memoryHost{m, name} }

// Cut lets nothing through between two hosts any more, in either direction.
// Their connections stay open, as when a cable is pulled.
func (m *Memory) Cut(a, b string) { m.setCut(true, direction{a, b}, direction{b, a}) }

// CutOneWay lets nothing through any more that one host sends to another.
func (m *Memory) CutOneWay(from, to string) { m.setCut(true, direction{from, to}) }

// Heal undoes Cut and CutOneWay. What was sent meanwhile on connections arrives;
// datagrams are lost.
func (m *Memory) Heal(a, b string) { m.setCut(false, direction{a, b}, direction{b, a}) }

func (m *Memory) setCut(cut bool, which ...direction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range which {
		m.cut[d] = cut
		for c := range m.conns {
			switch d {
			case direction{c.local.host, c.remote.host}:
				c.out.update(func() { c.out.cut = cut })
			case direction{c.remote.host, c.local.host}: // whose other end may be closed
				c.in.update(func() { c.in.cut = cut })
			}
		}
	}
	if !cut {
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// Lose loses a share, from 0 to 1, of the datagrams that one host sends to
// another. Connections are not affected.
func (m *Memory) Lose(from, to string, share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loss[direction{from, to}] = share
}

// between reports whether a connection is one of those between two hosts.
func (c *memoryConn) between(a, b string) bool {
	return c.local.host == a && c.remote.host == b || c.local.host == b && c.remote.host == a
}

// Reset breaks the connections between two hosts, at both ends.
func (m *Memory) Reset(a, b string) {
	m.reset(func(c *memoryConn) bool { return c.between(a, b) })
}

// Stop ends a host as the system ends a process: nothing listens there any
// more, its connections break, and it dials nobody, until something listens
// there again. What is cut off from it does not notice.
func (m *Memory) Stop(host string) {
	m.mu.Lock()
	m.stopped[host] = true
	var victims []io.Closer
	for _, l := range m.listeners {
		if l.addr.host == host {
			victims = append(victims, l)
		}
	}
	for _, p := range m.packets {
		if p.addr.host == host {
			victims = append(victims, p)
		}
	}
	m.mu.Unlock()
	for _, v := range victims {
		v.Close()
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

// place takes an address of the host to listen on; port 0 takes any. It is
// called with mu held.
func (h *memoryHost) place(addr string) (memoryAddr, error) {
	a, err := parseMemoryAddr(addr)
	if err != nil || a.host != h.name {
		return a, &net.OpError{Op: "listen", Net: "memory", Err: syscall.EADDRNOTAVAIL}
	}
	if a.port == 0 {
		h.m.nextPort++
		a.port = h.m.nextPort
	}
	return a, nil
}

func parseMemoryAddr(addr string) (memoryAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return memoryAddr{}, err
	}
	n, err := strconv.Atoi(port)
	return memoryAddr{host, n}, err
}

// Listen implements Network. Port 0 takes any.
func (h *memoryHost) Listen(addr string) (net.Listener, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	a, err := h.place(addr)
	if err != nil {
		return nil, err
	}
	l := &memoryListener{m: h.m, addr: a, backlog: make(chan *memoryConn, 4096), closed: make(chan struct{})}
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
		if !h.m.cut[direction{h.name, host}] && !h.m.cut[direction{host, h.name}] {
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
