package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// node is one server of a test: a mesh, and what it needs to be reached.
type node struct {
	*Mesh
	t        testing.TB
	id       circuit.ServerID
	addr     string
	network  transport.Network
	listener *transport.Listener
	packets  *transport.Datagrams
	dialer   *transport.Dialer
	grpc     *grpc.Server
	served   chan struct{} // closed once grpc serves no more
	taken    chan string
	disk     chan struct{} // not nil: what persist waits for

	mu          sync.Mutex
	incarnation uint64
	saved       []overlay.Peer
	saves       int
	events      []Event
	heard       []heard
	refused     []string // addresses where nobody listened when they were dialled
}

// heard is a broadcast that a node received.
type heard struct {
	origin circuit.ServerID
	number uint64
	data   string
}

// spec says how a node of a test differs from the usual.
type spec struct {
	key         circuit.Key
	id          circuit.ServerID
	network     transport.Network
	addr        string
	incarnation uint64
	disk        chan struct{}
	remembered  []overlay.Peer
	hello       func(*circuitv1.Hello)
}

func startNode(t testing.TB, sp spec) *node {
	t.Helper()
	cred, err := credential.New(sp.key, credential.Server, sp.id)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, id: sp.id, network: sp.network, served: make(chan struct{}), taken: make(chan string, 1), disk: sp.disk, incarnation: sp.incarnation + Reserve}
	if n.listener, err = transport.Listen(sp.network, sp.addr, transport.ListenConfig{Credential: cred}); err != nil {
		t.Fatal(err)
	}
	n.addr = n.listener.Addr().String()
	if n.packets, err = transport.ListenDatagrams(sp.network, n.addr); err != nil {
		t.Logf("%v has no datagrams: %v", sp.id, err)
	}
	hello := rpc.NewHello("test")
	hello.Server, hello.Address, hello.Instance = uint64(sp.id), n.addr, rand.Uint64()
	if sp.hello != nil {
		sp.hello(hello)
	}
	n.dialer = &transport.Dialer{Cred: cred, Network: sp.network, Codec: rpc.Codec(), NoSilenceCheck: true}
	n.Mesh = Start(Config{
		Self:        overlay.Peer{ID: sp.id, Address: n.addr, Instance: hello.Instance},
		Hello:       hello,
		Incarnation: sp.incarnation + 1,
		Reserved:    n.incarnation,
		Remembered:  sp.remembered,
		Dial:        n.dial,
		Datagrams:   n.packets,
		Persist:     n.persist,
		SavePeers:   n.savePeers,
		OnEvent:     n.onEvent,
		OnBroadcast: n.onBroadcast,
		OnTaken:     func(address string) { n.taken <- address },
		Log:         slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	interceptor := rpc.Interceptor{Log: slog.New(slog.DiscardHandler)}
	n.grpc = grpc.NewServer(append(transport.ServerOptions(credential.Server, rpc.Codec()),
		grpc.ChainStreamInterceptor(interceptor.Stream), grpc.WaitForHandlers(true))...)
	circuitv1.RegisterMeshServer(n.grpc, n.Mesh)
	go func() {
		defer close(n.served)
		n.grpc.Serve(n.listener.Role(credential.Server))
	}()
	return n
}

func (n *node) dial(ctx context.Context, addr string, want circuit.ServerID) (Conn, error) {
	c, err := n.dialer.Dial(ctx, addr, want)
	if err == nil {
		return c, nil
	}
	if failureOf(err) == overlay.Refused {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.refused = append(n.refused, addr)
	}
	return nil, err
}

// wasRefused reports whether the node found nobody listening at an address.
func (n *node) wasRefused(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.refused, addr)
}

func (n *node) persist(incarnation uint64) error {
	if n.disk != nil {
		<-n.disk
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.incarnation = incarnation
	return nil
}

func (n *node) savePeers(peers []overlay.Peer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saved = peers
	n.saves++
	return nil
}

func (n *node) onBroadcast(origin circuit.ServerID, number uint64, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = append(n.heard, heard{origin, number, string(data)})
}

func (n *node) onEvent(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	if !e.Joined {
		n.listener.Drop(e.Member.ID)
	}
}

// stop ends the node without goodbye, unless it has ended.
func (n *node) stop() {
	n.Close()
	n.packets.Close()
	n.listener.Close()
	n.grpc.Stop()
	<-n.served
}

func (n *node) ids() []circuit.ServerID {
	var ids []circuit.ServerID
	for _, m := range n.Members() {
		ids = append(ids, m.ID)
	}
	return ids
}

// story returns what the node was told about a server: J for Joined, L for
// Left, F for Left by failure.
func (n *node) story(id circuit.ServerID) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := ""
	for _, e := range n.events {
		switch {
		case e.Member.ID != id:
		case e.Joined:
			s += "J"
		case e.Failed:
			s += "F"
		default:
			s += "L"
		}
	}
	return s
}

// cluster is a number of nodes on a network in memory, in a bubble.
type cluster struct {
	t      testing.TB
	key    circuit.Key
	memory *transport.Memory
	nodes  []*node
}

func host(i int) string { return fmt.Sprintf("h%d", i) }

func newCluster(t testing.TB, n int) *cluster {
	c := &cluster{t: t, key: credential.NewKey(), memory: transport.NewMemory()}
	for i := range n {
		c.nodes = append(c.nodes, c.start(i, spec{}))
	}
	return c
}

func (c *cluster) start(i int, sp spec) *node {
	c.t.Helper()
	sp.network = c.memory.Host(host(i))
	if sp.addr == "" {
		sp.addr = host(i) + ":11022"
	}
	if sp.key.IsZero() {
		sp.key = c.key
	}
	if sp.id == 0 {
		sp.id = circuit.ServerID(i + 1)
	}
	return startNode(c.t, sp)
}

func (c *cluster) stop() {
	for _, n := range c.nodes {
		n.stop()
	}
}

// eventually waits until a condition holds, and returns how long that took. It
// polls, for the conditions are about several nodes at once.
func eventually(t testing.TB, most time.Duration, holds func() bool, otherwise func()) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for ; !holds(); <-ticker.C {
		if time.Since(began) > most {
			otherwise()
			t.Fatalf("not within %v", most)
		}
	}
	return time.Since(began)
}

// await waits until all of the nodes see exactly the others of them.
func await(t testing.TB, most time.Duration, nodes ...*node) time.Duration {
	t.Helper()
	var want []circuit.ServerID
	for _, n := range nodes {
		want = append(want, n.id)
	}
	slices.Sort(want)
	return eventually(t, most, func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool { return !slices.Equal(n.ids(), want) })
	}, func() {
		for _, n := range nodes {
			t.Logf("%v sees %v", n.id, n.ids())
		}
	})
}

// linked waits until every two of the nodes are neighbours.
func linked(t testing.TB, most time.Duration, nodes ...*node) time.Duration {
	t.Helper()
	return eventually(t, most, func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool { return len(n.Neighbours()) != len(nodes)-1 })
	}, func() {
		for _, n := range nodes {
			t.Logf("%v has the neighbours %v", n.id, n.Neighbours())
		}
	})
}

// together joins the nodes into one circuit.
func (c *cluster) together() {
	c.t.Helper()
	for _, n := range c.nodes[1:] {
		n.Seed(c.nodes[0].addr, 0)
	}
	await(c.t, 10*time.Second, c.nodes...)
	linked(c.t, 10*time.Second, c.nodes...)
}

// inBubble runs f on a cluster that is one circuit.
func inBubble(t *testing.T, n int, f func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, n)
		defer c.stop()
		c.together()
		f(t, c)
	})
}

func TestAllJoinAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 8)
		defer c.stop()
		for i, n := range c.nodes {
			n.Seed(c.nodes[(i+3)%8].addr, 0)
		}
		t.Logf("exact views after %v", await(t, 5*time.Second, c.nodes...))
		t.Logf("all linked after %v more", linked(t, 5*time.Second, c.nodes...))
		for _, n := range c.nodes {
			for _, other := range c.nodes {
				if s := n.story(other.id); other != n && s != "J" {
					t.Errorf("%v was told %q of %v", n.id, s, other.id)
				}
			}
		}
	})
}

// TestSeedStartsLast lets all join a server that is not there yet.
func TestSeedStartsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		for i := 1; i < 8; i++ {
			c.nodes = append(c.nodes, c.start(i, spec{}))
			c.nodes[i-1].Seed("h0:11022", 0)
		}
		defer c.stop()
		time.Sleep(20 * time.Second)
		c.nodes = append(c.nodes, c.start(0, spec{}))
		t.Logf("exact views after %v", await(t, 45*time.Second, c.nodes...))
	})
}

func TestKillIsSeenAtOnce(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, c *cluster) {
		c.memory.Stop(host(3))
		rest := slices.Delete(slices.Clone(c.nodes), 3, 4)
		t.Logf("seen by all after %v", await(t, 50*time.Millisecond, rest...))
		c.nodes[3].stop()
		for _, n := range rest {
			if s := n.story(4); s != "JF" {
				t.Errorf("%v was told %q", n.id, s)
			}
			if r, ok := n.Lookup(4); !ok || r.State != directory.Dead {
				t.Errorf("%v knows %v, %v", n.id, r, ok)
			}
		}
		c.nodes = rest
	})
}

func TestFrozenServer(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, c *cluster) {
		time.Sleep(10 * time.Second)
		for i := range 8 {
			if i != 3 {
				c.memory.Cut(host(3), host(i))
			}
		}
		rest := slices.Delete(slices.Clone(c.nodes), 3, 4)
		t.Logf("seen by all after %v", await(t, 4*time.Second, rest...))
		time.Sleep(30 * time.Second)
		for i := range 8 {
			c.memory.Heal(host(3), host(i))
		}
		t.Logf("back after %v", await(t, 40*time.Second, c.nodes...))
		for _, n := range rest {
			if s := n.story(4); s != "JFJ" {
				t.Errorf("%v was told %q", n.id, s)
			}
		}
	})
}

func TestLeave(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, c *cluster) {
		leaver, rest := c.nodes[2], []*node{c.nodes[0], c.nodes[1], c.nodes[3]}
		began := time.Now()
		if err := leaver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		await(t, time.Millisecond, rest...)
		leaver.stop()
		time.Sleep(time.Minute)
		for _, n := range rest {
			if s := n.story(leaver.id); s != "JL" {
				t.Errorf("%v was told %q", n.id, s)
			}
		}
		c.nodes = rest
	})
}

// TestRestart starts a server again under its ID, at once and later.
func TestRestart(t *testing.T) {
	for _, pause := range []time.Duration{0, 10 * time.Second} {
		inBubble(t, 4, func(t *testing.T, c *cluster) {
			time.Sleep(2 * saveEvery)
			old := c.nodes[1]
			old.stop()
			time.Sleep(pause)
			if len(old.saved) != 3 {
				t.Fatalf("it remembers %v", old.saved)
			}
			c.nodes[1] = c.start(1, spec{incarnation: old.incarnation, remembered: old.saved})
			time.Sleep(time.Second)
			t.Logf("back after %v more", await(t, 5*time.Second, c.nodes...))
			for _, n := range []*node{c.nodes[0], c.nodes[2], c.nodes[3]} {
				if s := n.story(old.id); s != "JFJ" {
					t.Errorf("%v was told %q", n.id, s)
				}
			}
		})
	}
}

// TestReplaced starts a server again elsewhere, while the others have not
// noticed that its host lost power.
func TestReplaced(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, c *cluster) {
		old, rest := c.nodes[1], []*node{c.nodes[0], c.nodes[2], c.nodes[3]}
		for _, i := range []int{0, 2, 3} {
			c.memory.Cut(host(1), host(i))
		}
		old.stop()
		c.nodes[1] = c.start(9, spec{id: old.id, incarnation: old.incarnation})
		c.nodes[1].Seed(rest[0].addr, 0)
		await(t, 10*time.Second, c.nodes...)
		linked(t, 10*time.Second, c.nodes...)
		restarted := 0
		for _, n := range rest {
			if s := n.story(old.id); s != "JFJ" {
				t.Errorf("%v was told %q", n.id, s)
			}
			for _, e := range n.events {
				if e.Restarted {
					restarted++
				}
			}
		}
		if restarted == 0 {
			t.Error("nobody was told that the server restarted")
		}
		for _, i := range []int{0, 2, 3} {
			c.memory.Heal(host(1), host(i))
		}
	})
}

func TestCloneIsRefused(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		clone := c.start(9, spec{id: c.nodes[1].id})
		defer clone.stop()
		clone.Seed(c.nodes[0].addr, 0)
		if addr := <-clone.taken; addr != c.nodes[1].addr {
			t.Errorf("taken by %s", addr)
		}
		time.Sleep(time.Minute)
		await(t, 0, c.nodes...)
		for _, n := range c.nodes {
			if s := n.story(c.nodes[1].id); n != c.nodes[1] && s != "J" {
				t.Errorf("%v was told %q", n.id, s)
			}
		}
		select {
		case addr := <-c.nodes[1].taken:
			t.Errorf("the original stops for %s", addr)
		default:
		}
	})
}
