package membership

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
)

func TestEvents(t *testing.T) {
	again := func(n uint64) *entry { e := with(rec(60), n, StateAlive); return &e }
	event := func(seq uint64, e *entry) message {
		return message{kind: kindEvent, origin: 60, seq: seq, record: e}
	}
	r := circle(t, 60, 70, 80)
	r.want(r.receive(60, event(1, again(2))), "70 80:event(60@2 alive)")
	r.want(r.receive(70, event(1, again(2))), "")
	r.want(r.receive(70, event(2, again(3))), "60 80:event(60@3 alive)")
	if r.Gaps() != 0 {
		t.Fatalf("%d gaps", r.Gaps())
	}
	// One is missing: it is not taken, but asked for. Not too often.
	r.at = r.at.Add(resyncTime)
	r.want(r.receive(80, event(4, again(5))), "80:dir(50@1 alive 60@3 alive 70@1 alive 80@1 alive)reply")
	r.want(r.receive(80, event(5, again(6))), "")
	if r.Gaps() != 2 || r.all[60].Incarnation != 3 {
		t.Errorf("%d gaps, incarnation %d", r.Gaps(), r.all[60].Incarnation)
	}
	// A new life numbers its events anew.
	r.want(r.receive(60, event(7<<epochBits+1, again(8))), "70 80:event(60@8 alive)")
	// Of a server that nobody told us of.
	r.receive(60, message{kind: kindEvent, origin: 99, seq: 1, record: again(9)})
	if r.Gaps() != 3 {
		t.Errorf("%d gaps", r.Gaps())
	}
}

// TestUnknownPassesThrough: what a later version says reaches its like through
// this one unchanged.
func TestUnknownPassesThrough(t *testing.T) {
	r := circle(t, 60, 70)
	e := with(rec(60), 2, StateAlive)
	e.extra = string(protowire.AppendString(protowire.AppendTag(nil, 40, protowire.BytesType), "later"))
	for _, o := range r.tell(60, e) {
		if s, ok := o.(Send); ok && s.Link == 70 {
			if msg, _ := decode(s.Data); len(msg.records) != 1 || msg.records[0].extra != e.extra {
				t.Errorf("%+v was passed on", msg)
			}
		}
	}
	if got := r.told(r.all[60]); got.extra != e.extra {
		t.Errorf("%q is kept", got.extra)
	}
	// An event of a kind that is not known.
	body := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 60)
	body = protowire.AppendVarint(protowire.AppendTag(body, 2, protowire.VarintType), 1)
	body = protowire.AppendString(protowire.AppendTag(body, 33, protowire.BytesType), "news")
	data := protowire.AppendBytes(protowire.AppendTag(nil, kindEvent, protowire.BytesType), body)
	outs := r.Step(r.at, Receive{Link: 60, Data: data})
	if len(outs) != 1 || outs[0].(Send).Link != 70 || !bytes.Equal(outs[0].(Send).Data, data) {
		t.Errorf("an unknown event became %+v", outs)
	}
	// A message of a kind that is not known is for neighbours only.
	r.want(r.Step(r.at, Receive{Link: 60, Data: protowire.AppendBytes(protowire.AppendTag(nil, 20, protowire.BytesType), body)}), "")
}

func TestDirectory(t *testing.T) {
	r := circle(t, 60, 70)
	// A new link begins with all that is known, in the order in which it was
	// learnt.
	r.tell(70, with(rec(40), 1, StateLeft), rec(30))
	r.want(r.Step(r.at, LinkUp{Link: 80, ID: 80, Instance: 80}),
		"80:dir(50@1 alive 60@1 alive 70@1 alive 40@1 left 30@1 alive)")
	// Only news are passed on, and not to where they came from.
	r.want(r.tell(80, rec(60), rec(80), rec(30), rec(90)), "Joined 80@1, Joined 90@1, 60 70:dir(80@1 alive 90@1 alive)")
	// How far events are known is news as well.
	known := rec(90)
	known.seq = 7
	r.want(r.tell(80, known), "60 70:dir(90@1 alive)")
	if r.all[90].seq != 7 {
		t.Errorf("events of 90 are known up to %d", r.all[90].seq)
	}
	// In parts, it is taken in with the last.
	r.want(r.receive(80, message{kind: kindDirectory, more: true, records: []entry{rec(91)}}), "")
	r.want(r.receive(80, message{kind: kindDirectory, reply: true, records: []entry{rec(92)}}),
		"Joined 91@1, Joined 92@1, 60 70:dir(91@1 alive 92@1 alive), "+
			"80:dir(50@1 alive 60@1 alive 70@1 alive 40@1 left 30@1 alive 80@1 alive 90@1 alive 91@1 alive 92@1 alive)")
}

func TestLongDirectory(t *testing.T) {
	r := newRig(t)
	const n = 2*partRecords + 10
	for i := range n {
		r.learn(rec(circuit.ServerID(1000+i)), true)
	}
	r.out = nil
	other := &rig{Machine: New(r.at, Config{Self: rec(7).Record, Rand: r.cfg.Rand}), t: t, at: r.at}
	other.Step(other.at, LinkUp{Link: 50, ID: 50, Instance: 50})
	parts := 0
	for _, o := range r.Step(r.at, LinkUp{Link: 1, ID: 7, Instance: 7}) {
		if s, ok := o.(Send); ok {
			parts++
			if len(s.Data) > maxMessage {
				t.Errorf("a part of %d bytes", len(s.Data))
			}
			other.Step(other.at, Receive{Link: 50, Data: s.Data})
		}
	}
	if got := len(other.Members()); parts != 3 || got != n+2 {
		t.Errorf("%d parts, %d servers", parts, got)
	}
}

func TestDigestsThatDiffer(t *testing.T) {
	r := circle(t, 60)
	r.pulse(60, time.Hour)
	differs := message{kind: kindPulse, next: 3_600_000, digest: [2]uint64{1, 2}, quiet: 60_000}
	r.want(r.receive(60, differs), "") // ours has just changed
	r.wait(resyncTime)
	early := differs
	early.quiet = 100
	r.want(r.receive(60, early), "") // theirs has just changed
	r.want(r.receive(60, differs), "60:dir(50@1 alive 60@1 alive)reply")
	r.want(r.receive(60, differs), "") // not again so soon
	r.wait(resyncTime)
	r.want(r.pulse(60, time.Hour), "") // they are the same
	r.want(r.receive(60, differs), "60:dir(50@1 alive 60@1 alive)reply")
}

func TestLeave(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.Step(r.at, Leave{}), "60 70:event(50@1 left)")
	r.want(r.Step(r.at, Leave{}), "")
	r.want(r.tell(60, with(rec(me), 1, StateDead)), "") // nothing to refute any more
	r.want(r.Step(r.at, LinkDown{Link: 60}), "")
	r.want(r.Step(r.at, LinkDown{Link: 70}), "Departed")
	r.want(r.wait(time.Minute), "")

	r = circle(t, 60)
	r.Step(r.at, Leave{})
	r.want(r.wait(leaveTime-time.Millisecond), "")
	r.want(r.wait(time.Millisecond), "Departed")

	r = newRig(t)
	r.want(r.Step(r.at, Leave{}), "Departed")
}

// TestClaimTravelsWithNews: a directory that says that this server is dead is
// passed on as a whole, with that, and refuted then: what else it says may have
// been said by somebody who knew of that death.
func TestClaimTravelsWithNews(t *testing.T) {
	r := circle(t, 60, 70, 80, 90)
	r.want(r.tell(60, with(rec(80), 1, StateLeft), with(rec(me), 1, StateDead), with(rec(90), 1, StateLeft)),
		"Left 80@1 left, Left 90@1 left, 70 80 90:dir(80@1 left 50@1 dead 90@1 left), Persist 2, 60 70 80 90:event(50@2 alive)")
}

// TestClaimWhileHeldBack: a server that holds its refutation back tells new
// neighbours, too, that it is said to be dead.
func TestClaimWhileHeldBack(t *testing.T) {
	r := circle(t, 60, 70)
	for n := range uint64(flapDeaths) {
		r.tell(60, with(rec(me), n+1, StateDead))
	}
	said := with(rec(me), flapDeaths+1, StateDead)
	r.want(r.tell(60, said), "70:dir(50@4 dead)")
	r.want(r.tell(70, said), "")
	r.want(r.Step(r.at, LinkUp{Link: 90, ID: 90, Instance: 90}), "90:dir(50@4 dead 60@1 alive 70@1 alive)")
	r.Step(r.at, LinkDown{Link: 60})
	r.Step(r.at, LinkDown{Link: 70})
	if out := brief(r.wait(flapHold)); !strings.Contains(out, "Persist 5, 90:event(50@5 alive)") {
		t.Errorf("not refuted: %q", out)
	}
}
