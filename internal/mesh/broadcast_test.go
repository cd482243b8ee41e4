package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/membership"
)

// received returns what the node has heard.
func (n *node) received() []heard {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.heard)
}

// TestBroadcastOrder lets all servers broadcast at once, and answer what they
// hear.
func TestBroadcastOrder(t *testing.T) {
	inBubble(t, 6, func(t *testing.T, c *cluster) {
		const each = 20
		var talkers sync.WaitGroup
		for _, n := range c.nodes {
			talkers.Go(func() {
				for i := range each {
					// What this server has heard is a cause of what it says.
					said := fmt.Sprintf("%d of %d after", i, n.id)
					for _, h := range n.received() {
						said += fmt.Sprintf(" %d/%d", h.origin, h.number)
					}
					if err := n.Broadcast(t.Context(), []byte(said)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		talkers.Wait()
		synctest.Wait()
		for _, n := range c.nodes {
			got := n.received()
			if len(got) != 5*each {
				t.Errorf("%v heard %d of %d", n.id, len(got), 5*each)
			}
			last := make(map[circuit.ServerID]uint64)
			count := make(map[circuit.ServerID]int)
			known := make(map[string]bool)
			for _, h := range got {
				if h.number <= last[h.origin] || !strings.HasPrefix(h.data, fmt.Sprintf("%d of %d after", count[h.origin], h.origin)) {
					t.Fatalf("%v heard %v as number %d of its origin", n.id, h, count[h.origin])
				}
				last[h.origin], count[h.origin] = h.number, count[h.origin]+1
				_, causes, _ := strings.Cut(h.data, " after")
				for _, cause := range strings.Fields(causes) {
					if !known[cause] && !strings.HasPrefix(cause, fmt.Sprintf("%d/", n.id)) {
						t.Fatalf("%v heard %v before its cause %v", n.id, h, cause)
					}
				}
				known[fmt.Sprintf("%d/%d", h.origin, h.number)] = true
			}
		}
	})
}

// TestBroadcastWaitsForRoom broadcasts much more than the queues of links hold.
func TestBroadcastWaitsForRoom(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		data := make([]byte, membership.MaxData)
		const many = 3 * maxQueueBytes / membership.MaxData
		for range many {
			if err := c.nodes[0].Broadcast(t.Context(), data); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, n := range c.nodes[1:] {
			if got := len(n.received()); got != many {
				t.Errorf("%v heard %d of %d", n.id, got, many)
			}
		}
		c.checkNoDeaths(t)
		// A neighbour that does not read holds it up only until ctx ends.
		c.memory.Cut(host(0), host(2))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var err error
		for range many {
			if err = c.nodes[0].Broadcast(ctx, data); err != nil {
				break
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.memory.Heal(host(0), host(2))
	})
}

func TestBroadcastErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.nodes[0]
		if err := n.Broadcast(t.Context(), make([]byte, membership.MaxData+1)); circuit.KindOf(err) != circuit.Invalid {
			t.Errorf("too much: %v", err)
		}
		if err := n.Broadcast(t.Context(), []byte("to nobody")); err != nil {
			t.Error(err)
		}
		c.stop()
		if err := n.Broadcast(t.Context(), []byte("too late")); circuit.KindOf(err) != circuit.Unreachable {
			t.Errorf("closed: %v", err)
		}
	})
}
