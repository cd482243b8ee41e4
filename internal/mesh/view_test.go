package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
)

// TestPeersAreSavedWhenTheyChange: an idle circuit writes nothing, and a server
// that leaves is not remembered.
func TestPeersAreSavedWhenTheyChange(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, c *cluster) {
		time.Sleep(2 * saveEvery)
		n := c.nodes[0]
		saves := func() (times, peers int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.saves, len(n.saved)
		}
		before, peers := saves()
		if before == 0 || peers != 3 {
			t.Fatalf("%d peers after %d saves", peers, before)
		}
		time.Sleep(time.Hour)
		if after, _ := saves(); after != before {
			t.Errorf("an idle server saved %d times", after-before)
		}
		leaver := c.nodes[3]
		if err := leaver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaver.stop()
		c.nodes = c.nodes[:3]
		time.Sleep(2 * saveEvery)
		if after, peers := saves(); after != before+1 || peers != 2 {
			t.Errorf("%d peers after %d saves", peers, after-before)
		}
	})
}

// TestViewIsReadWithoutTheLock reads who is there while the lock is held.
func TestViewIsReadWithoutTheLock(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		n.Mesh.mu.Lock()
		defer n.Mesh.mu.Unlock()
		m, in := n.Member(2)
		if !in || m.ID != 2 || m.Address != c.nodes[1].addr || m.Version != "test" || m.Joined.IsZero() {
			t.Errorf("got %+v, %v", m, in)
		}
		if _, in := n.Member(99); in {
			t.Error("a stranger is a member")
		}
		if _, known := n.Lookup(99); known {
			t.Error("a stranger is known")
		}
		if r, known := n.Lookup(3); !known || !r.In() || n.Directory().Len() != 3 || len(n.Members()) != 3 {
			t.Errorf("got %+v, %v", r, known)
		}
	})
}

// TestTheDepartedAreForgotten looks one up that left long ago.
func TestTheDepartedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer func() { c.stop() }()
		c.together()
		gone := c.nodes[2]
		if err := gone.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone.stop()
		c.nodes = c.nodes[:2]
		known := func() bool { _, ok := c.nodes[0].Lookup(circuit.ServerID(3)); return ok }
		if time.Sleep(23 * time.Hour); !known() {
			t.Error("it is forgotten too early")
		}
		if time.Sleep(2 * time.Hour); known() {
			t.Error("it is not forgotten")
		}
	})
}
