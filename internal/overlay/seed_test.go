package overlay

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSeedReachesCircuit(t *testing.T) {
	r := newRig(t)
	p := peerN(60, 7)
	r.want(r.step(Seed{Address: "host60:1", Keep: true}), "Connect 1 host60:1")
	r.want(r.dialled(1, p), "SeedReached host60:1 60, 1:open")
	r.want(r.receive(message{kind: kindAccept}), "Up 1")
	r.want(r.admit(p), "")
	if got := r.Neighbours(); len(got) != 1 || got[0] != 60 {
		t.Errorf("neighbours %v", got)
	}
	r.want(r.wait(time.Hour), "")
	// It stays a target: gone, it is tried again. The member itself is, too.
	r.want(r.dismiss(p, true), "Down 1 lost=false, Disconnect 1")
	if s := r.wait(time.Second); !strings.Contains(s, "host60:1") {
		t.Errorf("a seed that failed is not tried again: %q", s)
	}
}

func TestSeedOnceIsForgotten(t *testing.T) {
	r := newRig(t)
	p := peerN(60, 7)
	r.want(r.step(Seed{Address: "name:1"}), "Connect 1 name:1")
	r.dialled(1, p)
	r.receive(message{kind: kindAccept})
	r.admit(p)
	r.dismiss(p, false)
	r.want(r.wait(time.Hour), "1:bye, Down 1 lost=false, Disconnect 1")
}

// TestSeedIsFoundByOthers: a server that joined by another way and says that a
// seed's address is its own need not be reached there.
func TestSeedIsFoundByOthers(t *testing.T) {
	r := newRig(t)
	r.step(Seed{Address: "host60:1"})
	r.step(ConnectFailed{Dial: 1, Failure: Unreachable})
	r.want(r.admit(peerN(60, 7)), "Connect 2 host60:1, SeedReached host60:1 60")
	r.step(ConnectFailed{Dial: 2, Failure: Unreachable})
	r.dismiss(peerN(60, 7), false)
	r.want(r.wait(time.Hour), "")
}

func TestSeedRetries(t *testing.T) {
	r := newRig(t)
	r.want(r.step(Seed{Address: "a:1"}), "Connect 1 a:1")
	r.want(r.step(ConnectFailed{Dial: 1, Failure: Refused}), "SeedFailed a:1 2")
	began, last, longest := r.at, r.at, time.Duration(0)
	for dial := uint64(2); r.at.Sub(began) < 10*time.Minute; dial++ {
		r.at = r.Deadline()
		r.want(r.step(Tick{}), fmt.Sprintf("Connect %d a:1", dial))
		wait := r.at.Sub(last)
		young := r.at.Sub(began) < early
		if wait < firstRetry/2 || wait > lateRetry || young && wait > earlyRetry {
			t.Fatalf("dial %d after %v, %v after the beginning", dial, wait, r.at.Sub(began))
		}
		longest = max(longest, wait)
		last = r.at
		// The same reason is said once.
		r.want(r.step(ConnectFailed{Dial: dial, Failure: Refused}), "")
	}
	if longest < lateRetry/2 {
		t.Errorf("the longest wait was %v", longest)
	}
	r.want(r.step(Unseed{Address: "a:1"}), "")
	if !r.Deadline().IsZero() {
		t.Error("there is something to do without a seed")
	}
}

func TestSeedOneself(t *testing.T) {
	r := newRig(t)
	r.want(r.step(Seed{Address: "self:1", Keep: true}), "Connect 1 self:1")
	r.want(r.dialled(1, peerN(me, 1)), "Disconnect 1, SeedReached self:1 50")
	r.want(r.step(LinkUp{Link: 9, Peer: peerN(me, 1)}), "Disconnect 9")
	r.want(r.wait(time.Hour), "")
}

func TestSeedsAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range MaxSeeds {
		r.step(Seed{Address: fmt.Sprintf("a%d:1", i)})
	}
	r.want(r.step(Seed{Address: "more:1"}), fmt.Sprintf("SeedFailed more:1 %d", TooMany))
}
