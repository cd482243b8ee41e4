package overlay

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// ringRig is a rig in a circuit of n others, of which it has just learnt. Their
// IDs are higher than its own, so that it is its turn to dial.
func ringRig(t *testing.T, n int) *rig {
	r := newRig(t)
	r.dir = r.dir.With(&directory.Record{ID: me, State: directory.Alive})
	rng := rand.New(rand.NewPCG(4, uint64(n)))
	for range n {
		p := peerN(circuit.ServerID(rng.Uint64()|1<<63), 1)
		r.dir = r.dir.With(&directory.Record{ID: p.ID, Address: p.Address, Instance: p.Instance, State: directory.Alive})
	}
	for m := range r.dir.All() {
		r.step(MemberUp{Peer: peerN(m.ID, 1), Directory: r.dir})
	}
	return r
}

// after returns the servers that follow this one on a ring.
func (r *rig) after(ring int) []Peer { return peersOf(r.dir.After(ring, me)) }

func peersOf(seq iter.Seq[*directory.Record]) []Peer {
	var list []Peer
	for m := range seq {
		list = append(list, peerN(m.ID, 1))
	}
	return list
}

// answer brings up all links that are being dialled, but those to the servers
// given, whose dials stay under way.
func (r *rig) answer(but ...Peer) {
	r.t.Helper()
	for dial := uint64(1); dial <= r.lastDial; dial++ {
		if d := r.dials[dial]; d != nil && !slices.ContainsFunc(but, func(p Peer) bool { return p.ID == d.member }) {
			r.dialled(dial, peerN(d.member, 1))
			r.receive(message{kind: kindAccept})
		}
	}
}

func (r *rig) dialling(p Peer) bool {
	for _, d := range r.dials {
		if d.member == p.ID {
			return true
		}
	}
	return false
}

// linkTo returns the number of the link in use.
func (r *rig) linkTo(p Peer) uint64 {
	r.t.Helper()
	if known := r.known(p.ID); known != nil && known.up != nil {
		return known.up.num
	}
	r.t.Fatalf("there is no link to %v", p.ID)
	return 0
}

func TestNeighboursAreThoseOfTheRings(t *testing.T) {
	for _, n := range []int{1, 8, 9, 10, 100, 3000} {
		r := ringRig(t, n)
		r.wait(0)
		want := ringNeighbours(r.dir, me)
		if len(r.dials) != len(want) {
			t.Errorf("%d others: %d dials for %d neighbours", n, len(r.dials), len(want))
		}
		r.answer()
		if got := r.Neighbours(); !slices.Equal(got, want) {
			t.Errorf("%d others: neighbours %v, want %v", n, got, want)
		}
		r.want(r.wait(time.Hour), "")
		if len(r.peers) != len(want) {
			t.Errorf("%d others: %d peers are kept for %d neighbours", n, len(r.peers), len(want))
		}
	}
}

// TestNewcomersAreLeftToSettle: a server that has links waits for a storm of
// joins to pass, and dials only those that are its neighbours then.
func TestNewcomersAreLeftToSettle(t *testing.T) {
	r := ringRig(t, 100)
	r.wait(0)
	r.answer()
	began, said := r.at, ""
	for r.at.Sub(began) < settleMin-2*time.Millisecond {
		said += r.admit(peerN(circuit.ServerID(r.at.UnixNano()), 1))
		said += r.wait(100 * time.Microsecond)
	}
	r.want(said, "")
	want := ringNeighbours(r.dir, me)
	dials := r.lastDial
	r.wait(settleMax)
	r.answer()
	for _, id := range want {
		if !slices.Contains(r.Neighbours(), id) {
			t.Errorf("no link to %v", id)
		}
	}
	if n := r.lastDial - dials; n > 2*directory.Rings || n == 0 {
		t.Errorf("%d dials in a storm of %d", n, r.members-100)
	}
}

// TestGoneCandidatesArePassedOver: while one candidate after the other refuses,
// the next one is dialled without delay.
func TestGoneCandidatesArePassedOver(t *testing.T) {
	r := ringRig(t, 1000)
	r.wait(0)
	line := r.after(0)
	r.answer(line[0])
	for i, p := range line[:maxReach] {
		if !r.dialling(p) {
			t.Fatalf("candidate %d is not dialled", i)
		}
		for dial, d := range r.dials {
			if d.member == p.ID {
				r.step(ConnectFailed{Dial: dial, Failure: Refused})
			}
		}
		r.answer(line[:maxReach+1]...)
	}
	if r.dialling(line[maxReach]) {
		t.Errorf("more than %d candidates are dialled", maxReach)
	}
}

// TestSilentCandidatesArePassedOver: while dials are without an answer, the
// search widens, and ends with the first link.
func TestSilentCandidatesArePassedOver(t *testing.T) {
	r := ringRig(t, 1000)
	r.wait(0)
	line := r.after(0)
	r.answer(line...)
	tried := func() int {
		return slices.IndexFunc(line, func(p Peer) bool { return !r.dialling(p) && r.known(p.ID) == nil })
	}
	for _, want := range []int{1, 2, 4, 8, 16} {
		if got := tried(); got != want {
			t.Fatalf("%d candidates are tried, want %d", got, want)
		}
		r.wait(patience)
	}
	if got := tried(); got != maxReach {
		t.Fatalf("%d candidates are tried, want %d", got, maxReach)
	}
	r.answer(line[:10]...)
	if p := r.known(line[10].ID); p == nil || p.up == nil {
		t.Error("there is no link to one that answers")
	}
	// Those before the first link are wanted, those behind it are not.
	for i, p := range line[:maxReach] {
		if wish := r.known(p.ID) != nil && r.known(p.ID).wish; wish != (i <= 10 || slices.Contains(ringNeighbours(r.dir, me), p.ID)) {
			t.Errorf("candidate %d is wanted: %v", i, wish)
		}
	}
}

// TestStandInsAreDialledSoon: whoever is wanted in another's stead may not know
// it, so that it is not left to it to dial, whatever its ID.
func TestStandInsAreDialledSoon(t *testing.T) {
	r := newRig(t)
	for id := circuit.ServerID(1); id < 40; id++ {
		r.admit(peerN(id, 1))
	}
	r.want(r.wait(patience-time.Millisecond), "")
	p := r.after(0)[1]
	if p.ID > me {
		t.Fatalf("%v has a higher ID: another case", p.ID)
	}
	r.wait(standMin)
	if r.dialling(p) {
		t.Errorf("%v is not given the time to dial", p.ID)
	}
	r.wait(standMax - standMin + time.Millisecond)
	if !r.dialling(p) {
		t.Errorf("%v is not dialled", p.ID)
	}
}

// TestDialsAreBounded: however many servers do not answer, no more than MaxDials
// are dialled at a time, and seeds and the lost have their turn.
func TestDialsAreBounded(t *testing.T) {
	r := ringRig(t, 5000)
	r.dismiss(r.after(0)[100], true)
	for i := range MaxSeeds {
		r.step(Seed{Address: fmt.Sprintf("a%d:1", i)})
	}
	tried := make(map[string]bool)
	r.wait(5 * time.Second)
	for range 10 {
		if r.busy[forMember] != maxMemberDials || r.busy[forSeed] != maxSeedDials || len(r.dials) > MaxDials {
			t.Fatalf("dials under way: %v", r.busy)
		}
		for dial := uint64(1); dial <= r.lastDial; dial++ {
			if d := r.dials[dial]; d != nil {
				tried[d.address] = true
				r.step(ConnectFailed{Dial: dial, Failure: Unreachable})
			}
		}
		r.wait(time.Second)
	}
	if n := len(tried); n < 2*directory.Rings*maxReach*9/10+MaxSeeds+1 {
		t.Errorf("%d addresses were tried", n)
	}
}

// release is a rig whose neighbour p became superfluous, for n newcomers stand
// between the two on the only ring on which it was one. The nearest is next.
// They are being dialled.
func release(t *testing.T, n int) (r *rig, p, next Peer) {
	r = ringRig(t, 100)
	r.wait(0)
	r.answer()
	id := circuit.ServerID(1 << 63)
	for ring := range directory.Rings {
		p = r.after(ring)[0]
		if r.wants(p, ring) {
			continue
		}
		for ; n > 0; id++ {
			if directory.Place(ring, id)-directory.Place(ring, me) < directory.Place(ring, p.ID)-directory.Place(ring, me) {
				r.admit(peerN(id, 1))
				n--
			}
		}
		r.wait(settleMax)
		return r, p, r.after(ring)[0]
	}
	t.Fatal("all are neighbours on several rings")
	return r, p, next
}

// wants reports whether p is a neighbour on other rings than one, or before this
// server on that.
func (r *rig) wants(p Peer, but int) bool {
	for ring := range directory.Rings {
		if peersOf(r.dir.Before(ring, me))[0] == p || ring != but && r.after(ring)[0] == p {
			return true
		}
	}
	return false
}

// TestSuperfluousLinkEnds tells rule O13's story.
func TestSuperfluousLinkEnds(t *testing.T) {
	withdrawn := func(t *testing.T) (*rig, Peer, uint64) {
		r, p, next := release(t, 1)
		link := r.linkTo(p)
		r.answer()
		r.want(r.wait(linger-time.Millisecond), "")
		r.want(r.wait(time.Millisecond), fmt.Sprintf("%d:want false", link))
		return r, next, link
	}
	t.Run("not while a neighbour is missing", func(t *testing.T) {
		r, p, _ := release(t, 3)
		if said := r.wait(2*patience - settleMax - time.Millisecond); strings.Contains(said, "want") {
			t.Errorf("the wish is withdrawn: %s", said)
		}
		// The search has come as far as p itself, so that nothing is missing.
		r.wait(patience)
		if k := r.known(p.ID); !k.wish || !k.mine {
			t.Error("it is not wanted in place of those that do not answer")
		}
	})
	t.Run("neither wants it", func(t *testing.T) {
		r, _, link := withdrawn(t)
		r.want(r.step(Receive{Link: link, Data: message{kind: kindWant}.encode()}), fmt.Sprintf("%d:bye, Down %d lost=false, Disconnect %d", link, link, link))
		r.want(r.wait(time.Hour), "")
	})
	t.Run("the peer withdraws first", func(t *testing.T) {
		r, p, _ := release(t, 1)
		link := r.linkTo(p)
		r.want(r.step(Receive{Link: link, Data: message{kind: kindWant}.encode()}), "")
		r.answer()
		r.want(r.wait(time.Hour), fmt.Sprintf("%d:want false, %d:bye, Down %d lost=false, Disconnect %d", link, link, link, link))
	})
	t.Run("the peer ends it", func(t *testing.T) {
		r, _, link := withdrawn(t)
		r.want(r.step(Receive{Link: link, Data: message{kind: kindBye}.encode()}), fmt.Sprintf("Down %d lost=false, Disconnect %d", link, link))
		r.want(r.wait(time.Hour), "")
	})
	t.Run("the peer ends it, and it is wanted again", func(t *testing.T) {
		r, _, _ := release(t, 1)
		r.answer()
		link := r.linkTo(peerN(ringNeighbours(r.dir, me)[0], 1))
		r.want(r.step(Receive{Link: link, Data: message{kind: kindBye}.encode()}), fmt.Sprintf("Down %d lost=false, Disconnect %d", link, link))
		if said := r.wait(settleMax); !strings.HasPrefix(said, "Connect") {
			t.Errorf("it is not dialled: %q", said)
		}
	})
	t.Run("the peer wants it", func(t *testing.T) {
		r, _, link := withdrawn(t)
		r.want(r.step(Receive{Link: link, Data: message{kind: kindWant, want: true}.encode()}), "")
		r.want(r.wait(time.Hour), "")
	})
	t.Run("it is wanted again", func(t *testing.T) {
		r, next, link := withdrawn(t)
		other := r.linkTo(next)
		r.want(r.dismiss(next, true), fmt.Sprintf("Down %d lost=false, Disconnect %d, %d:want true", other, other, link))
	})
	t.Run("it breaks, wanted or not", func(t *testing.T) {
		r, p, _ := release(t, 1)
		r.answer()
		link := r.linkTo(p)
		said := r.step(LinkDown{Link: link})
		r.want(said, fmt.Sprintf("Down %d lost=true, Connect %d %s", link, r.lastDial, p.Address))
		r.want(r.step(ConnectFailed{Dial: r.lastDial, Failure: Unreachable}), fmt.Sprintf("Unreached %d gone=false", p.ID))
		r.want(r.wait(time.Hour), "")
	})
	t.Run("it breaks at this end only", func(t *testing.T) {
		r, p, _ := release(t, 1)
		r.answer()
		r.step(LinkDown{Link: r.linkTo(p)})
		r.dialled(r.lastDial, p)
		r.want(r.receive(message{kind: kindRefuse, code: codeDuplicate, epoch: 99}), fmt.Sprintf("Disconnect %d", r.link))
		r.want(r.wait(firstRetry/2), fmt.Sprintf("Connect %d %s", r.lastDial, p.Address))
	})
}

// TestRingsMoveOnDuringDial: a connection to one that is no neighbour any more
// is closed before it is a link.
func TestRingsMoveOnDuringDial(t *testing.T) {
	r := ringRig(t, 100)
	r.wait(0)
	p := r.after(0)[0]
	for id := circuit.ServerID(1 << 63); slices.Contains(ringNeighbours(r.dir, me), p.ID); id++ {
		r.admit(peerN(id, 1))
	}
	for dial, d := range r.dials {
		if d.member == p.ID {
			r.want(r.dialled(dial, p), "Disconnect 1")
			return
		}
	}
	t.Error("it is not being dialled")
}

// TestSilentLinkCountsForNothing: a link that membership cannot hear is neither
// enough for the search nor reason to end others, until it is replaced.
func TestSilentLinkCountsForNothing(t *testing.T) {
	r := ringRig(t, 1000)
	r.wait(0)
	r.answer()
	r.wait(settleMax) // the storm in which all these came is over
	first, second := r.after(0)[0], r.after(0)[1]
	r.want(r.step(Redial{ID: first.ID}), fmt.Sprintf("Connect %d %s", r.lastDial, first.Address))
	r.want(r.wait(patience), fmt.Sprintf("Connect %d %s", r.lastDial, second.Address))
	r.answer(first)
	r.want(r.wait(linger), "")
	r.answer()
	said := r.wait(linger)
	r.want(said, fmt.Sprintf("%d:want false", r.linkTo(second)))
	// The fresh one does not come either, and the old one goes on all the same.
	r.step(Redial{ID: first.ID})
	r.step(ConnectFailed{Dial: r.lastDial, Failure: Unreachable})
	r.wait(doubtTime)
	if p := r.known(first.ID); !p.sound() {
		t.Error("the doubt does not end")
	}
}

func TestRedialOfNobody(t *testing.T) {
	r := ringRig(t, 20)
	r.wait(0)
	r.answer()
	r.want(r.step(Redial{ID: me}), "")
	far := slices.IndexFunc(r.after(0), func(p Peer) bool { return r.known(p.ID) == nil })
	p := r.after(0)[far]
	r.want(r.step(Redial{ID: p.ID}), fmt.Sprintf("Connect %d %s", r.lastDial, p.Address))
	r.want(r.step(ConnectFailed{Dial: r.lastDial, Failure: Refused}), fmt.Sprintf("Unreached %d gone=true", p.ID))
	r.want(r.wait(time.Hour), "")
}

// TestBatchOfNewsIsTakenAtOnce: a great number of joins and departures costs one
// choice of neighbours.
func TestBatchOfNewsIsTakenAtOnce(t *testing.T) {
	r := ringRig(t, 10_000)
	if len(r.peers) > 0 {
		t.Errorf("%d peers before the tick", len(r.peers))
	}
	if !r.Deadline().Equal(r.at) {
		t.Error("there is nothing to do")
	}
	r.wait(0)
	if n := len(r.dials); n > 2*directory.Rings {
		t.Errorf("%d dials", n)
	}
}
