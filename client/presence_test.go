package client_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// take receives n events.
func take(t *testing.T, s *client.Subscription, n int) (events []client.Event) {
	t.Helper()
	for e, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if events = append(events, e); len(events) == n {
			break
		}
	}
	return events
}

func TestPresence(t *testing.T) {
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		joins, err := w.anchor(c, 2, "joins").MakeOnJoin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := w.anchor(c, 2, "leaves").MakeOnLeave(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var present []client.Path
		for _, e := range take(t, joins, 3) {
			if e.Change != client.Present || e.Address == "" || e.Time.IsZero() {
				t.Errorf("at first: %+v", e)
			}
			present = append(present, e.Path)
		}
		for _, s := range w.servers[:3] {
			if !slices.Contains(present, s.URL().ID.Path()) {
				t.Errorf("%v is present and not among %v", s.URL().ID, present)
			}
		}
		waiting := make(chan client.Event)
		go func() {
			e, err := leaves.Recv(t.Context())
			if err != nil {
				t.Error(err)
			}
			waiting <- e
		}()
		one := w.start(server.Config{})
		if e := take(t, joins, 1)[0]; e.Change != client.Joined || e.Path != one.URL().ID.Path() || e.Address != one.URL().Address() {
			t.Errorf("joined: %+v", e)
		}
		stop(one)
		if e := <-waiting; e.Change != client.Left || e.Path != one.URL().ID.Path() || e.Address != one.URL().Address() {
			t.Errorf("left: %+v", e)
		}
		for _, s := range []*client.Subscription{joins, leaves} {
			if stat, err := s.Stat(t.Context()); err != nil || stat.Pending != 0 || stat.Overflow != 0 {
				t.Errorf("afterwards: %+v, %v", stat, err)
			}
			if err := s.Scrub(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A subscription ends with its server; one made at the same place when the
// server is back begins anew.
func TestSubscriptionEndsWithItsServer(t *testing.T) {
	w := newWorld(t, 2)
	c := w.dial(0)
	watch, err := w.anchor(c, 0, "watch").MakeOnJoin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	host := w.start(server.Config{DataDir: dir})
	take(t, watch, 3) // the third joined
	a := w.anchor(c, 2, "leaves")
	first, err := a.MakeOnLeave(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := first.Recv(t.Context())
		ended <- err
	}()
	for stat := (client.SubscriptionStat{}); stat.Receivers == 0; {
		if stat, err = first.Stat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop(host)
	if err := <-ended; !errors.Is(err, client.ErrUnreachable) && !errors.Is(err, client.ErrLost) {
		t.Errorf("the receiver ends with %v", err)
	}
	again := w.start(server.Config{DataDir: dir, Addr: host.URL().Address()})
	if e := take(t, watch, 1)[0]; e.Change != client.Joined || e.Path != again.URL().ID.Path() {
		t.Fatalf("%+v, want that the host is back", e)
	}
	_, err = first.Recv(t.Context())
	wantKind(t, err, client.ErrNotFound)
	if _, err := a.MakeOnLeave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = first.Recv(t.Context())
	wantKind(t, err, client.ErrNotFound)
}

func TestViewOfServers(t *testing.T) {
	w := newWorld(t, 4)
	c := w.dial(1)
	var o *client.Overlay
	for deadline := time.Now().Add(10 * time.Second); o == nil || len(o.Links) < 6 || o.OneSided > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("not every two of four servers have a link after 10 s: %+v", o)
		}
		var err error
		if o, err = c.Overlay(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.Servers) != 4 || o.Silent != 0 || o.Diameter != 1 || len(o.Components) != 1 {
		t.Errorf("overlay %+v", o)
	}
	n := 0
	for v, err := range c.ViewServers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; v.Stat.ID != v.ID || v.Stat.Address != v.Address || v.RoundTrip <= 0 || len(v.Stat.Neighbours) != 3 || v.Stat.Joined.IsZero() {
			t.Errorf("%+v", v)
		}
	}
	if n != 4 {
		t.Errorf("%d servers", n)
	}
}
