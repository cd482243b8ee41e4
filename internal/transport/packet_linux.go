package transport

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quietPackets is a UDP socket of which an idle process notices as little as
// possible. Its system calls never wait, and Go's runtime is not told of them: it
// would wake a thread to watch over each, which in an idle server costs more than
// the datagram itself.
type quietPackets struct {
	*net.UDPConn
	raw    syscall.RawConn
	family int // of the socket: AF_INET, or AF_INET6, which IPv4 uses as well

	// What one Read, and one WriteTo, tells its system call. They are here, and
	// take turns, so that nothing is allocated.
	read, write transfer
}

// transfer is one system call that receives or sends.
type transfer struct {
	turn  sync.Mutex
	call  func(fd uintptr) (done bool)
	b     []byte
	to    unix.RawSockaddrInet6 // WriteTo: or an Inet4 in its place
	toLen uintptr
	n     int
	errno syscall.Errno
}

// quiet makes the system calls of a socket quiet.
func quiet(c *net.UDPConn) (PacketConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &quietPackets{UDPConn: c, raw: raw}
	p.read.call, p.write.call = p.receive, p.send
	if controlErr := raw.Control(func(fd uintptr) {
		p.family, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
	}); controlErr != nil {
		return nil, controlErr
	}
	return p, err
}

// Read implements PacketConn. Once nothing is there, it waits as every
// connection does.
func (p *quietPackets) Read(b []byte) (int, error) {
	r := &p.read
	r.turn.Lock()
	defer r.turn.Unlock()
	r.b = b
	if err := p.raw.Read(r.call); err != nil {
		return 0, err
	}
	return r.result("read")
}

func (p *quietPackets) receive(fd uintptr) bool {
	r := &p.read
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.b))), uintptr(len(r.b)), unix.MSG_DONTWAIT, 0, 0)
		if r.n, r.errno = int(n), errno; errno != unix.EINTR {
			return errno != unix.EAGAIN
		}
	}
}

// WriteTo implements PacketConn. Where it would have to wait, it fails.
func (p *quietPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	w := &p.write
	w.turn.Lock()
	defer w.turn.Unlock()
	a, ok := to.(*net.UDPAddr)
	if !ok || !w.address(p.family, a) {
		return p.UDPConn.WriteTo(b, to)
	}
	w.b = b
	if err := p.raw.Write(w.call); err != nil {
		return 0, err
	}
	return w.result("write")
}

func (p *quietPackets) send(fd uintptr) bool {
	w := &p.write
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(w.b))), uintptr(len(w.b)), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&w.to)), w.toLen)
	w.n, w.errno = int(n), errno
	return true
}

// result returns what the system call did.
func (t *transfer) result(op string) (int, error) {
	t.b = nil
	if t.errno != 0 {
		return 0, &net.OpError{Op: op, Net: "udp", Err: t.errno}
	}
	return t.n, nil
}

// address puts an address where the system call takes it from. It reports false
// for one that takes more than that: with a zone, or that the socket cannot send
// to.
func (t *transfer) address(family int, a *net.UDPAddr) bool {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], uint16(a.Port))
	if family == unix.AF_INET {
		ip := a.IP.To4()
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&t.to))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: binary.NativeEndian.Uint16(port[:])}
		copy(sa.Addr[:], ip)
		t.toLen = unix.SizeofSockaddrInet4
		return ip != nil
	}
	ip := a.IP.To16() // IPv4 is mapped to IPv6
	t.to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: binary.NativeEndian.Uint16(port[:])}
	copy(t.to.Addr[:], ip)
	t.toLen = unix.SizeofSockaddrInet6
	return ip != nil && a.Zone == ""
}
