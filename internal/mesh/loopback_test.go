package mesh

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/transport"
)

// TestLoopback runs a circuit's life on real connections and the real clock.
// How soon things happen is TestLifeInTime's matter; the limit here only ends
// a test that hangs.
func TestLoopback(t *testing.T) {
	const limit = time.Minute
	life(t, limit, limit, func(int) (transport.Network, string) { return transport.TCP{}, "127.0.0.1:0" })
	buf := make([]byte, 1<<20)
	if left := string(buf[:runtime.Stack(buf, true)]); strings.Contains(left, "internal/mesh.(*") {
		t.Errorf("goroutines are left:\n%s", left)
	}
}

// TestLifeInTime runs the same life where time is simulated.
func TestLifeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := transport.NewMemory()
		life(t, 5*time.Second, time.Second, func(i int) (transport.Network, string) {
			return m.Host(host(i)), host(i) + ":11022"
		})
	})
}

// life lets eight servers join at once, kills one and lets one leave. They must
// agree within agree, and notice who is gone within notice.
func life(t *testing.T, agree, notice time.Duration, place func(i int) (network transport.Network, addr string)) {
	key := credential.NewKey()
	var nodes []*node
	for i := range 8 {
		network, addr := place(i)
		n := startNode(t, spec{key: key, id: circuit.ServerID(i + 1), network: network, addr: addr})
		defer n.stop()
		nodes = append(nodes, n)
		n.Seed(nodes[0].addr, 0)
	}
	t.Logf("exact views after %v", await(t, agree, nodes...))
	t.Logf("all linked after %v more", linked(t, agree, nodes...))

	killed, rest := nodes[3], append(nodes[:3:3], nodes[4:]...)
	killed.listener.Close() // as the end of a process: nobody listens, all connections break
	killed.stop()
	t.Logf("a killed server is gone for all after %v", await(t, notice, rest...))
	checkEnd(t, killed, "F", rest)
	if !slices.ContainsFunc(rest, func(n *node) bool { return n.wasRefused(killed.addr) }) {
		t.Error("it was given up although nobody found its port closed")
	}

	leaver, rest := rest[0], rest[1:]
	ctx, cancel := context.WithTimeout(t.Context(), notice)
	defer cancel()
	if err := leaver.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("a server that left is gone for all after %v", await(t, notice, rest...))
	checkEnd(t, leaver, "L", rest)
}

// checkEnd wants the last news of a server to be how it went.
func checkEnd(t *testing.T, gone *node, how string, rest []*node) {
	t.Helper()
	for _, n := range rest {
		if s := n.story(gone.id); !strings.HasSuffix(s, how) {
			t.Errorf("%v was told %q of %v", n.id, s, gone.id)
		}
	}
}
