package subscription

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/anchor"
)

const self = circuit.ServerID(0x56e7a2a0d47a7b5d)

// tb is what a test of either kind can do.
type tb interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// world is a service without a wire, driven step by step.
type world struct {
	tb
	s *Service
}

func newWorld(t tb, cfg Config) *world {
	cfg.Tree = anchor.New(anchor.Config{Self: self})
	cfg.Self = circuit.Member{ID: self, Address: "self:1"}
	return &world{tb: t, s: NewService(cfg)}
}

func event(change circuit.Change, id int) circuit.Event {
	return circuit.Event{Change: change, Path: circuit.ServerID(id).Path(), Address: strconv.Itoa(id)}
}

// join, leave and fail tell of servers with small IDs.
func (w *world) join(ids ...int)  { w.tell(circuit.Joined, ids) }
func (w *world) leave(ids ...int) { w.tell(circuit.Left, ids) }
func (w *world) fail(ids ...int)  { w.tell(circuit.Failed, ids) }

func (w *world) tell(change circuit.Change, ids []int) {
	for _, id := range ids {
		w.s.Tell(event(change, id))
	}
}

func (w *world) subscribe(kind circuit.Kind) *hot {
	w.Helper()
	sub, err := w.s.subscribe(kind)
	if err != nil {
		w.Fatalf("%v", err)
	}
	return &hot{tb: w.tb, sub: sub}
}

// hot is a subscription whose receivers are driven step by step.
type hot struct {
	tb
	sub *Subscription
}

// recv is a Recv call and what came of it.
type recv struct {
	*hot
	r    *receiver
	got  []string // as brief has it
	sure uint64
	end  error
}

func (h *hot) open(credit uint32) *recv {
	h.Helper()
	r, err := h.sub.open()
	if err != nil {
		h.Fatalf("%v", err)
	}
	rc := &recv{hot: h, r: r}
	rc.request(credit, 0)
	return rc
}

func (r *recv) request(credit uint32, ack uint64) {
	r.Helper()
	if err := r.r.request(credit, ack); err != nil {
		r.Fatalf("request: %v", err)
	}
	r.check()
}

// poll takes what there is to be written.
func (r *recv) poll() {
	r.Helper()
	for {
		d, ok, err := r.r.take()
		if err != nil {
			r.end = err
		}
		if !ok {
			return
		}
		r.sure = max(r.sure, d.confirmed)
		if len(d.events) > 0 && d.number != uint64(len(r.got)+1) {
			r.Fatalf("event %d after %d", d.number, len(r.got))
		}
		for _, e := range d.events {
			r.got = append(r.got, brief(e))
		}
		r.check()
	}
}

// brief writes an event as +3 (joined), =3 (present), -3 (left), !3 (failed) or
// ?3 (three missing), with * if it is redelivered.
func brief(e circuit.Event) string {
	id, _ := e.Path.Server()
	mark := map[circuit.Change]string{circuit.Joined: "+", circuit.Present: "=", circuit.Left: "-", circuit.Failed: "!"}[e.Change]
	s := fmt.Sprintf("%s%d", mark, uint64(id))
	switch {
	case e.Change == circuit.Overflowed:
		s = fmt.Sprintf("?%d", e.Lost)
	case id == self:
		s = mark + "self"
	}
	if e.Redelivered {
		s += "*"
	}
	return s
}

// has checks all that was received so far.
func (r *recv) has(want string) {
	r.Helper()
	r.poll()
	if got := strings.Join(r.got, " "); got != want {
		r.Errorf("received %s, want %s", got, want)
	}
}

func (r *recv) leave() { r.r.leave(); r.check() }

// check checks what must always be true.
func (h *hot) check() {
	h.Helper()
	s := h.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scrubbed {
		return
	}
	events, seq := 0, uint64(0)
	count := func(items []item) {
		for _, i := range items {
			if i.event != nil {
				events++
			}
			if (i.event == nil) != (i.lost > 0) {
				h.Errorf("an item is no event and no gap, or both: %+v", i)
			}
		}
	}
	count(s.queue.items)
	for _, i := range s.queue.items {
		if i.seq <= seq {
			h.Errorf("item %d after %d", i.seq, seq)
		}
		seq = i.seq
	}
	for r := range s.receivers {
		count(r.items)
		if r.ready() != slices.Contains(s.waiting, r) {
			h.Errorf("a receiver is ready %v and in line %v", r.ready(), !r.ready())
		}
	}
	q := &s.queue
	if events != q.pending || q.pending > q.limit || q.pending+q.received+q.overflow != int(q.seq) {
		h.Errorf("%d events are held: %d pending, %d received and %d given up of %d; limit %d", events, q.pending, q.received, q.overflow, q.seq, q.limit)
	}
	if len(q.items) > 0 && len(s.waiting) > 0 {
		h.Errorf("%d items and %d receivers wait for each other", len(q.items), len(s.waiting))
	}
}

func (h *hot) stat(want circuit.SubscriptionStat) {
	h.Helper()
	if got := h.sub.Stat(); got != want {
		h.Errorf("state %+v\nwant  %+v", got, want)
	}
}

func TestPresentServersFirstThenThoseThatJoin(t *testing.T) {
	w := newWorld(t, Config{})
	w.join(9, 3, 7)
	w.leave(7)
	w.join(5)
	sub := w.subscribe(circuit.OnJoin)
	w.join(7)
	w.fail(3)
	w.join(3)
	r := sub.open(100)
	r.has("=3 =5 =9 =self +7 +3")
	w.join(1)
	r.has("=3 =5 =9 =self +7 +3 +1")
}

func TestLeavesFromThenOn(t *testing.T) {
	w := newWorld(t, Config{})
	w.join(1, 2, 3)
	w.leave(1)
	sub := w.subscribe(circuit.OnLeave)
	r := sub.open(100)
	r.has("")
	w.fail(2)
	w.join(2, 4)
	w.leave(3, 2)
	r.has("!2 -3 -2")
}

// Every subscription has all, whatever others do.
func TestSubscriptionsAreIndependent(t *testing.T) {
	w := newWorld(t, Config{})
	a, b, c := w.subscribe(circuit.OnLeave), w.subscribe(circuit.OnLeave), w.subscribe(circuit.OnJoin)
	w.join(1)
	w.leave(1)
	ra := a.open(1)
	ra.has("-1")
	ra.request(0, 1)
	b.open(1).has("-1")
	c.open(2).has("=self +1")
}

func TestReceiversShare(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	a, b, c := sub.open(1), sub.open(2), sub.open(0)
	w.leave(1, 2, 3, 4)
	a.has("-1")
	b.has("-2 -3")
	c.has("")
	c.request(1, 0)
	c.has("-4")
	sub.stat(circuit.SubscriptionStat{Kind: circuit.OnLeave, Pending: 4, Limit: DefaultEvents, NumEvents: 4, Receivers: 3})
	b.request(0, 1)
	b.poll()
	if b.sure != 1 {
		t.Errorf("confirmed up to %d, want 1", b.sure)
	}
	sub.stat(circuit.SubscriptionStat{Kind: circuit.OnLeave, Pending: 3, Limit: DefaultEvents, NumEvents: 4, NumRecv: 1, Receivers: 3})
}

func TestReceiverThatGoesAwayGivesBack(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1, 2, 3, 4, 5, 6)
	a, b := sub.open(3), sub.open(1)
	a.has("-1 -2 -3")
	a.request(1, 1) // 5, which is not written to it
	b.has("-4")
	a.leave()
	b.request(5, 1)
	b.has("-4 -2* -3* -5 -6")
	b.leave()
	sub.open(9).has("-2* -3* -5* -6*")
	if got := sub.sub.Stat(); got.Redelivered != 6 || got.NumRecv != 2 || got.Pending != 4 {
		t.Errorf("state %+v", got)
	}
}

func TestWindow(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	for i := range maxUnacked + 10 {
		w.leave(i + 1)
	}
	r := sub.open(1 << 31)
	r.poll()
	if len(r.got) != maxUnacked {
		t.Fatalf("one receiver holds %d events, want %d", len(r.got), maxUnacked)
	}
	r.request(0, 4)
	r.poll()
	if len(r.got) != maxUnacked+4 {
		t.Errorf("after it acknowledged 4 it has %d", len(r.got))
	}
}

func TestOverflow(t *testing.T) {
	w := newWorld(t, Config{MaxEvents: 3})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1, 2, 3, 4, 5)
	sub.check()
	sub.stat(circuit.SubscriptionStat{Kind: circuit.OnLeave, Pending: 3, Overflow: 2, Limit: 3, NumEvents: 5})
	if s := sub.sub.State(); s != "3 pending, 2 lost" {
		t.Errorf("state in words: %s", s)
	}
	r := sub.open(2)
	r.has("?2 -3")
	w.leave(6, 7) // 4 and 5 wait, 3 is in the receiver's hands
	r.request(1, 0)
	r.has("?2 -3 ?2")
	r.request(9, 3)
	r.has("?2 -3 ?2 -6 -7")
	r.request(0, 5)
	sub.stat(circuit.SubscriptionStat{Kind: circuit.OnLeave, Overflow: 4, Limit: 3, NumEvents: 7, NumRecv: 3, Receivers: 1})
}

// All that may wait is in the hands of a receiver: what comes is given up, and
// what comes back is there for the next, before the gap.
func TestOverflowBehindAReceiver(t *testing.T) {
	w := newWorld(t, Config{MaxEvents: 2})
	sub := w.subscribe(circuit.OnLeave)
	r := sub.open(2)
	w.leave(1, 2, 3, 4)
	r.has("-1 -2")
	r.leave()
	last := sub.open(9)
	last.has("-1* -2* ?2")
	last.leave()
	w.leave(5)
	sub.check()
	sub.open(9).has("?1 -2* ?2* -5")
}

// More servers than may wait are present at the beginning.
func TestOverflowAtTheBeginning(t *testing.T) {
	w := newWorld(t, Config{MaxEvents: 2})
	w.join(1, 2, 3)
	sub := w.subscribe(circuit.OnJoin)
	sub.open(9).has("?2 =3 =self")
}

func TestGapsGrowTogether(t *testing.T) {
	w := newWorld(t, Config{MaxEvents: 1})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1, 2)
	r := sub.open(1)
	r.has("?1")
	w.leave(3)
	r.leave()
	sub.check()
	w.leave(4)
	sub.open(9).has("?3* -4")
}

func TestScrub(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1)
	r := sub.open(1)
	for range 2 {
		if err := sub.sub.Scrub(context.Background(), anchor.Scrub{}); err != nil {
			t.Fatal(err)
		}
	}
	w.leave(2)
	r.poll()
	if !errors.Is(r.end, circuit.Closed) {
		t.Errorf("a receiver ends with %v", r.end)
	}
	r.leave()
	if _, err := sub.sub.open(); !errors.Is(err, circuit.Closed) {
		t.Errorf("a receive of a scrubbed subscription: %v", err)
	}
	if n := w.s.Count(); n != 0 {
		t.Errorf("%d subscriptions after scrub", n)
	}
}

// A scrub right after an acknowledgement hid that it was confirmed.
func TestScrubHidConfirmation(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1, 2)
	r := sub.open(2)
	r.has("-1 -2")
	r.request(0, 1)
	if err := sub.sub.Scrub(context.Background(), anchor.Scrub{}); err != nil {
		t.Fatal(err)
	}
	r.poll()
	if r.sure != 1 {
		t.Errorf("confirmed up to %d, want 1", r.sure)
	}
	if r.poll(); !errors.Is(r.end, circuit.Closed) {
		t.Errorf("the call ends with %v", r.end)
	}
}

func TestEndOfACall(t *testing.T) {
	w := newWorld(t, Config{})
	sub := w.subscribe(circuit.OnLeave)
	w.leave(1, 2)
	r := sub.open(1)
	r.has("-1")
	if err := r.r.request(0, 2); !errors.Is(err, circuit.Invalid) {
		t.Errorf("to acknowledge what did not come: %v", err)
	}
	r.poll()
	if !errors.Is(r.end, circuit.Invalid) {
		t.Errorf("the call ends with %v", r.end)
	}
	r.leave()
	r = sub.open(1)
	r.has("-1*")
	r.request(5, 1)
	r.r.finish()
	r.poll()
	if r.end != io.EOF || r.sure != 1 {
		t.Errorf("the call ends with %v, confirmed up to %d", r.end, r.sure)
	}
	r.leave()
	sub.open(1).has("-2")
}

func TestLimits(t *testing.T) {
	w := newWorld(t, Config{MaxSubscriptions: 2})
	first := w.subscribe(circuit.OnJoin)
	w.subscribe(circuit.OnLeave)
	if _, err := w.s.subscribe(circuit.OnJoin); !errors.Is(err, circuit.Exhausted) {
		t.Errorf("one subscription too many: %v", err)
	}
	for range maxReceivers {
		first.open(0)
	}
	if _, err := first.sub.open(); !errors.Is(err, circuit.Exhausted) {
		t.Errorf("one receiver too many: %v", err)
	}
	if err := first.sub.Scrub(context.Background(), anchor.Scrub{}); err != nil {
		t.Fatal(err)
	}
	w.subscribe(circuit.OnJoin)
}
