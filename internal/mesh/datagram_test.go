package mesh

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/transport"
)

// traffic counts what a node sends once it is on: datagrams, and writes to its
// connections.
type traffic struct {
	transport.Network
	datagrams, writes atomic.Int64
}

func (n *traffic) ListenPacket(addr string) (transport.PacketConn, error) {
	c, err := n.Network.ListenPacket(addr)
	return countedPackets{c, n}, err
}

func (n *traffic) Listen(addr string) (net.Listener, error) {
	l, err := n.Network.Listen(addr)
	return countedListener{l, n}, err
}

type countedPackets struct {
	transport.PacketConn
	n *traffic
}

func (c countedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	c.n.datagrams.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

type countedListener struct {
	net.Listener
	n *traffic
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.n}, err
}

type countedConn struct {
	net.Conn
	n *traffic
}

func (c countedConn) Write(b []byte) (int, error) {
	c.n.writes.Add(1)
	return c.Conn.Write(b)
}

// TestIdleTraffic counts what an idle server sends: datagrams, and nothing else.
func TestIdleTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		defer c.stop()
		n := &traffic{Network: c.memory.Host(host(0))}
		c.nodes = append(c.nodes, startNode(t, spec{key: c.key, id: 1, network: n, addr: host(0) + ":11022"}))
		for i := 1; i < 6; i++ {
			c.nodes = append(c.nodes, c.start(i, spec{}))
		}
		c.together()
		time.Sleep(30 * time.Second)
		n.datagrams.Store(0)
		n.writes.Store(0)
		const minutes = 10
		time.Sleep(minutes * time.Minute)
		if d := n.datagrams.Load(); d < 45*minutes || d > 55*minutes {
			t.Errorf("%d datagrams in %d minutes", d, minutes)
		}
		if w := n.writes.Load(); w != 0 {
			t.Errorf("%d writes to connections", w)
		}
		c.checkNoDeaths(t)
	})
}

// checkNoDeaths wants nobody to have been declared dead.
func (c *cluster) checkNoDeaths(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		for _, other := range c.nodes {
			if s := n.story(other.id); strings.ContainsAny(s, "FL") {
				t.Errorf("%v was told %q of %v", n.id, s, other.id)
			}
		}
	}
}

// TestLossyDatagrams loses datagrams and then lets none through: nobody may be
// declared dead, and who freezes is still noticed.
func TestLossyDatagrams(t *testing.T) {
	inBubble(t, 6, func(t *testing.T, c *cluster) {
		for _, loss := range []float64{0.25, 1, 0} {
			for i := range 6 {
				for j := range 6 {
					c.memory.Lose(host(i), host(j), loss)
				}
			}
			time.Sleep(10 * time.Minute)
			c.checkNoDeaths(t)
		}
		for i := range 5 {
			c.memory.Lose(host(i), host(5), 1)
			c.memory.Lose(host(5), host(i), 1)
		}
		time.Sleep(time.Minute)
		for i := range 5 {
			c.memory.Cut(host(i), host(5))
		}
		t.Logf("seen by all after %v", await(t, 4*time.Second, c.nodes[:5]...))
		for i := range 5 {
			c.memory.Heal(host(i), host(5))
		}
	})
}

// TestOneWayCut lets nothing through from one server to two of its neighbours:
// it is not dead, for others hear it.
func TestOneWayCut(t *testing.T) {
	inBubble(t, 6, func(t *testing.T, c *cluster) {
		time.Sleep(10 * time.Second)
		c.memory.CutOneWay(host(0), host(1))
		c.memory.CutOneWay(host(0), host(2))
		time.Sleep(5 * time.Minute)
		c.checkNoDeaths(t)
		c.memory.Heal(host(0), host(1))
		c.memory.Heal(host(0), host(2))
		linked(t, time.Minute, c.nodes...)
	})
}

// deaf is a network whose port for datagrams is in use.
type deaf struct{ transport.Network }

func (deaf) ListenPacket(string) (transport.PacketConn, error) {
	return nil, &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}
}

// TestNoSocket runs servers that have no datagrams beside one that has.
func TestNoSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer func() { c.stop() }()
		for i := 2; i < 4; i++ {
			network := deaf{c.memory.Host(host(i))}
			c.nodes = append(c.nodes, startNode(t, spec{key: c.key, id: circuit.ServerID(i + 1), network: network, addr: host(i) + ":11022"}))
		}
		c.together()
		time.Sleep(5 * time.Minute)
		c.checkNoDeaths(t)
		for i := range 3 {
			c.memory.Cut(host(i), host(3))
		}
		rest := slices.Clone(c.nodes[:3])
		t.Logf("seen by all after %v", await(t, 4*time.Second, rest...))
		c.nodes[3].stop()
		c.nodes = rest
	})
}
