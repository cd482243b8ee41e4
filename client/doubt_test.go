package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// wantDoubt fails the test unless err is of the kind, and says as well that an
// outcome is not known.
func wantDoubt(t *testing.T, err error, kind ErrorKind, says string) {
	t.Helper()
	if KindOf(err) != kind || !errors.Is(err, ErrLost) || err == nil || !strings.HasSuffix(err.Error(), "; "+says) {
		t.Errorf("error %v, of kind %v; want %v, Lost, and %q", err, KindOf(err), kind, says)
	}
}

// wantCertain fails the test if err says that an outcome is not known.
func wantCertain(t *testing.T, err error, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || errors.Is(err, ErrLost) {
		t.Errorf("error %v, want %v and nothing more", err, kind)
	}
}

// A sender who gives up on a message that has gone out does not know whether it
// arrived, and is told so.
func TestSendGivenUpIsInDoubt(t *testing.T) {
	for name, send := range map[string]func(context.Context, *Chan) error{
		"Send": func(ctx context.Context, ch *Chan) error { return ch.Send(ctx, []byte("x")) },
		"SendFrom": func(ctx context.Context, ch *Chan) error {
			_, err := ch.SendFrom(ctx, bytes.NewReader(make([]byte, 100_000)))
			return err
		},
		"Sender.Close": func(ctx context.Context, ch *Chan) error {
			s := ch.Sender(ctx)
			if err := s.Send([]byte("x")); err != nil {
				return err
			}
			return s.Close()
		},
		"Sender.Flush": func(ctx context.Context, ch *Chan) error {
			s := ch.Sender(ctx)
			defer s.Close()
			if _, err := s.SendFrom(strings.NewReader("x")); err != nil {
				return err
			}
			return s.Flush()
		},
		"Sender.Send": func(ctx context.Context, ch *Chan) error {
			s := ch.Sender(ctx, Ahead(1))
			defer s.Close()
			if err := s.Send([]byte("x")); err != nil {
				return err
			}
			return s.Send([]byte("y"))
		},
		"Sender.Close after a reader that ended with the context": func(ctx context.Context, ch *Chan) error {
			s := ch.Sender(ctx)
			if err := s.Send([]byte("x")); err != nil {
				return err
			}
			cut := readerFunc(func([]byte) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			if _, err := s.SendFrom(io.MultiReader(strings.NewReader("begun"), cut)); err == nil {
				return nil
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { giveUp(t, send) })
		})
	}
}

// giveUp lets send end with its context, in time and in two ways.
func giveUp(t *testing.T, send func(context.Context, *Chan) error) {
	_, ch := newChan(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantDoubt(t, send(ctx, ch), ErrTimeout, sentInDoubt)
	senders(t, ch, 0) // none that waits is left

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan error)
	go func() { ended <- send(ctx, ch) }()
	senders(t, ch, 1)
	interrupt()
	wantDoubt(t, <-ended, ErrCanceled, sentInDoubt)
}

// Who gives up on several messages is told how many were taken.
func TestSendsGivenUpAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ch := newChan(t, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := ch.Sender(ctx)
		for range 5 {
			if err := s.Send([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		wantDoubt(t, s.Close(), ErrTimeout, "the channel took the first 2, and had not said that it took the next 3, which may or may not arrive")
	})
}

// senders waits until that many senders wait at the channel.
func senders(t *testing.T, ch *Chan, n int) {
	t.Helper()
	for {
		stat, err := ch.Stat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stat.Senders == n {
			return
		}
	}
}

// A message whose end was not sent, or of which nothing was, arrives nowhere.
func TestSendGivenUpBefore(t *testing.T) {
	_, ch := newChan(t, 1)
	var ctx context.Context
	var cancel context.CancelFunc
	cut := readerFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() })

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	_, err := ch.SendFrom(ctx, io.MultiReader(strings.NewReader("begun"), cut))
	wantCertain(t, err, context.Canceled)
	wantCertain(t, ch.Send(ctx, []byte("x")), ErrCanceled)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	s := ch.Sender(ctx)
	if err := s.Send([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = s.SendFrom(io.MultiReader(strings.NewReader("begun"), cut))
	wantCertain(t, err, context.Canceled)
	wantCertain(t, s.Close(), context.Canceled)
}

// A receiver who gives up before its acknowledgement is confirmed does not know
// whether the message comes again, and is told so.
func TestRecvGivenUpIsInDoubt(t *testing.T) {
	for name, confirm := range map[string]func(*Receiver, *Message) error{
		"Done":  func(_ *Receiver, m *Message) error { return m.Done() },
		"Flush": func(r *Receiver, m *Message) error { return errors.Join(m.Ack(), r.Flush()) },
		"Close": func(r *Receiver, m *Message) error { _ = m.Ack(); return r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			_, ch := newChan(t, 1)
			if err := ch.Send(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			r := ch.Receiver(ctx)
			defer r.Close()
			m, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Bytes(); err != nil {
				t.Fatal(err)
			}
			cancel()
			err = confirm(r, m)
			wantDoubt(t, err, ErrCanceled, "another receiver may get again what was received")
			if err != nil && !strings.HasPrefix(err.Error(), "recv "+ch.Path().String()+": canceled; ") {
				t.Errorf("error %q", err)
			}
		})
	}
}

// All ends cleanly after the last message of a closed channel only.
func TestAllOfAScrubbedChan(t *testing.T) {
	f, ch := newChan(t, 1)
	r := ch.Receiver(t.Context())
	ended := make(chan error)
	go func() {
		var last error
		for _, err := range r.All() {
			last = err
		}
		ended <- last
	}()
	for {
		if stat, err := ch.Stat(t.Context()); err != nil || stat.Receivers == 1 {
			break
		}
	}
	if err := f.other(ch).Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-ended, ErrClosed)
}

// What changes something, and is given up after it has gone out, may have been
// done, and says where to look. What only asks says nothing of the kind.
func TestCallsGivenUp(t *testing.T) {
	const path = fakePath + "/p"
	const peek = "circuit peek " + path + " shows what is there now"
	const ls = "circuit ls / shows which servers there are now"
	for name, test := range map[string]struct {
		call func(context.Context, *Anchor) error
		look string // empty for what only asks
	}{
		"mkproc":  {func(ctx context.Context, a *Anchor) error { _, err := a.MakeProc(ctx, Cmd{Path: "true"}); return err }, peek},
		"mkchan":  {func(ctx context.Context, a *Anchor) error { _, err := a.MakeChan(ctx, 0); return err }, peek},
		"scrub":   {func(ctx context.Context, a *Anchor) error { return a.Scrub(ctx) }, peek},
		"signal":  {func(ctx context.Context, a *Anchor) error { return a.Proc().Signal(ctx, "TERM") }, peek},
		"close":   {func(ctx context.Context, a *Anchor) error { return a.Chan().Close(ctx) }, peek},
		"join":    {func(ctx context.Context, a *Anchor) error { return a.Server().Join(ctx, fakeAddr) }, ls},
		"suicide": {func(ctx context.Context, a *Anchor) error { return a.Server().Suicide(ctx) }, ls},
		"peek":    {func(ctx context.Context, a *Anchor) error { _, err := a.Chan().Stat(ctx); return err }, ""},
		"wait":    {func(ctx context.Context, a *Anchor) error { _, err := a.Proc().Wait(ctx); return err }, ""},
		"stk":     {func(ctx context.Context, a *Anchor) error { return a.Server().Stacks(ctx, io.Discard) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				a := mustWalk(t, f.dial(), path)
				f.mem.Cut("client", f.host)
				check := func(ctx context.Context, kind ErrorKind) {
					t.Helper()
					if err := test.call(ctx, a); test.look == "" {
						wantCertain(t, err, kind)
					} else {
						wantDoubt(t, err, kind, "what was asked may or may not have been done; "+test.look)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				check(ctx, ErrTimeout)
				wantCertain(t, test.call(ctx, a), ErrTimeout) // nothing went out this time
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				check(ctx, ErrCanceled)
			})
		})
	}
}

// A call that is repeated, and given up before it can be, may have been done the
// first time.
func TestRepeatedCallGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		f.procs.make = func(call context.Context, _ *circuitv1.MakeProcRequest) (*circuitv1.MakeReply, error) {
			f.mem.Cut("client", f.host)
			f.cut()
			time.AfterFunc(time.Second, cancel)
			<-call.Done()
			return nil, call.Err()
		}
		_, err := mustWalk(t, f.dial(), fakePath+"/p").MakeProc(ctx, Cmd{Path: "true"})
		if KindOf(err) != ErrCanceled || !errors.Is(err, ErrLost) {
			t.Errorf("error %v", err)
		}
	})
}

// What a process was not handed for sure when its writer gave up is in doubt;
// what nobody sent is not.
func TestStdinGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		handed uint64 // what the server says
		feed   func(w *Stdin) error
		doubt  bool
	}{
		"in the middle":    {2, func(w *Stdin) error { _, err := w.Write([]byte("more")); return errors.Join(err, w.Detach()) }, true},
		"all but the end":  {4, func(w *Stdin) error { _, err := w.Write([]byte("more")); return errors.Join(err, w.Close()) }, true},
		"nothing but end":  {0, (*Stdin).Close, true},
		"all, and no end":  {4, func(w *Stdin) error { _, err := w.Write([]byte("more")); return errors.Join(err, w.Detach()) }, false},
		"nothing was sent": {0, (*Stdin).Detach, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			ctx, cancel := context.WithCancel(t.Context())
			f.procs.stdin = func(s stdinServer) error {
				_ = s.Send(&circuitv1.StdinReply{Turn: true})
				_, _ = s.Recv()
				_ = s.Send(&circuitv1.StdinReply{Written: test.handed})
				<-s.Context().Done()
				return s.Context().Err()
			}
			w := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdin(ctx)
			if _, err := w.Write(nil); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- test.feed(w) }()
			for test.handed > 0 && w.Written() < test.handed {
				runtime.Gosched()
			}
			cancel()
			if err := <-ended; KindOf(err) != ErrCanceled || errors.Is(err, ErrLost) != test.doubt {
				t.Errorf("error %v", err)
			} else if says := fmt.Sprintf("the process has %d bytes of the input, and may or may not have what followed; circuit peek ", test.handed); test.doubt && !strings.Contains(err.Error(), says) {
				t.Errorf("error %q, want %q in it", err, says)
			}
		})
	}
}
