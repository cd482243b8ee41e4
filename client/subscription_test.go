package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
)

// newSubscription makes a subscription to leaves on a fake server.
func newSubscription(t *testing.T) (*fake, *Subscription) {
	t.Helper()
	f := newFake(t)
	sub, err := mustWalk(t, f.dial(), fakePath+"/s").MakeOnLeave(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f, sub
}

// leave lets servers with these IDs leave the circuit.
func (f *fake) leave(ids ...circuit.ServerID) {
	for _, id := range ids {
		f.subs.Tell(Event{Change: Left, Path: id.Path(), Address: "host:1", Time: time.Unix(1, 0)})
	}
}

// wantEvent wants a server to have left.
func wantEvent(t testing.TB, e Event, id circuit.ServerID, redelivered bool) {
	t.Helper()
	if e.Change != Left || e.Path != id.Path() || e.Redelivered != redelivered {
		t.Errorf("event %+v, want that %v left, redelivered %v", e, id, redelivered)
	}
}

// wantStat checks a subscription's state, but for the receives that may not have
// ended yet.
func wantStat(t testing.TB, s *Subscription, want SubscriptionStat) {
	t.Helper()
	got, err := s.Stat(t.Context())
	want.Kind, want.Limit, want.Receivers = KindOnLeave, fakeEvents, got.Receivers
	if err != nil || got != want {
		t.Errorf("state %+v, %v\nwant  %+v", got, err, want)
	}
}

func TestRecvEvent(t *testing.T) {
	f, sub := newSubscription(t)
	f.leave(1, 2)
	e, err := sub.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 1, false)
	if e.Address != "host:1" || !e.Time.Equal(time.Unix(1, 0)) {
		t.Errorf("event %+v", e)
	}
	e, err = mustWalk(t, f.dial(), fakePath+"/s").Subscription().Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 2, false)
	wantStat(t, sub, SubscriptionStat{NumEvents: 2, NumRecv: 2})
}

func TestSubscriptionHandles(t *testing.T) {
	f, leaves := newSubscription(t)
	c := f.dial()
	joins, err := mustWalk(t, c, fakePath+"/j").MakeOnJoin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := joins.Recv(t.Context()); err != nil || e.Change != Present || e.Path != fakeID.Path() {
		t.Errorf("received %+v, %v, want the server itself", e, err)
	}
	for path, want := range map[string]*Subscription{"/s": leaves, "/j": joins} {
		e, err := mustWalk(t, c, fakePath+path).Get(t.Context())
		got, ok := e.(*Subscription)
		if err != nil || !ok || got.Kind() != want.Kind() || got.Generation() != want.Generation() {
			t.Errorf("%s holds %+v, %v", path, e, err)
		}
	}
	wantLines(t, lines(c.Server(fakeID).Anchor().View(t.Context())), "@joi "+fakePath+"/j", "@lea "+fakePath+"/s")
	_, err = mustWalk(t, c, fakePath+"/s").MakeOnJoin(t.Context())
	wantKind(t, err, ErrExists)
	_, err = c.Root().MakeOnJoin(t.Context())
	wantKind(t, err, ErrInvalid)
	_, err = leaves.Anchor().Chan().Recv(t.Context())
	wantKind(t, err, ErrInvalid)
}

// An event that the body of the loop is through with is acknowledged, also where
// it leaves the loop with it.
func TestAllAcknowledges(t *testing.T) {
	f, sub := newSubscription(t)
	f.leave(1, 2, 3)
	next := circuit.ServerID(1)
	for e, err := range sub.All(t.Context(), Credit(10)) {
		if err != nil {
			t.Fatal(err)
		}
		wantEvent(t, e, next, false)
		if next++; next == 3 {
			break
		}
	}
	wantStat(t, sub, SubscriptionStat{NumEvents: 3, NumRecv: 2, Pending: 1})
	e, err := sub.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 3, true) // it had come, and was not given to the loop
}

func TestEventNotAcknowledgedGoesToAnother(t *testing.T) {
	f, sub := newSubscription(t)
	r := sub.Receiver(t.Context(), Credit(2))
	f.leave(1, 2)
	for id := range circuit.ServerID(2) {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		wantEvent(t, e, id+1, false)
		if id == 0 {
			r.Ack()
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("next of a closed receiver: %v", err)
	}
	e, err := sub.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 2, true)
}

// A connection that breaks under a receiver ends it, and no event is lost.
func TestCutWhileReceivingEvents(t *testing.T) {
	f, sub := newSubscription(t)
	r := sub.Receiver(t.Context())
	f.leave(1)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	f.cut()
	r.Ack()
	if err := r.Flush(); !errors.Is(err, ErrLost) {
		t.Errorf("flush: %v", err)
	}
	if _, err := r.Next(); err == nil {
		t.Error("a receiver goes on without its connection")
	}
	e, err := sub.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 1, true)
}

func TestOverflowIsTold(t *testing.T) {
	f, sub := newSubscription(t)
	for i := range circuit.ServerID(fakeEvents + 7) {
		f.leave(i + 1)
	}
	n, next := 0, circuit.ServerID(8)
	for e, err := range sub.All(t.Context(), Credit(30)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			if e.Change != Overflowed || e.Lost != 7 || e.Path != circuit.Root {
				t.Errorf("first event: %+v", e)
			}
			continue
		}
		wantEvent(t, e, next, false)
		if next++; n == fakeEvents+1 {
			break
		}
	}
	wantStat(t, sub, SubscriptionStat{NumEvents: fakeEvents + 7, NumRecv: fakeEvents, Overflow: 7})
}

// What ends a receiver that waits.
func TestEndsOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, sub := newSubscription(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := sub.Recv(ctx)
		wantKind(t, err, ErrTimeout)
		time.AfterFunc(time.Hour, func() {
			if err := sub.Scrub(context.Background()); err != nil {
				t.Error(err)
			}
		})
		events := 0
		for _, err := range sub.All(t.Context()) {
			events++
			wantKind(t, err, ErrClosed)
		}
		if events != 1 {
			t.Errorf("the loop's body ran %d times, want once, for the error", events)
		}
		_, err = sub.Recv(t.Context())
		wantKind(t, err, ErrNotFound)
		_, err = sub.Stat(t.Context())
		wantKind(t, err, ErrNotFound)
		if n := f.subs.Count(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}
