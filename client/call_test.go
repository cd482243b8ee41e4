package client

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// cutOnce returns a function that cuts the client off when called first, and
// reports whether it did.
func (f *fake) cutOnce() func(ctx context.Context) bool {
	var done atomic.Bool
	return func(ctx context.Context) bool {
		if done.Swap(true) {
			return false
		}
		f.cut()
		<-ctx.Done()
		return true
	}
}

func TestMakeIsRepeatedWithItsNonce(t *testing.T) {
	f := newFake(t)
	var nonces [][]byte
	cut := f.cutOnce()
	f.procs.make = func(ctx context.Context, r *circuitv1.MakeProcRequest) (*circuitv1.MakeReply, error) {
		nonces = append(nonces, r.GetNonce())
		if cut(ctx) {
			return nil, ctx.Err()
		}
		return &circuitv1.MakeReply{Generation: 9}, nil
	}
	c := f.dial()
	p, err := mustWalk(t, c, fakePath+"/p").MakeProc(t.Context(), Cmd{Path: "true"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Generation() != 9 {
		t.Errorf("generation %d, want 9", p.Generation())
	}
	if len(nonces) != 2 || len(nonces[0]) == 0 || !bytes.Equal(nonces[0], nonces[1]) {
		t.Errorf("nonces %x, want the same one twice", nonces)
	}
}

func TestWaitIsRepeated(t *testing.T) {
	f := newFake(t)
	cuts := 0
	f.procs.wait = func(ctx context.Context) (*circuitv1.ProcStat, error) {
		if cuts++; cuts <= 2*maxAttempts {
			f.cut()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &circuitv1.ProcStat{Phase: string(Exited), ExitCode: 3}, nil
	}
	stat, err := mustWalk(t, f.dial(), fakePath+"/p").Proc().Wait(t.Context())
	if err != nil || stat.ExitCode != 3 {
		t.Errorf("wait: %+v, %v", stat, err)
	}
}

func TestSignalIsNotRepeated(t *testing.T) {
	f := newFake(t)
	signals := 0
	f.procs.signal = func(ctx context.Context) error {
		signals++
		f.cut()
		<-ctx.Done()
		return ctx.Err()
	}
	err := mustWalk(t, f.dial(), fakePath+"/p").Proc().Signal(t.Context(), "TERM")
	wantKind(t, err, ErrLost)
	if signals != 1 {
		t.Errorf("sent %d signals", signals)
	}
}

func TestReadsEndUnreachable(t *testing.T) {
	f := newFake(t)
	stats := 0
	f.procs.stat = func(ctx context.Context) (*circuitv1.ProcStat, error) {
		stats++
		f.cut()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stat(t.Context())
	wantKind(t, err, ErrUnreachable)
	if stats != maxAttempts {
		t.Errorf("asked %d times, want %d", stats, maxAttempts)
	}
}

// What the dial-in server lost on the way to another is asked again once.
func TestLostBeyond(t *testing.T) {
	f := newFake(t)
	lost := 1
	f.procs.stat = func(context.Context) (*circuitv1.ProcStat, error) {
		if lost--; lost >= 0 {
			return nil, circuit.Errorf(circuit.Lost, "the connection to X000000000000000b broke")
		}
		return &circuitv1.ProcStat{}, nil
	}
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	if _, err := p.Stat(t.Context()); err != nil {
		t.Errorf("lost once: %v", err)
	}
	lost = 2
	_, err := p.Stat(t.Context())
	wantKind(t, err, ErrUnreachable)
}

func TestContextEndsCalls(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.procs.wait = func(call context.Context) (*circuitv1.ProcStat, error) {
		cancel()
		<-call.Done()
		return nil, call.Err()
	}
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	_, err := p.Wait(ctx)
	wantKind(t, err, ErrCanceled)
	wantKind(t, err, ErrorKind(circuit.Canceled))
	if want := "wait " + fakePath + "/p: canceled"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err = p.Wait(ctx)
	wantKind(t, err, ErrTimeout)
}

func TestHandlesKeepTheirGeneration(t *testing.T) {
	f := newFake(t)
	c := f.dial()
	a := mustWalk(t, c, fakePath+"/c")
	first, err := a.MakeChan(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.MakeChan(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	_, err = first.Stat(t.Context())
	wantKind(t, err, ErrNotFound)
	wantKind(t, first.Scrub(t.Context()), ErrNotFound)
	stat, err := a.Chan().Stat(t.Context())
	if err != nil || stat.Cap != 5 {
		t.Errorf("the successor: %+v, %v", stat, err)
	}
}

func TestGet(t *testing.T) {
	f := newFake(t)
	c := f.dial()
	made, err := mustWalk(t, c, fakePath+"/a/b").MakeChan(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := made.Anchor().Get(t.Context())
	if ch, ok := e.(*Chan); err != nil || !ok || ch.Generation() != made.Generation() || e.Kind() != KindChan {
		t.Errorf("get of a channel: %#v, %v", e, err)
	}
	e, err = c.Server(fakeID).Anchor().Get(t.Context())
	if s, ok := e.(*Server); err != nil || !ok || s.ID() != fakeID {
		t.Errorf("get of a server: %#v, %v", e, err)
	}
	for _, path := range []string{"/", fakePath + "/a", fakePath + "/nothing"} {
		_, err := mustWalk(t, c, path).Get(t.Context())
		wantKind(t, err, ErrNotFound)
	}
}

func TestInvalidRequests(t *testing.T) {
	c := newFake(t).dial()
	a := mustWalk(t, c, fakePath+"/a")
	_, err := a.MakeProc(t.Context(), Cmd{})
	wantKind(t, err, ErrInvalid)
	_, err = a.MakeChan(t.Context(), -1)
	wantKind(t, err, ErrInvalid)
	_, err = c.Root().MakeChan(t.Context(), 0)
	wantKind(t, err, ErrInvalid)
	_, err = c.Walk("hello")
	wantKind(t, err, ErrInvalid)
	_, err = a.Walk("..")
	wantKind(t, err, ErrInvalid)
}
