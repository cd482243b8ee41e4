package transport

import (
	"net"
	"sync"
	"syscall"
)

// memoryDatagrams is how many datagrams a socket holds that nobody has read; at
// the limit further ones are lost.
const memoryDatagrams = 256

// memoryPackets is a socket for datagrams in a Memory.
type memoryPackets struct {
	m      *Memory
	addr   memoryAddr
	queue  chan []byte
	closed chan struct{}
	once   sync.Once
}

// ListenPacket implements Network. Port 0 takes any.
func (h *memoryHost) ListenPacket(addr string) (PacketConn, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	a, err := h.place(addr)
	if err != nil {
		return nil, err
	}
	if h.m.packets[a.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Err: syscall.EADDRINUSE}
	}
	p := &memoryPackets{m: h.m, addr: a, queue: make(chan []byte, memoryDatagrams), closed: make(chan struct{})}
	h.m.packets[a.String()] = p
	return p, nil
}

// PacketAddr implements Network.
func (h *memoryHost) PacketAddr(addr string, _ net.Addr) (net.Addr, error) {
	return parseMemoryAddr(addr)
}

// Read implements PacketConn.
func (p *memoryPackets) Read(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	case d := <-p.queue:
		return copy(b, d), nil
	}
}

// WriteTo implements PacketConn. What is lost is not told.
func (p *memoryPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	a, ok := to.(memoryAddr)
	if !ok {
		return 0, &net.OpError{Op: "write", Net: "memory", Err: syscall.EAFNOSUPPORT}
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	way := direction{p.addr.host, a.host}
	there := p.m.packets[a.String()]
	if there == nil || p.m.cut[way] || p.m.rng.Float64() < p.m.loss[way] {
		return len(b), nil
	}
	select {
	case there.queue <- append([]byte(nil), b...):
	default:
	}
	return len(b), nil
}

// LocalAddr implements PacketConn.
func (p *memoryPackets) LocalAddr() net.Addr { return p.addr }

// Close implements PacketConn.
func (p *memoryPackets) Close() error {
	p.once.Do(func() {
		p.m.mu.Lock()
		delete(p.m.packets, p.addr.String())
		p.m.mu.Unlock()
		close(p.closed)
	})
	return nil
}
