package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// lines puts a listing in text: an entry or an error a line.
func lines(seq func(func(Entry, error) bool)) (out []string) {
	for e, err := range seq {
		if err != nil {
			var ce *Error
			errors.As(err, &ce)
			out = append(out, fmt.Sprintf("%v: %v", ce.Path, ce.Kind))
			continue
		}
		out = append(out, fmt.Sprintf("%.4s %v", e.Kind, e.Path))
	}
	return out
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("listing is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestView(t *testing.T) {
	f := newFake(t)
	f.servers.members = []circuit.ServerID{fakeID}
	c := f.dial()
	for _, path := range []string{"/a/b/c", "/a/d", "/e"} {
		if _, err := mustWalk(t, c, fakePath+path).MakeChan(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	wantLines(t, lines(c.Root().View(t.Context())), "---- "+fakePath)
	server := c.Server(fakeID).Anchor()
	wantLines(t, lines(server.View(t.Context())), "---- "+fakePath+"/a", "chan "+fakePath+"/e")
	all := []string{"---- " + fakePath + "/a", "---- " + fakePath + "/a/b", "chan " + fakePath + "/a/b/c", "chan " + fakePath + "/a/d", "chan " + fakePath + "/e"}
	wantLines(t, lines(server.ViewAll(t.Context())), all...)
	wantLines(t, lines(c.Root().ViewAll(t.Context())), append([]string{"---- " + fakePath}, all...)...)
	wantLines(t, lines(mustWalk(t, c, fakePath+"/x").View(t.Context())), fakePath+"/x: not found")
	for range c.Root().ViewAll(t.Context()) {
		break // and leave nothing behind
	}
}

// members lets the fake list that many servers.
func members(f *fake, n int) {
	for i := range n {
		f.servers.members = append(f.servers.members, circuit.ServerID(i+1))
	}
}

// entries sends entries with names below path, in messages of one each.
func entries(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply], names ...string) error {
	for _, name := range names {
		p, err := path.Join(name)
		if err != nil {
			return err
		}
		e := rpc.EntryToProto(Entry{Path: p, Kind: KindProc, Generation: 1})
		if err := s.Send(&circuitv1.ListReply{Entries: []*circuitv1.Entry{e}}); err != nil {
			return err
		}
	}
	return nil
}

func TestViewAllNamesServersThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		members(f, 5)
		f.anchors.list = func(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
			switch id, _ := path.Server(); id {
			case 2:
				<-s.Context().Done()
				return s.Context().Err()
			case 3:
				return circuit.Errorf(circuit.Unreachable, "left 12 s ago")
			case 5:
				_ = entries(path, s, "a")
				<-s.Context().Done()
				return s.Context().Err()
			}
			return entries(path, s, "a", "b")
		}
		c := f.dial()
		began := time.Now()
		wantLines(t, lines(c.Root().ViewAll(t.Context())),
			"---- /X0000000000000001", "proc /X0000000000000001/a", "proc /X0000000000000001/b",
			"/X0000000000000002: timed out",
			"/X0000000000000003: unreachable",
			"---- /X0000000000000004", "proc /X0000000000000004/a", "proc /X0000000000000004/b",
			"---- /X0000000000000005", "proc /X0000000000000005/a", "/X0000000000000005: timed out")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A caller that takes its time does not make servers look silent, and does not
// let what they answer pile up.
func TestViewAllWaitsForItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		members(f, 200)
		var asked, asking, most atomic.Int64
		f.anchors.list = func(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
			asked.Add(1)
			most.Store(max(most.Load(), asking.Add(1)))
			defer asking.Add(-1)
			return entries(path, s, "a", "b", "c", "d", "e", "f")
		}
		n := 0
		for _, err := range f.dial().Root().ViewAll(t.Context(), Width(10), Patience(time.Second)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				time.Sleep(time.Hour)
				if got := asked.Load(); got > 11 {
					t.Errorf("%d servers were asked while the first one's answer is not taken", got)
				}
			}
		}
		if n != 200*7 {
			t.Errorf("%d entries", n)
		}
		if most.Load() > 11 {
			t.Errorf("%d servers were asked at a time", most.Load())
		}
	})
}

func TestViewAllEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	members(f, 100)
	ctx, cancel := context.WithCancel(t.Context())
	f.anchors.list = func(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
		cancel()
		<-s.Context().Done()
		return s.Context().Err()
	}
	c := f.dial()
	got := lines(c.Root().ViewAll(ctx))
	if len(got) != 1 || !strings.HasSuffix(got[0], ": canceled") {
		t.Errorf("listing is %q, want one error", got)
	}
}

func TestListingIsBegunAgain(t *testing.T) {
	f := newFake(t)
	cut := f.cutOnce()
	f.anchors.list = func(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
		if cut(s.Context()) {
			return s.Context().Err()
		}
		return entries(path, s, "a")
	}
	wantLines(t, lines(mustWalk(t, f.dial(), fakePath).View(t.Context())), "proc "+fakePath+"/a")
}

func TestListingThatBreaksOffIsAnError(t *testing.T) {
	f := newFake(t)
	f.anchors.list = func(path Path, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
		_ = entries(path, s, "a")
		<-s.Context().Done()
		return s.Context().Err()
	}
	var got []Entry
	for e, err := range mustWalk(t, f.dial(), fakePath).View(t.Context()) {
		if err != nil {
			wantKind(t, err, ErrUnreachable)
			break
		}
		got = append(got, e)
		f.cut()
	}
	if len(got) != 1 {
		t.Errorf("listed %d entries, want 1 before the error", len(got))
	}
}

func TestServers(t *testing.T) {
	f := newFake(t)
	members(f, 3)
	c := f.dial()
	want := circuit.ServerID(1)
	for m, err := range c.Servers(t.Context()) {
		if err != nil || m.ID != want || m.Address != "host:1" || !m.Joined.Equal(time.Unix(1, 0)) {
			t.Errorf("%+v, %v, want server %v", m, err, want)
		}
		want++
	}
	if want != 4 {
		t.Errorf("listed %d servers", want-1)
	}
}
