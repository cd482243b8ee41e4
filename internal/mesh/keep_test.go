package mesh

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// bringsBack cuts a node off until all others have declared it dead, and wants it
// back after that.
func (c *cluster) bringsBack(i int) {
	c.t.Helper()
	for j := range c.nodes {
		if j != i {
			c.memory.Cut(host(i), host(j))
		}
	}
	for j, n := range c.nodes {
		if j != i {
			eventually(c.t, 10*time.Second, func() bool { return len(n.ids()) == len(c.nodes)-1 }, func() {})
		}
	}
	for j := range c.nodes {
		if j != i {
			c.memory.Heal(host(i), host(j))
		}
	}
	await(c.t, 2*time.Minute, c.nodes...)
}

// TestRefutationWaitsForDisk lets a server come back from the dead more often
// than incarnations are kept for, while its disk hangs; when that answers again,
// what it told is kept.
func TestRefutationWaitsForDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.stop()
		hung := c.start(2, spec{disk: make(chan struct{})})
		c.nodes = append(c.nodes, hung)
		c.together()
		first := hung.Directory().Get(hung.id).Incarnation
		told := func() uint64 { return c.nodes[0].Directory().Get(hung.id).Incarnation }
		for told() <= first+Reserve {
			before := told()
			c.bringsBack(2)
			if told() == before {
				t.Fatalf("it came back as incarnation %d again", before)
			}
		}
		if hung.incarnation != Reserve {
			t.Fatalf("%d was kept by a disk that hangs", hung.incarnation)
		}
		close(hung.disk)
		synctest.Wait()
		if hung.incarnation < told() {
			t.Errorf("it told of %d, and kept %d", told(), hung.incarnation)
		}
	})
}

// TestIncarnationsAreKeptAhead wants what a server tells to be kept before.
func TestIncarnationsAreKeptAhead(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		n := c.nodes[2]
		writes := 0
		for last := n.incarnation; writes < 2; {
			c.bringsBack(2)
			synctest.Wait()
			n.mu.Lock()
			told, kept := c.nodes[0].Directory().Get(n.id).Incarnation, n.incarnation
			n.mu.Unlock()
			if told+Reserve/2 > kept {
				t.Fatalf("%d is told, and no more than %d is kept", told, kept)
			}
			if kept != last {
				last = kept
				writes++
			}
		}
	})
}

// TestKnownFarAheadIsKept starts a server from an old backup: its circuit knows it
// by an incarnation far beyond those that are kept.
func TestKnownFarAheadIsKept(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		old := c.nodes[2]
		if err := old.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		old.stop()
		c.nodes = c.nodes[:2]
		for _, incarnation := range []uint64{1000, 0} {
			n := c.start(2, spec{id: old.id, incarnation: incarnation})
			c.nodes = append(c.nodes[:2:2], n)
			c.together()
			synctest.Wait()
			told := c.nodes[0].Directory().Get(n.id).Incarnation
			if told < 1000 || n.incarnation < told+Reserve/2 {
				t.Errorf("%d is told, and %d kept", told, n.incarnation)
			}
			if incarnation > 0 {
				if err := n.Leave(t.Context()); err != nil {
					t.Fatal(err)
				}
				n.stop()
			}
		}
	})
}

// TestCloseWaitsForDisk closes a mesh whose disk hangs.
func TestCloseWaitsForDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stop()
		hung := c.start(1, spec{disk: make(chan struct{})})
		hung.do(func() { hung.raised(Reserve) })
		began := time.Now()
		hung.Close()
		if took := time.Since(began); took != keepTime {
			t.Errorf("it took %v", took)
		}
		close(hung.disk)
		<-hung.kept
		hung.stop()
	})
}

// TestLeaveWaitsForLock lets a server leave that is stuck.
func TestLeaveWaitsForLock(t *testing.T) {
	c := newCluster(t, 1)
	defer c.stop()
	n := c.nodes[0].Mesh
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- n.Leave(ctx) }()
	select {
	case err := <-left:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it left: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for longer than it may")
	}
}
