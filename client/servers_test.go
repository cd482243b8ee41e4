package client

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
)

func TestViewServersNamesThoseThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		members(f, 4)
		asked := map[circuit.ServerID]*atomic.Int64{1: {}, 2: {}, 3: {}, 4: {}}
		f.servers.stat = func(ctx context.Context, id circuit.ServerID) (ServerStat, error) {
			n := asked[id].Add(1)
			switch {
			case id == 2:
				<-ctx.Done()
				return ServerStat{}, ctx.Err()
			case id == 3:
				return ServerStat{}, circuit.Errorf(circuit.Unreachable, "the server left 12 s ago")
			case n == 1:
				time.Sleep(time.Second) // as if connections had to be opened
			case n == 2:
				time.Sleep(time.Millisecond)
			}
			time.Sleep(3 * time.Millisecond)
			return ServerStat{ID: id, Neighbours: []ServerID{1, 4}}, nil
		}
		c, began := f.dial(), time.Now()
		next := circuit.ServerID(1)
		for v, err := range c.ViewServers(t.Context()) {
			if v.ID != next || v.Address != "host:1" {
				t.Fatalf("%+v, want server %v", v.Member, next)
			}
			var ce *Error
			switch {
			case next == 2:
				wantKind(t, err, ErrTimeout)
			case next == 3:
				wantKind(t, err, ErrUnreachable)
			case err != nil:
				t.Error(err)
			case v.RoundTrip != 3*time.Millisecond || v.Stat.ID != next || len(v.Stat.Neighbours) != 2:
				t.Errorf("%+v", v)
			}
			if err != nil && (!errors.As(err, &ce) || ce.Op != "servers" || ce.Path != next.Path().String() || v.Stat.ID != 0 || v.RoundTrip != 0) {
				t.Errorf("%v with %+v", err, v)
			}
			next++
		}
		if took := time.Since(began); next != 5 || took != 2*time.Second {
			t.Errorf("%d servers after %v", next-1, took)
		}
	})
}

func TestViewServersAsksSomeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		members(f, 100)
		var asking, most atomic.Int64
		f.servers.stat = func(context.Context, circuit.ServerID) (ServerStat, error) {
			most.Store(max(most.Load(), asking.Add(1)))
			defer asking.Add(-1)
			time.Sleep(time.Millisecond)
			return ServerStat{}, nil
		}
		c, n := f.dial(), 0
		for _, err := range c.ViewServers(t.Context(), Width(8)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if got := most.Load(); n != 100 || got < 4 || got > 9 {
			t.Errorf("%d servers, %d asked at a time", n, got)
		}
		for range c.ViewServers(t.Context()) {
			break // and leave nothing behind
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for v, err := range c.ViewServers(ctx) {
			if err != nil && v.ID == 0 {
				wantKind(t, err, ErrCanceled)
			}
			cancel()
		}
	})
}

// A ring of five, and: 1 tells of a link with 3 that 3 does not know; 2 tells of
// one with 5, which does not answer; 4 of one with 9, which is in no list.
func TestOverlayGraph(t *testing.T) {
	f := newFake(t)
	members(f, 5)
	neighbours := map[circuit.ServerID][]ServerID{1: {2, 5, 3}, 2: {1, 3, 5}, 3: {2, 4}, 4: {3, 5, 9}}
	f.servers.stat = func(_ context.Context, id circuit.ServerID) (ServerStat, error) {
		if id == 5 {
			return ServerStat{}, circuit.Errorf(circuit.Unreachable, "gone")
		}
		return ServerStat{ID: id, Neighbours: neighbours[id]}, nil
	}
	o, err := f.dial().Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := func(id circuit.ServerID) Path { return id.Path() }
	links := []OverlayLink{
		{path(1), path(2), false}, {path(1), path(3), true}, {path(1), path(5), false}, {path(2), path(3), false},
		{path(2), path(5), false}, {path(3), path(4), false}, {path(4), path(5), false}, {path(4), path(9), false},
	}
	if !slices.Equal(o.Links, links) {
		t.Errorf("links %v, want %v", o.Links, links)
	}
	var degrees []int
	for _, s := range o.Servers {
		degrees = append(degrees, s.Degree)
		id, _ := s.Path.Server()
		if silent := id == 5 || id == 9; s.Silent != silent || silent != (s.Err != nil) || (s.Address == "") != (id == 9) {
			t.Errorf("server %+v", s)
		}
	}
	if !slices.Equal(degrees, []int{3, 3, 3, 3, 3, 1}) {
		t.Errorf("degrees %v", degrees)
	}
	o.Servers, o.Links = nil, nil
	lambda, mean := o.Lambda2, o.MeanDistance
	o.Lambda2, o.Ideal, o.MeanDistance = 0, 0, 0
	want := &Overlay{Silent: 2, OneSided: 1, MinDegree: 1, MeanDegree: 16. / 6, MaxDegree: 3, Components: []int{6}, Diameter: 3}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v\nwant %+v", o, want)
	}
	if lambda < 0.5 || lambda > 0.95 || math.Abs(mean-24./15) > 1e-9 {
		t.Errorf("lambda2 %v, mean distance %v", lambda, mean)
	}
}
