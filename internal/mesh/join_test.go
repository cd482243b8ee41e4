package mesh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

func TestJoinMergesCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 6)
		defer c.stop()
		a, b := c.nodes[:3], c.nodes[3:]
		for _, half := range [][]*node{a, b} {
			for _, n := range half[1:] {
				n.Seed(half[0].addr, half[0].id)
			}
			await(t, 5*time.Second, half...)
		}
		if err := a[1].Join(t.Context(), b[2].addr, b[2].id); err != nil {
			t.Fatal(err)
		}
		if _, ok := a[1].Member(b[2].id); !ok {
			t.Error("Join returned before the other was in the circuit")
		}
		await(t, 5*time.Second, c.nodes...)
		// Joining what is joined is nothing.
		if err := b[0].Join(t.Context(), a[0].addr, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestJoinErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.stop()
		foreign := c.start(7, spec{key: credential.NewKey()})
		defer foreign.stop()
		future := c.start(8, spec{hello: func(h *circuitv1.Hello) { h.MinVersion, h.MaxVersion, h.Software = 7, 9, "circuit 9.9" }})
		defer future.stop()
		n := c.nodes[0]
		for _, tt := range []struct {
			addr string
			id   circuit.ServerID
			kind circuit.ErrorKind
			says string
		}{
			{foreign.addr, 0, circuit.Denied, "another circuit: its key differs"},
			{future.addr, 0, circuit.Unsupported, "version"},
			{c.nodes[1].addr, 77, circuit.Invalid, "another server than the expected one"},
			{n.addr, 0, circuit.Invalid, "leads to the server itself"},
			{"h99:11022", 0, circuit.Unreachable, "nobody listens there"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := n.Join(ctx, tt.addr, tt.id)
			cancel()
			if circuit.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %v of kind %v", tt.addr, err, circuit.KindOf(err))
			}
		}
		if m := n.Members(); len(m) != 1 {
			t.Errorf("something was joined: %v", m)
		}
		if len(n.joins) != 0 {
			t.Errorf("%d joins are left", len(n.joins))
		}
	})
}

func TestJoinAcrossCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.stop()
		c.memory.Cut(host(0), host(1))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := c.nodes[0].Join(ctx, c.nodes[1].addr, 0); !errors.Is(err, circuit.Unreachable) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		c.memory.Heal(host(0), host(1))
		time.Sleep(time.Minute)
		if len(c.nodes[0].Members()) != 1 {
			t.Error("a Join that was given up went on")
		}
	})
}

// TestJoinEndedAnother: a Join that ran out of time ended another to the same
// address, which had time left.
func TestJoinEndedAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer func() { c.stop() }()
		n, address := c.nodes[0], host(1)+":11022"
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- n.Join(short, address, 0) }()
		time.Sleep(300 * time.Millisecond)
		go func() { second <- n.Join(t.Context(), address, 0) }()
		if err := <-first; circuit.KindOf(err) != circuit.Unreachable {
			t.Errorf("the first: %v", err)
		}
		time.Sleep(2 * time.Second)
		c.nodes = append(c.nodes, c.start(1, spec{}))
		if err := <-second; err != nil {
			t.Errorf("the second: %v", err)
		}
	})
}

// TestJoinBeyondTheLimit: a Join that there was no place for was said to have no
// answer.
func TestJoinBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.stop()
		for i := range overlay.MaxSeeds {
			c.nodes[0].Seed(fmt.Sprintf("h%d:1", 100+i), 0)
		}
		began := time.Now()
		err := c.nodes[0].Join(t.Context(), c.nodes[1].addr, 0)
		if circuit.KindOf(err) != circuit.Exhausted || !strings.Contains(err.Error(), fmt.Sprint(overlay.MaxSeeds)) || time.Since(began) > 0 {
			t.Errorf("got %v of kind %v after %v", err, circuit.KindOf(err), time.Since(began))
		}
	})
}

// TestVersionsAreNamed links up as a server of the future, and reads why it is
// refused.
func TestVersionsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stop()
		s := linkUp(t, c, 50, &circuitv1.Hello{MinVersion: 7, MaxVersion: 9, Software: "circuit 9.9", Server: 50, Address: "h50:1"})
		if _, err := s.Recv(); err != nil {
			t.Fatal(err) // its hello
		}
		_, err := s.Recv()
		if err = rpc.FromStatus("", "", err); circuit.KindOf(err) != circuit.Unsupported || !strings.Contains(err.Error(), "7 to 9") || !strings.Contains(err.Error(), "1 to 1") {
			t.Errorf("got %v", err)
		}
	})
}

// linkUp opens a Mesh.Link to the first node of c by hand, and sends a hello.
func linkUp(t *testing.T, c *cluster, id circuit.ServerID, hello *circuitv1.Hello) grpc.BidiStreamingClient[circuitv1.LinkFrame, circuitv1.LinkFrame] {
	t.Helper()
	cred, err := credential.New(c.key, credential.Server, id)
	if err != nil {
		t.Fatal(err)
	}
	d := &transport.Dialer{Cred: cred, Network: c.memory.Host("h50"), Codec: rpc.Codec(), NoSilenceCheck: true}
	conn, err := d.Dial(t.Context(), c.nodes[0].addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := circuitv1.NewMeshClient(conn).Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if hello != nil {
		if err := s.Send(&circuitv1.LinkFrame{Hello: hello}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestBadLinks links up as what no server does.
func TestBadLinks(t *testing.T) {
	hello := func(change func(*circuitv1.Hello)) *circuitv1.Hello {
		h := rpc.NewHello("test")
		h.Server, h.Address, h.Instance = 50, "h50:1", 1
		change(h)
		return h
	}
	for _, tt := range []struct {
		name  string
		hello *circuitv1.Hello
		kind  circuit.ErrorKind
	}{
		{"mute", nil, circuit.Timeout},
		{"no hello", &circuitv1.Hello{}, circuit.Unsupported},
		{"another's ID", hello(func(h *circuitv1.Hello) { h.Server = 51 }), circuit.Denied},
		{"an address that no record holds", hello(func(h *circuitv1.Hello) { h.Address = strings.Repeat("h", MaxAddress-1) + ":1" }), circuit.Invalid},
		{"no address", hello(func(h *circuitv1.Hello) { h.Address = "" }), circuit.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				defer c.stop()
				s := linkUp(t, c, 50, tt.hello)
				var err error
				for err == nil {
					_, err = s.Recv()
				}
				if err = rpc.FromStatus("", "", err); circuit.KindOf(err) != tt.kind {
					t.Errorf("got %v of kind %v", err, circuit.KindOf(err))
				}
				if n := len(c.nodes[0].links); n != 0 {
					t.Errorf("there are %d links", n)
				}
			})
		})
	}
}

// TestLongestAddress joins with the longest address that there may be.
func TestLongestAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer func() { c.stop() }()
		long := strings.Repeat("h", MaxAddress-len(":11022"))
		sp := spec{key: c.key, id: 2, network: c.memory.Host(long), addr: long + ":11022"}
		c.nodes = append(c.nodes, startNode(t, sp))
		c.nodes[1].Seed(c.nodes[0].addr, 0)
		await(t, 5*time.Second, c.nodes...)
	})
}

// TestClientsDoNotLink calls Link with a client's certificate.
func TestClientsDoNotLink(t *testing.T) {
	var m Mesh
	err := m.Link(nameless{ctx: t.Context()})
	if circuit.KindOf(err) != circuit.Denied {
		t.Errorf("got %v", err)
	}
}

type nameless struct {
	grpc.BidiStreamingServer[circuitv1.LinkFrame, circuitv1.LinkFrame]
	ctx context.Context
}

func (s nameless) Context() context.Context { return s.ctx }
