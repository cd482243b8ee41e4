package membership

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestEvents(t *testing.T) {
	again := func(n uint64) *entry { e := with(rec(60), n, alive); return &e }
	said := func(number uint64, e *entry) message {
		return message{kind: kindEvent, event: &event{origin: 60, number: number, record: e}}
	}
	const first = 1<<epochBits + 2 // after the one by which it joined
	r := circle(t, 60, 70, 80)
	r.want(r.receive(60, said(first, again(2))), "70 80:event(60@2 alive)")
	r.want(r.receive(70, said(first, again(2))), "")
	r.want(r.receive(70, said(first+1, again(3))), "60 80:event(60@3 alive)")
	if r.Gaps() != 0 {
		t.Fatalf("%d gaps", r.Gaps())
	}
	// One is missing: it is not taken, but asked for. Not too often.
	r.at = r.at.Add(resyncTime)
	r.want(r.receive(80, said(first+3, again(5))), "80:resync")
	r.want(r.receive(80, said(first+4, again(6))), "")
	if r.Gaps() != 2 || r.dir.Get(60).Incarnation != 3 {
		t.Errorf("%d gaps, incarnation %d", r.Gaps(), r.dir.Get(60).Incarnation)
	}
	// A new life numbers its events anew.
	r.want(r.receive(60, said(7<<epochBits+1, again(8))), "70 80:event(60@8 alive)")
	// What its last life said, and is overtaken, is news all the same.
	gone := with(rec(70), 1, left)
	r.want(r.receive(80, said(first+2, &gone)), "Left 70@1 left, 60 70:event(70@1 left)")
	r.want(r.receive(60, said(first+2, &gone)), "")
	// Of a server that nobody told us of, unless it introduces itself.
	r.receive(60, message{kind: kindEvent, event: &event{origin: 99, number: 1, record: again(9)}})
	if r.Gaps() != 3 {
		t.Errorf("%d gaps", r.Gaps())
	}
	self := rec(99)
	r.want(r.receive(60, message{kind: kindEvent, event: &event{origin: 99, number: 1<<epochBits + 1, record: &self}}),
		"Joined 99@1, 70 80:event(99@1 alive)")
	r.want(r.receive(70, message{kind: kindEvent, event: &event{origin: 99, number: 1<<epochBits + 1, record: &self}}), "")
}

// TestUnknownPassesThrough: what a later version says reaches its like through
// this one unchanged.
func TestUnknownPassesThrough(t *testing.T) {
	r := circle(t, 60, 70)
	e := with(rec(60), 2, alive)
	e.Extra = string(protowire.AppendString(protowire.AppendTag(nil, 40, protowire.BytesType), "later"))
	for _, o := range r.tell(60, e) {
		if s, ok := o.(Send); ok && s.Link == 70 {
			if msg, _ := decode(s.Data); len(msg.records) != 1 || msg.records[0].Extra != e.Extra {
				t.Errorf("%+v was passed on", msg)
			}
		}
	}
	if got := r.dir.Get(60); got.Extra != e.Extra {
		t.Errorf("%q is kept", got.Extra)
	}
	// An event of a kind that is not known.
	body := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 60)
	body = protowire.AppendVarint(protowire.AppendTag(body, 2, protowire.VarintType), 1<<epochBits+2)
	body = protowire.AppendString(protowire.AppendTag(body, 33, protowire.BytesType), "news")
	data := protowire.AppendBytes(protowire.AppendTag(nil, kindEvent, protowire.BytesType), body)
	outs := r.Step(r.at, Receive{Link: 60, Data: data})
	if len(outs) != 1 || outs[0].(Send).Link != 70 || !bytes.Equal(outs[0].(Send).Data, data) {
		t.Errorf("an unknown event became %+v", outs)
	}
	if len(r.recent.list) != 1 {
		t.Error("it is not kept for who was cut off")
	}
	// A message of a kind that is not known is for neighbours only.
	r.want(r.Step(r.at, Receive{Link: 60, Data: protowire.AppendBytes(protowire.AppendTag(nil, 40, protowire.BytesType), body)}), "")
}

func TestNews(t *testing.T) {
	r := circle(t, 60, 70, 80)
	// Only news are passed on, and not to where they came from.
	r.want(r.tell(80, rec(60), rec(80), rec(30), rec(90)), "Joined 30@1, Joined 90@1, 60 70:news(30@1 alive 90@1 alive)")
	r.want(r.tell(60, rec(30), rec(90)), "")
	// How far events are known is news as well.
	known := rec(90)
	known.Events = 1<<epochBits + 7
	r.want(r.tell(80, known), "60 70:news(90@1 alive)")
	if got := r.dir.Get(90).Events; got != known.Events {
		t.Errorf("events of 90 are known up to %x", got)
	}
	r.want(r.tell(70, known), "")
	// In parts, it is taken in with the last.
	r.want(r.receive(80, message{kind: kindNews, more: true, records: []entry{rec(91)}}), "")
	r.want(r.tell(80, rec(92)), "Joined 91@1, Joined 92@1, 60 70:news(91@1 alive 92@1 alive)")
}

func TestBroadcast(t *testing.T) {
	r := newRig(t)
	r.want(r.Step(r.at, Broadcast{Data: []byte("nobody")}), "") // it has not joined
	r.want(r.link(60), "60:root(0), 60:synced, 60:event(50@1 alive)")
	r.want(r.Step(r.at, Broadcast{Data: []byte("hear")}), `60:event("hear")`)
	r.want(r.Step(r.at, Broadcast{}), `60:event("")`)
	r.want(r.Step(r.at, Broadcast{Data: make([]byte, MaxData+1)}), "")
	r.number[60] = 1 << epochBits
	r.says(60, rec(60))
	r.link(70)
	answer := message{kind: kindEvent, event: &event{origin: 60, number: 1<<epochBits + 2, data: []byte("yes")}}
	r.want(r.receive(60, answer), `70:event("yes"), Deliver 60 "yes"`)
	r.want(r.receive(70, answer), "")
	r.Step(r.at, Leave{})
	r.want(r.Step(r.at, Broadcast{Data: []byte("late")}), "")

	// Who has not joined yet passes on what it is not meant to get.
	r = newRig(t)
	r.Step(r.at, LinkUp{Link: 60, ID: 60, Instance: 60})
	r.receive(60, message{kind: kindRoot, count: 1, digest: 9})
	r.hears(60, 60, rec(60), false)
	answer.event.number = 2
	r.receive(60, answer)
	r.want(r.receive(60, message{kind: kindRecords, prefixes: make([]prefix, 1)}), "60:synced, Joined 60@1, 60:event(50@1 alive)")
}

// TestRecentIsBounded: events that are kept for those who were cut off go.
func TestRecentIsBounded(t *testing.T) {
	r := circle(t, 60)
	for range maxRecent + 5 {
		r.Step(r.at, Broadcast{Data: []byte("a")})
	}
	if n := len(r.recent.list); n != maxRecent {
		t.Errorf("%d are kept", n)
	}
	for range 2 * recentBytes / MaxData {
		r.Step(r.at, Broadcast{Data: make([]byte, MaxData)})
	}
	if r.recent.bytes > recentBytes {
		t.Errorf("%d bytes are kept", r.recent.bytes)
	}
	r.at = r.at.Add(recentTime + time.Second)
	r.now = r.at
	if n := r.recent.count(r.now); n != 0 || r.recent.bytes != 0 {
		t.Errorf("%d are kept, of %d bytes", n, r.recent.bytes)
	}
}

func TestLeave(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.Step(r.at, Leave{}), "60 70:event(50@1 left)")
	r.want(r.Step(r.at, Leave{}), "")
	r.want(r.tell(60, with(rec(me), 1, dead)), "") // nothing to refute any more
	r.want(r.says(70, rec(80)), "60:event(80@1 alive), Joined 80@1")
	r.want(r.Step(r.at, LinkDown{Link: 60}), "")
	r.want(r.Step(r.at, LinkDown{Link: 70}), "Departed")
	r.want(r.wait(time.Minute), "")

	r = circle(t, 60)
	r.Step(r.at, Leave{})
	r.want(r.wait(leaveTime-time.Millisecond), "")
	r.want(r.wait(time.Millisecond), "Departed")

	r = newRig(t)
	r.want(r.Step(r.at, Leave{}), "Departed")

	r = newRig(t) // nobody knows of it yet
	r.Step(r.at, LinkUp{Link: 60, ID: 60, Instance: 60})
	r.want(r.Step(r.at, Leave{}), "Departed")
}

// TestClaimTravelsWithNews: a batch that says that this server is dead is passed
// on as a whole, with that, and refuted then: what else it says may have been
// said by somebody who knew of that death.
func TestClaimTravelsWithNews(t *testing.T) {
	r := circle(t, 60, 70, 80, 90)
	r.want(r.tell(60, with(rec(80), 1, left), with(rec(me), 1, dead), with(rec(90), 1, left)),
		"Left 80@1 left, Left 90@1 left, 70 80 90:news(80@1 left 50@1 dead 90@1 left), Persist 2, 60 70 80 90:event(50@2 alive)")
}

// TestClaimWhileHeldBack: a server that holds its refutation back tells new
// neighbours, too, that it is said to be dead.
func TestClaimWhileHeldBack(t *testing.T) {
	r := circle(t, 60, 70)
	for n := range uint64(flapDeaths) {
		r.tell(60, with(rec(me), n+1, dead))
	}
	suspected, said := with(rec(me), flapDeaths+1, suspect), with(rec(me), flapDeaths+1, dead)
	r.lateUntil = r.at.Add(time.Second) // it was late, so that a suspicion counts like a death
	r.want(r.tell(60, suspected), "70:news(50@4 suspect)")
	r.want(r.tell(60, said), "70:news(50@4 dead)") // worse than what was held back so far
	r.want(r.tell(70, said), "")
	r.want(r.link(90), "90:root(2), 90:synced")
	r.want(r.receive(90, message{kind: kindAsk, prefixes: make([]prefix, 1)}), "90:records(* 50@4 dead 70@1 alive 60@1 alive)")
	r.Step(r.at, LinkDown{Link: 60})
	r.Step(r.at, LinkDown{Link: 70})
	if out := brief(r.wait(flapHold)); !strings.Contains(out, "Persist 5, 90:event(50@5 alive)") {
		t.Errorf("not refuted: %q", out)
	}
}

// TestNewcomerWhoseIDIsKnown: what the circuit thinks of its last life is
// answered by the event with which it joins.
func TestNewcomerWhoseIDIsKnown(t *testing.T) {
	r := newRig(t)
	r.Step(r.at, LinkUp{Link: 60, ID: 60, Instance: 60})
	r.receive(60, message{kind: kindRoot, count: 2, digest: 9})
	old := with(rec(me), 4, dead)
	r.want(r.receive(60, message{kind: kindRecords, prefixes: make([]prefix, 1), records: []entry{rec(60), old}}),
		"60:synced, Joined 60@1, Persist 5, 60:event(50@5 alive)")
}
