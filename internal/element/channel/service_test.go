package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

func memWire(t testing.TB, cfg Config) *wire {
	return newWire(t, transport.NewMemory().Host("server"), "server:1", cfg)
}

// until polls the state of a channel, for want of an event, until it is ok.
func (w *wire) until(c *Chan, what string, ok func(circuit.ChanStat) bool) {
	w.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(c.Stat()); <-poll.C {
		if time.Now().After(deadline) {
			w.Fatalf("%s does not come: %+v", what, c.Stat())
		}
	}
}

func blocked(s circuit.ChanStat) bool { return s.Receivers > 0 }
func sending(s circuit.ChanStat) bool { return s.Senders > 0 }

func TestMakeStatAndClose(t *testing.T) {
	w := memWire(t, Config{})
	conn := w.dial()
	chans := circuitv1.NewChansClient(conn)
	ctx := w.at(t.Context(), "q")
	made, err := chans.Make(ctx, &circuitv1.MakeChanRequest{Cap: 3, Nonce: []byte("once")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := chans.Make(ctx, &circuitv1.MakeChanRequest{Cap: 3, Nonce: []byte("once")})
	if err != nil || again.Generation != made.Generation {
		t.Errorf("the same nonce: %v, %v; want generation %d", again, err, made.Generation)
	}
	_, err = chans.Make(ctx, &circuitv1.MakeChanRequest{Cap: 3})
	is(t, "make at a taken anchor", err, circuit.Exists)
	_, err = chans.Make(w.at(t.Context(), "huge"), &circuitv1.MakeChanRequest{Cap: 1 << 31})
	is(t, "make with a huge capacity", err, circuit.Invalid)
	st, err := chans.Stat(ctx, &circuitv1.StatChanRequest{})
	if err != nil || rpc.ChanStatFromProto(st) != (circuit.ChanStat{Cap: 3}) {
		t.Errorf("state %v, %v", st, err)
	}
	if n := w.svc.Count(); n != 1 {
		t.Errorf("%d channels, want 1", n)
	}
	_, err = chans.Stat(rpc.WithGeneration(ctx, made.Generation+1), &circuitv1.StatChanRequest{})
	is(t, "state of a successor", err, circuit.NotFound)
	_, err = chans.Stat(w.at(t.Context(), "elsewhere"), &circuitv1.StatChanRequest{})
	is(t, "state of nothing", err, circuit.NotFound)
	if _, err = chans.Close(ctx, &circuitv1.CloseChanRequest{}); err != nil {
		t.Error(err)
	}
	_, err = chans.Close(ctx, &circuitv1.CloseChanRequest{})
	is(t, "close again", err, circuit.Closed)
	entry, err := circuitv1.NewAnchorsClient(conn).Get(ctx, &circuitv1.GetRequest{})
	if err != nil || entry.Kind != "chan" || entry.State != "0/3 closed" {
		t.Errorf("the anchor is %v, %v", entry, err)
	}
}

// other is an element of another kind.
type other struct{ *Chan }

func TestNotAChannel(t *testing.T) {
	w := memWire(t, Config{})
	p, _ := self.Path().Join("q")
	if err := w.tree.Restore(p, 1, other{newChan(0, 1, NewBudget(0), nil)}); err != nil {
		t.Fatal(err)
	}
	conn, ctx := w.dial(), w.at(t.Context(), "q")
	_, err := circuitv1.NewChansClient(conn).Stat(ctx, &circuitv1.StatChanRequest{})
	is(t, "stat", err, circuit.Invalid)
	s, err := openSend(ctx, conn)
	if err == nil {
		err = s.send(nil)
	}
	is(t, "send", err, circuit.Invalid)
	r, err := openRecv(ctx, conn)
	if err == nil {
		_, err = r.read()
	}
	is(t, "recv", err, circuit.Invalid)
}

func is(t testing.TB, what string, err error, want circuit.ErrorKind) {
	t.Helper()
	var ce *circuit.Error
	if want == 0 && err == nil {
		return
	}
	if got := rpc.FromStatus("", "", err); !errors.As(got, &ce) || ce.Kind != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestKilledBlockedReceiverTakesNothing(t *testing.T) {
	mem := transport.NewMemory()
	w := newWire(t, mem.Host("server"), "server:1", Config{})
	conn := w.dialFrom(mem.Host("client"))
	c := w.make(conn, "q", 0)
	for i := range 100 {
		victim := w.dialFrom(mem.Host("victim"))
		r, err := openRecv(w.at(t.Context(), "q"), victim)
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		w.until(c, "the blocked receive", blocked)
		mem.Reset("victim", "server")
		msg := fmt.Append(nil, "message ", i)
		sent := make(chan error, 1)
		go func() {
			s, err := openSend(w.at(t.Context(), "q"), conn)
			if err == nil {
				err = s.send(msg)
			}
			sent <- err
		}()
		r, err = openRecv(w.at(t.Context(), "q"), conn)
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		got, err := r.read()
		if err != nil || len(got) != 1 || !bytes.Equal(got[0].data, msg) {
			t.Fatalf("round %d: received %v, %v", i, got, err)
		}
		if err := r.ask(0, 1); err != nil {
			t.Fatal(err)
		}
		if err := r.confirm(1); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatalf("round %d: send: %v", i, err)
		}
		if err := r.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := r.RecvMsg(&r.frame); err != io.EOF {
			t.Fatalf("the receive ended with %v", err)
		}
	}
}

// stream sends n bytes as one message, and then its end.
func (s *wireSend) stream(n int, end bool) error {
	chunk := bytes.Repeat([]byte("0123456789abcdef"), rpc.MaxFrameData/16)
	s.num++
	for at := 0; at < n; at += len(chunk) {
		if err := s.SendMsg(&rpc.Frame{Message: s.num, Offset: uint64(at), Data: mem.BufferSlice{mem.SliceBuffer(chunk)}}); err != nil {
			return err
		}
	}
	if !end {
		return nil
	}
	return s.SendMsg(&rpc.Frame{Message: s.num, Offset: uint64(n), End: true})
}

func TestReceiverKilledInTheMiddleOfALongMessage(t *testing.T) {
	w := memWire(t, Config{})
	conn := w.dial()
	w.make(conn, "q", 3)
	s, err := openSend(w.at(t.Context(), "q"), conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(w.at(t.Context(), "q"))
	r, err := openRecv(ctx, conn)
	if err != nil || r.ask(1, 0) != nil {
		t.Fatal(err)
	}
	streamed := make(chan error, 1)
	go func() { streamed <- s.stream(10<<20, true) }()
	for range 5 {
		if err := r.RecvMsg(&r.frame); err != nil {
			t.Fatal(err)
		}
		r.frame.Free()
	}
	kill()
	is(t, "send", s.wait(1), circuit.Lost)
	is(t, "the rest of the message", <-streamed, 0)
	is(t, "the next send", s.send([]byte("small")), 0)
}

func TestSenderKilledInTheMiddleOfALongMessage(t *testing.T) {
	for _, how := range []string{"cancel", "end of the call"} {
		w := memWire(t, Config{})
		conn := w.dial()
		w.make(conn, "q", 3)
		ctx, kill := context.WithCancel(w.at(t.Context(), "q"))
		s, err := openSend(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		r, err := openRecv(w.at(t.Context(), "q"), conn)
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		if err := s.stream(2<<20, false); err != nil {
			t.Fatal(err)
		}
		if how == "cancel" {
			kill()
		} else if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for r.frame.Error == nil {
			if r.frame.End {
				t.Fatal("the receiver saw a clean end")
			}
			if err := r.RecvMsg(&r.frame); err != nil {
				t.Fatal(err)
			}
			r.frame.Free()
		}
		if e := rpc.ErrorFromProto(r.frame.Error); e.Kind != circuit.Lost || e.Path == "" {
			t.Errorf("%s: the receiver is told %v", how, e)
		}
		kill()
	}
}

func TestLongMessageArrivesWhole(t *testing.T) {
	w := memWire(t, Config{})
	sender, receiver := w.dial(), w.dial()
	w.make(sender, "q", 0)
	const size = 32 << 20
	s, err := openSend(w.at(t.Context(), "q"), sender)
	if err != nil {
		t.Fatal(err)
	}
	go s.stream(size, true)
	r, err := openRecv(w.at(t.Context(), "q"), receiver)
	if err != nil || r.ask(1, 0) != nil {
		t.Fatal(err)
	}
	at := 0
	for end := false; !end; end = r.frame.End {
		if err := r.RecvMsg(&r.frame); err != nil {
			t.Fatal(err)
		}
		b := r.frame.Data.Materialize()
		for i, c := range b {
			if c != "0123456789abcdef"[(at+i)%16] {
				t.Fatalf("byte %d is wrong", at+i)
			}
		}
		at += len(b)
		r.frame.Free()
	}
	if at != size {
		t.Errorf("%d bytes arrived, want %d", at, size)
	}
	if err := r.ask(0, 1); err != nil {
		t.Fatal(err)
	}
	is(t, "send", s.wait(1), 0)
}

func TestDeadlineOfABlockedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := memWire(t, Config{})
		conn := w.dial()
		c := w.make(conn, "q", 0)
		ctx, cancel := context.WithTimeout(w.at(t.Context(), "q"), time.Second)
		defer cancel()
		r, err := openRecv(ctx, conn)
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		_, err = r.read()
		is(t, "recv", err, circuit.Timeout)
		ctx, cancel = context.WithTimeout(w.at(t.Context(), "q"), time.Second)
		defer cancel()
		s, err := openSend(ctx, conn)
		if err == nil {
			err = s.send([]byte("a"))
		}
		is(t, "send", err, circuit.Timeout)
		synctest.Wait()
		if st := c.Stat(); st != (circuit.ChanStat{}) {
			t.Errorf("state afterwards: %+v", st)
		}
	})
}

func TestScrubEndsBothSides(t *testing.T) {
	w := memWire(t, Config{})
	conn := w.dial()
	full, empty := w.make(conn, "full", 0), w.make(conn, "empty", 0)
	s, err := openSend(w.at(t.Context(), "full"), conn)
	if err != nil || s.put([]byte("a")) != nil {
		t.Fatal(err)
	}
	r, err := openRecv(w.at(t.Context(), "empty"), conn)
	if err != nil || r.ask(1, 0) != nil {
		t.Fatal(err)
	}
	w.until(full, "the blocked send", sending)
	w.until(empty, "the blocked receive", blocked)
	for _, q := range []string{"full", "empty"} {
		if _, err := circuitv1.NewAnchorsClient(conn).Scrub(w.at(t.Context(), q), &circuitv1.ScrubRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	is(t, "the blocked send", s.wait(1), circuit.Closed)
	_, err = s.Recv()
	is(t, "the blocked send's call", err, circuit.Closed)
	_, err = r.read()
	is(t, "the blocked receive", err, circuit.Closed)
	_, err = circuitv1.NewChansClient(conn).Stat(w.at(t.Context(), "full"), &circuitv1.StatChanRequest{})
	is(t, "stat", err, circuit.NotFound)
	if w.svc.Count() != 0 || w.svc.Bytes() != 0 {
		t.Errorf("%d channels and %v are left", w.svc.Count(), w.svc.Bytes())
	}
}

func TestBadFrameEndsTheCall(t *testing.T) {
	w := memWire(t, Config{})
	conn := w.dial()
	w.make(conn, "q", 3)
	s, err := openSend(w.at(t.Context(), "q"), conn)
	if err != nil || s.SendMsg(&rpc.Frame{Message: 7, End: true}) != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	is(t, "wrong number", err, circuit.Invalid)
	s, err = openSend(w.at(t.Context(), "q"), conn)
	if err != nil || s.SendMsg(&rpc.Raw{Data: mem.BufferSlice{mem.SliceBuffer("\x0a\xff\xff\xff\xff\xff\xff")}}) != nil {
		t.Fatal(err)
	}
	if _, err = s.Recv(); err == nil || err == io.EOF {
		t.Errorf("not a frame: %v", err)
	}
	r, err := openRecv(w.at(t.Context(), "q"), conn)
	if err != nil || r.ask(1, 1) != nil {
		t.Fatal(err)
	}
	_, err = r.read()
	is(t, "acknowledgement of the future", err, circuit.Invalid)
	r, err = openRecv(w.at(t.Context(), "q"), conn)
	if err != nil || r.SendMsg(&rpc.Raw{Data: mem.BufferSlice{mem.SliceBuffer("\x08")}}) != nil {
		t.Fatal(err)
	}
	if _, err = r.read(); err == nil || err == io.EOF {
		t.Errorf("not a request: %v", err)
	}
}

// A client's host that vanishes, as when its cable is pulled, is noticed, and
// what its receiver had goes to another.
func TestVanishedReceiverHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := transport.NewMemory()
		w := newWire(t, mem.Host("server"), "server:1", Config{})
		w.make(w.dialFrom(mem.Host("sender")), "q", 0)
		ctx := w.at(t.Context(), "q")
		r, err := openRecv(ctx, w.dialFrom(mem.Host("victim")))
		if err != nil || r.ask(1, 0) != nil {
			t.Fatal(err)
		}
		s, err := openSend(ctx, w.dialFrom(mem.Host("sender")))
		if err != nil || s.put([]byte("a")) != nil {
			t.Fatal(err)
		}
		if got, err := r.read(); err != nil || got[0].redelivered {
			t.Fatal(got, err)
		}
		mem.Cut("victim", "server")
		begin := time.Now()
		r2, err := openRecv(ctx, w.dialFrom(mem.Host("other")))
		if err != nil || r2.ask(1, 0) != nil {
			t.Fatal(err)
		}
		got, err := r2.read()
		if err != nil || !got[0].redelivered || string(got[0].data) != "a" {
			t.Fatalf("received %+v, %v; want the message again, marked", got, err)
		}
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("it took %v to notice", d)
		}
		if r2.ask(0, 1) != nil || s.wait(1) != nil {
			t.Error("the message was not confirmed")
		}
	})
}

var _ anchor.Element = other{}
