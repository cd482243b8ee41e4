package overlay

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// rig is a machine, its clock, and what it said.
type rig struct {
	*Machine
	t    *testing.T
	at   time.Time
	link uint64
	dir  directory.Directory
}

const me = circuit.ServerID(50)

func peerN(id circuit.ServerID, instance uint64) Peer {
	return Peer{ID: id, Address: fmt.Sprintf("host%d:1", id), Instance: instance}
}

func newRig(t *testing.T, remembered ...Peer) *rig {
	at := time.Unix(1000, 0)
	m := New(at, Config{Self: peerN(me, 1), Remembered: remembered, Rand: rand.New(rand.NewPCG(1, 2))})
	return &rig{Machine: m, t: t, at: at}
}

// step steps the machine and returns what it said, in short.
func (r *rig) step(in Input) string {
	r.t.Helper()
	return brief(r.Step(r.at, in))
}

// admit lets a server join and returns what was said, after the Tick that is
// due at once as well.
func (r *rig) admit(p Peer) string {
	r.t.Helper()
	r.dir = r.dir.With(&directory.Record{ID: p.ID, Address: p.Address, Instance: p.Instance, State: directory.Alive})
	return r.andTick(r.step(MemberUp{Peer: p, Directory: r.dir}))
}

// dismiss lets a server leave, or fail.
func (r *rig) dismiss(p Peer, failed bool) string {
	r.t.Helper()
	state := directory.Left
	if failed {
		state = directory.Dead
	}
	r.dir = r.dir.With(&directory.Record{ID: p.ID, Address: p.Address, Instance: p.Instance, State: state})
	return r.andTick(r.step(MemberDown{Peer: p, Failed: failed, Directory: r.dir}))
}

func (r *rig) andTick(said string) string {
	r.t.Helper()
	if next := r.wait(0); said == "" || next == "" {
		return said + next
	} else {
		return said + ", " + next
	}
}

// wait lets time pass, with Ticks when they are due, and returns what was said.
func (r *rig) wait(d time.Duration) string {
	r.t.Helper()
	var said []string
	end := r.at.Add(d)
	for n := 0; !r.Deadline().IsZero() && !r.Deadline().After(end); n++ {
		if n > 100000 {
			r.t.Fatal("the deadline does not move on")
		}
		if r.Deadline().After(r.at) {
			r.at = r.Deadline()
		}
		if s := r.step(Tick{}); s != "" {
			said = append(said, s)
		}
	}
	r.at = end
	return strings.Join(said, "; ")
}

// up brings a link with p up that the peer dialled, and asks for it.
func (r *rig) incoming(p Peer, epoch uint64) string {
	r.t.Helper()
	r.link++
	if s := r.step(LinkUp{Link: r.link, Peer: p}); s != "" {
		return s
	}
	return r.receive(message{kind: kindOpen, epoch: epoch})
}

// receive receives a message on the latest link.
func (r *rig) receive(msg message) string {
	r.t.Helper()
	return r.step(Receive{Link: r.link, Data: msg.encode()})
}

// dialled is the answer to a Connect: a link, or, with a zero peer, a failure.
func (r *rig) dialled(dial uint64, p Peer) string {
	r.t.Helper()
	r.link++
	return r.step(LinkUp{Link: r.link, Dial: dial, Peer: p})
}

// brief writes outputs as tests compare them.
func brief(outs []Output) string {
	var parts []string
	for _, out := range outs {
		name := strings.TrimPrefix(reflect.TypeOf(out).String(), "overlay.")
		switch out := out.(type) {
		case Connect:
			parts = append(parts, fmt.Sprintf("Connect %d %s", out.Dial, out.Address))
		case Send:
			msg, err := decode(out.Data)
			if err != nil {
				panic(err)
			}
			what := map[kind]string{kindOpen: "open", kindAccept: "accept", kindRefuse: "refuse", kindPing: "ping", kindPong: "pong", kindBye: "bye", kindWant: fmt.Sprintf("want %v", msg.want)}[msg.kind]
			if msg.code != 0 {
				what += map[code]string{codeDuplicate: " duplicate", codeTaken: " taken", codeLeaving: " leaving", codeBusy: " busy"}[msg.code]
			}
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d:%s %s", out.Link, what, msg.address)))
		case Up:
			parts = append(parts, fmt.Sprintf("Up %d", out.Link))
		case Down:
			parts = append(parts, fmt.Sprintf("Down %d lost=%v", out.Link, out.Lost))
		case Disconnect:
			parts = append(parts, fmt.Sprintf("Disconnect %d", out.Link))
		case Unreached:
			parts = append(parts, fmt.Sprintf("Unreached %d gone=%v", out.ID, out.Gone))
		case Replaced:
			parts = append(parts, fmt.Sprintf("Replaced %d/%d", out.ID, out.Old))
		case SeedReached:
			parts = append(parts, fmt.Sprintf("SeedReached %s %d", out.Address, out.ID))
		case SeedFailed:
			parts = append(parts, fmt.Sprintf("SeedFailed %s %d", out.Address, out.Failure))
		default:
			parts = append(parts, fmt.Sprintf("%s %+v", name, out))
		}
	}
	return strings.Join(parts, ", ")
}

func (r *rig) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLowerIDDials(t *testing.T) {
	r := newRig(t)
	r.want(r.admit(peerN(60, 1)), "Connect 1 host60:1")
	r.want(r.admit(peerN(40, 1)), "")
	began := r.at
	if d := r.Deadline().Sub(began); d < 500*time.Millisecond || d > time.Second {
		t.Errorf("the higher ID waits %v", d)
	}
	r.want(r.wait(time.Second), "Connect 2 host40:1")
}

func TestLostLinkIsDialledAtOnce(t *testing.T) {
	r := newRig(t)
	p := peerN(40, 1)
	r.want(r.incoming(p, 1), "1:accept, Up 1")
	r.admit(p)
	r.want(r.step(LinkDown{Link: 1}), "Down 1 lost=true, Connect 1 host40:1")
	r.want(r.step(ConnectFailed{Dial: 1, Failure: Refused}), "Unreached 40 gone=true")
	r.want(r.wait(400*time.Millisecond), "Connect 2 host40:1")
	r.want(r.step(ConnectFailed{Dial: 2, Failure: Unreachable}), "Unreached 40 gone=false")
}

func TestRedialReplacesTheLink(t *testing.T) {
	r := newRig(t)
	p := peerN(40, 1)
	r.incoming(p, 1)
	r.admit(p)
	r.want(r.step(Redial{ID: 40}), "Connect 1 host40:1")
	r.want(r.step(Redial{ID: 40}), "")
	r.want(r.dialled(1, p), "2:open")
	r.want(r.receive(message{kind: kindAccept}), "Down 1 lost=false, Disconnect 1, Up 2")
	// When the peer replaces it, the peer closes the old one, too.
	r.want(r.incoming(p, 3), "3:accept, Down 2 lost=false, Up 3")
	r.want(r.wait(openTime), "Disconnect 2")
}

// TestEpochsRise: whoever accepted a link of some epoch asks for its successor
// with a higher one.
func TestEpochsRise(t *testing.T) {
	r := newRig(t)
	p := peerN(60, 1)
	r.admit(p)
	r.incoming(p, 7)
	r.step(Redial{ID: 60})
	outs := r.Step(r.at, LinkUp{Link: 9, Dial: r.lastDial, Peer: p})
	if msg, _ := decode(outs[0].(Send).Data); msg.epoch != 8 {
		t.Errorf("asked with epoch %d", msg.epoch)
	}
}

// TestCrossing is about two servers that dial each other at the same time: they
// must agree on one link.
func TestCrossing(t *testing.T) {
	for _, c := range []struct {
		name  string
		other circuit.ServerID
		epoch uint64 // of the other's Open; ours is 1
		want  string
	}{
		{"ours wins by the lower ID", 60, 1, "2:refuse duplicate, Disconnect 2"},
		{"theirs wins by the lower ID", 40, 1, "2:accept, Disconnect 1, Up 2"},
		{"theirs wins by the higher epoch", 60, 2, "2:accept, Disconnect 1, Up 2"},
		{"ours wins by the higher epoch", 40, 0, "2:refuse duplicate, Disconnect 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p := peerN(c.other, 1)
			r.admit(p)
			r.wait(time.Second)
			r.want(r.dialled(1, p), "1:open")
			r.want(r.incoming(p, c.epoch), c.want)
		})
	}
}

func TestStaleOpenIsRefused(t *testing.T) {
	r := newRig(t)
	p := peerN(40, 1)
	r.incoming(p, 5)
	r.want(r.incoming(p, 5), "2:refuse duplicate, Disconnect 2")
	r.want(r.incoming(p, 6), "3:accept, Down 1 lost=false, Up 3")
}

// TestRefusedAsDuplicate: the peer still has a link that we lost. It says how
// far its epochs are, and the next try succeeds.
func TestRefusedAsDuplicate(t *testing.T) {
	r := newRig(t)
	p := peerN(60, 1)
	r.admit(p)
	r.dialled(1, p)
	r.want(r.receive(message{kind: kindRefuse, code: codeDuplicate, epoch: 4}), "Disconnect 1")
	r.want(r.wait(firstRetry/2), "Connect 2 host60:1")
	outs := r.Step(r.at, LinkUp{Link: 9, Dial: 2, Peer: p})
	if msg, _ := decode(outs[0].(Send).Data); msg.epoch != 5 {
		t.Errorf("asked with epoch %d", msg.epoch)
	}
}

func TestRestart(t *testing.T) {
	old, next := peerN(40, 1), peerN(40, 2)
	t.Run("it dials, at the same address", func(t *testing.T) {
		r := newRig(t)
		r.incoming(old, 1)
		r.admit(old)
		r.want(r.incoming(next, 1), "2:accept, Down 1 lost=false, Disconnect 1, Replaced 40/1, Up 2")
		r.want(r.dismiss(old, true), "")
		r.want(r.admit(next), "")
		r.want(r.wait(time.Hour), "")
	})
	t.Run("it is dialled", func(t *testing.T) {
		r := newRig(t)
		r.incoming(old, 1)
		r.admit(old)
		r.step(LinkDown{Link: 1})
		r.want(r.dialled(1, next), "2:open")
		r.want(r.receive(message{kind: kindAccept}), "Replaced 40/1, Up 2")
	})
}

// TestRestartBeginsAnew: the wish for a server that did not answer for a long
// time is a new one when it is back.
func TestRestartBeginsAnew(t *testing.T) {
	r := newRig(t)
	r.admit(peerN(60, 1))
	for range 20 {
		r.step(ConnectFailed{Dial: r.lastDial, Failure: Unreachable})
		r.wait(lateRetry)
	}
	r.step(ConnectFailed{Dial: r.lastDial, Failure: Unreachable})
	r.want(r.admit(peerN(60, 2)), fmt.Sprintf("Connect %d host60:1", r.lastDial))
}

// TestSuccessorIsAGuest: a server that was replaced, and whose next life nobody
// has heard of yet, has the time of a guest.
func TestSuccessorIsAGuest(t *testing.T) {
	old, next := peerN(40, 1), peerN(40, 2)
	r := newRig(t)
	r.admit(old)
	r.incoming(next, 1)
	r.want(r.dismiss(old, true), "")
	r.want(r.wait(guestTime), "1:bye, Down 1 lost=false, Disconnect 1")
}

// TestClone is about a server whose ID is that of a member, at another address.
func TestClone(t *testing.T) {
	old := peerN(40, 1)
	clone := Peer{ID: 40, Address: "elsewhere:1", Instance: 2}
	begin := func(t *testing.T) *rig {
		r := newRig(t)
		r.incoming(old, 1)
		r.admit(old)
		r.want(r.incoming(clone, 1), "1:ping")
		return r
	}
	t.Run("the first lives", func(t *testing.T) {
		r := begin(t)
		r.want(r.step(Receive{Link: 1, Data: message{kind: kindPong}.encode()}), "2:refuse taken host40:1, Disconnect 2")
	})
	t.Run("the first does not answer", func(t *testing.T) {
		r := begin(t)
		r.want(r.wait(challengeTime), "2:accept, Down 1 lost=false, Disconnect 1, Replaced 40/1, Up 2")
	})
	t.Run("the first is gone", func(t *testing.T) {
		r := begin(t)
		r.step(LinkDown{Link: 1})
		r.want(r.step(ConnectFailed{Dial: 1, Failure: Refused}), "Unreached 40 gone=true, 2:accept, Replaced 40/1, Up 2")
	})
	t.Run("the first has no link, and is dialled", func(t *testing.T) {
		r := newRig(t)
		r.admit(old)
		r.want(r.incoming(clone, 1), "Connect 1 host40:1")
		r.want(r.dialled(1, old), "1:refuse taken host40:1, Disconnect 1, 2:open")
	})
	t.Run("somebody else answers there", func(t *testing.T) {
		r := newRig(t)
		r.admit(old)
		r.incoming(clone, 1)
		r.want(r.dialled(1, Peer{ID: 40, Address: old.Address, Instance: 3}), "Disconnect 2")
		r.want(r.wait(100*time.Millisecond), "")
	})
	t.Run("one at a time", func(t *testing.T) {
		r := begin(t)
		r.want(r.incoming(Peer{ID: 40, Address: "third:1", Instance: 3}, 1), "3:refuse busy, Disconnect 3")
	})
	t.Run("it is us, and we are alone", func(t *testing.T) {
		r := newRig(t)
		r.step(Seed{Address: "a:1"})
		r.dialled(1, peerN(60, 1))
		r.want(r.receive(message{kind: kindRefuse, code: codeTaken, address: "x:1"}), "Disconnect 1, Taken {Address:x:1}")
		r.want(r.wait(time.Hour), "")
	})
	t.Run("it is us, and we have a circuit", func(t *testing.T) {
		r := newRig(t)
		r.incoming(old, 1)
		r.admit(old)
		r.step(Seed{Address: "a:1"})
		r.dialled(1, peerN(60, 1))
		r.want(r.receive(message{kind: kindRefuse, code: codeTaken, address: "x:1"}), "Disconnect 2, SeedFailed a:1 6")
	})
	t.Run("we dialled it ourselves", func(t *testing.T) {
		r := newRig(t)
		r.step(Seed{Address: "a:1"})
		r.want(r.dialled(1, Peer{ID: me, Address: "a:1", Instance: 9}), "Disconnect 1, Taken {Address:a:1}")
	})
}

func TestGuestHasAMinute(t *testing.T) {
	r := newRig(t)
	r.incoming(peerN(40, 1), 1)
	r.want(r.wait(guestTime-time.Second), "")
	r.want(r.wait(time.Second), "1:bye, Down 1 lost=false, Disconnect 1")
}

func TestMuteLinkIsClosed(t *testing.T) {
	r := newRig(t)
	r.step(LinkUp{Link: 1, Peer: peerN(40, 1)})
	r.want(r.wait(openTime), "Disconnect 1")
	r.admit(peerN(60, 1))
	r.dialled(1, peerN(60, 1))
	r.want(r.wait(openTime), "Disconnect 1, Unreached 60 gone=false, Connect 2 host60:1")
}

// TestTooManyLinks: a server that can have no more does not try again and again.
func TestTooManyLinks(t *testing.T) {
	r := newRig(t)
	for i := range uint64(MaxLinks) {
		r.step(LinkUp{Link: 10 + i, Peer: peerN(circuit.ServerID(1000+i), 1)})
	}
	r.link = 10 + MaxLinks
	r.want(r.admit(peerN(60, 1)), "Connect 1 host60:1")
	r.want(r.dialled(1, peerN(60, 1)), fmt.Sprintf("Disconnect %d", 11+MaxLinks))
	r.want(r.wait(firstRetry/2-time.Millisecond), "")
	r.want(r.wait(firstRetry/2+time.Millisecond), "Connect 2 host60:1")
}

func TestLeaving(t *testing.T) {
	r := newRig(t)
	r.incoming(peerN(40, 1), 1)
	r.step(Seed{Address: "a:1", Keep: true})
	r.want(r.step(Leave{}), "")
	r.want(r.step(ConnectFailed{Dial: 1, Failure: Refused}), "SeedFailed a:1 2")
	r.want(r.incoming(peerN(60, 1), 1), "Disconnect 2")
	r.want(r.step(LinkDown{Link: 1}), "Down 1 lost=true")
	r.want(r.wait(time.Hour), "")
}

func TestStrayInputs(t *testing.T) {
	r := newRig(t)
	for _, in := range []Input{
		LinkDown{Link: 3}, ConnectFailed{Dial: 3}, Receive{Link: 3, Data: []byte("x")}, MemberDown{Peer: peerN(3, 3)},
		Redial{ID: 3}, Unseed{Address: "a:1"}, MemberUp{Peer: peerN(me, 1)}, Tick{},
	} {
		r.want(r.step(in), "")
	}
	r.want(r.step(LinkUp{Link: 1, Dial: 77, Peer: peerN(3, 3)}), "Disconnect 1")
	if len(r.peers) != 0 || len(r.links) != 0 {
		t.Errorf("%d peers and %d links are left", len(r.peers), len(r.links))
	}
}
