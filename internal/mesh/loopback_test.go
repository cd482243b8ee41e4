package mesh

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/transport"
)

// TestLoopback runs eight servers on real connections and the real clock: all
// join at once, one is killed, one leaves, and nothing is left in the end.
func TestLoopback(t *testing.T) {
	key := credential.NewKey()
	var nodes []*node
	for i := range 8 {
		n := startNode(t, spec{key: key, id: circuit.ServerID(i + 1), network: transport.TCP{}, addr: "127.0.0.1:0"})
		nodes = append(nodes, n)
		n.Seed(nodes[0].addr, 0)
	}
	t.Logf("exact views after %v", await(t, 30*time.Second, nodes...))
	t.Logf("all linked after %v more", linked(t, 30*time.Second, nodes...))
	nodes[3].listener.Close() // as the end of a process: nobody listens, all connections break
	nodes[3].stop()
	rest := append(nodes[:3:3], nodes[4:]...)
	// It is milliseconds on an idle machine; how many is measured end to end.
	t.Logf("a killed server is gone for all after %v", await(t, 10*time.Second, rest...))
	if err := rest[0].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, 10*time.Second, rest[1:]...)
	for _, n := range rest {
		n.stop()
	}
	buf := make([]byte, 1<<20)
	if left := string(buf[:runtime.Stack(buf, true)]); strings.Contains(left, "internal/mesh.(*") {
		t.Errorf("goroutines are left:\n%s", left)
	}
}
