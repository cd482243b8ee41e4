package transport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestQuietWritesFail checks that a failing write says why, as Go's own do.
func TestQuietWritesFail(t *testing.T) {
	c, err := TCP{}.ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteTo(make([]byte, 70_000), c.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("too long: %v", err)
	}
	for _, to := range []net.Addr{&net.UDPAddr{IP: net.IPv6loopback, Port: 1}, &net.UDPAddr{Port: 1}, memoryAddr{"a", 1}} {
		if _, err := c.WriteTo([]byte("x"), to); err == nil && to.String() != ":1" {
			t.Errorf("an IPv4 socket sends to %v", to)
		}
	}
	c.Close()
	if _, err := c.WriteTo([]byte("x"), c.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestQuietReadIsCutOff reads a datagram into less than it takes.
func TestQuietReadIsCutOff(t *testing.T) {
	c, err := TCP{}.ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, data := range []string{"", "abc", "abcdefgh"} {
		if n, err := c.WriteTo([]byte(data), c.LocalAddr()); n != len(data) || err != nil {
			t.Fatal(n, err)
		}
		var b [4]byte
		if n, err := c.Read(b[:]); string(b[:n]) != data[:min(len(data), 4)] || err != nil {
			t.Errorf("%q came as %q, %v", data, b[:n], err)
		}
	}
}
