package transport

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// Network is where servers listen, connections are dialled and datagrams are
// exchanged. Addresses are HOST:PORT.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// ListenPacket opens a socket for datagrams.
	ListenPacket(addr string) (PacketConn, error)
	// PacketAddr returns where datagrams for addr go. Where its host is a name,
	// they go to the host that near, the remote address of a connection, is on.
	PacketAddr(addr string, near net.Addr) (net.Addr, error)
}

// PacketConn is a socket for datagrams. A Read returns one datagram, and fails
// with net.ErrClosed once the socket is closed. What is longer than the Read's
// buffer is cut off.
type PacketConn interface {
	io.ReadCloser
	WriteTo(b []byte, to net.Addr) (int, error)
	LocalAddr() net.Addr
}

// TCP is the real network: TCP, and UDP for datagrams. Its connections have no
// keepalive: clients are pinged by gRPC, and servers are watched by the failure
// detector.
type TCP struct{}

// Listen listens on a TCP address.
func (TCP) Listen(addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	return config.Listen(context.Background(), "tcp", addr)
}

// Dial connects to a TCP address.
func (TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	return dialer.DialContext(ctx, "tcp", addr)
}

// ListenPacket opens the UDP port of an address.
func (TCP) ListenPacket(addr string) (PacketConn, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenUDP("udp", to)
	if err != nil {
		return nil, err
	}
	return quiet(c)
}

// PacketAddr implements Network. It looks nothing up.
func (TCP) PacketAddr(addr string, near net.Addr) (net.Addr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return &net.UDPAddr{IP: ip.AsSlice(), Port: int(n), Zone: ip.Zone()}, nil
	}
	on, ok := near.(*net.TCPAddr)
	if !ok {
		return nil, &net.AddrError{Err: "not an address", Addr: addr}
	}
	return &net.UDPAddr{IP: on.IP, Port: int(n), Zone: on.Zone}, nil
}
