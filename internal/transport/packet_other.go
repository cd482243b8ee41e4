//go:build !linux

package transport

import "net"

// quiet is of use on Linux only.
func quiet(c *net.UDPConn) (PacketConn, error) { return c, nil }
