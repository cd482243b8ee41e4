package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// statOf lets the fake's processes have a PID.
func statOf(pid int) func(context.Context) (*circuitv1.ProcStat, error) {
	return func(context.Context) (*circuitv1.ProcStat, error) {
		return rpc.ProcStatToProto(ProcStat{Pid: pid, Phase: Running}), nil
	}
}

func TestDialGreets(t *testing.T) {
	f := newFake(t)
	c := f.dial()
	want := DialIn{ID: fakeID, Address: fakeAddr, Software: "fake"}
	if got := c.DialIn(); got != want {
		t.Errorf("dialled in at %+v, want %+v", got, want)
	}
}

func TestDialFails(t *testing.T) {
	f := newFake(t)
	for _, test := range []struct {
		name, url string
		opts      []Option
		kind      ErrorKind
		says      string
	}{
		{"no such server", "server:2", nil, ErrUnreachable, "server:2: nothing listens there"},
		{"not a URL", "server", nil, ErrInvalid, "not a circuit URL"},
		{"another key", fakeAddr, []Option{WithKey(credential.NewKey())}, ErrDenied, "another circuit"},
		{"another server", "circuit://" + fakeAddr + "/1/Q000000000000000b", nil, ErrUnreachable, "X000000000000000b"},
		{"keys that disagree", "circuit://" + credential.NewKey().Encode() + "@" + fakeAddr, nil, ErrInvalid, "two different keys"},
		{"none of several", "server:2", []Option{WithFallback("server:3")}, ErrUnreachable, "server:3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Dial(t.Context(), test.url, append(f.options(), test.opts...)...)
			wantKind(t, err, test.kind)
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
			if strings.Contains(err.Error(), f.key.Encode()) {
				t.Errorf("error %q tells the key", err)
			}
		})
	}
}

func TestDialNeedsCommonVersion(t *testing.T) {
	f := newFake(t)
	f.servers.hello = func() *circuitv1.Hello {
		return &circuitv1.Hello{MinVersion: 7, MaxVersion: 9, Software: "circuit from tomorrow"}
	}
	_, err := Dial(t.Context(), fakeAddr, f.options()...)
	wantKind(t, err, ErrUnsupported)
	if !strings.Contains(err.Error(), "7 to 9") {
		t.Errorf("error %q does not name the versions", err)
	}
}

func TestDialFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.mem.Cut("client", "lost")
		began := time.Now()
		c, err := Dial(t.Context(), "lost:1", append(f.options(), WithFallback("server:2", fakeAddr))...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v to find the one that answers", took)
		}
		if got := c.DialIn().Address; got != fakeAddr {
			t.Errorf("dialled in at %s", got)
		}
	})
}

func TestDialOfSilentServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.mem.Cut("client", fakeHost)
		began := time.Now()
		_, err := Dial(t.Context(), fakeAddr, f.options()...)
		wantKind(t, err, ErrUnreachable)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = Dial(ctx, fakeAddr, f.options()...)
		wantKind(t, err, ErrTimeout)
	})
}

func TestReconnects(t *testing.T) {
	f := newFake(t)
	f.procs.stat = statOf(7)
	c := f.dial()
	p := mustWalk(t, c, fakePath+"/p").Proc()
	for range 3 {
		f.end()
		f.start()
		stat, err := p.Stat(t.Context())
		if err != nil || stat.Pid != 7 {
			t.Fatalf("stat after a restart: %+v, %v", stat, err)
		}
	}
}

func TestReconnectsWhenTheServerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.procs.stat = statOf(7)
		c := f.dial()
		f.end()
		time.AfterFunc(2*time.Second, f.start)
		if _, err := mustWalk(t, c, fakePath+"/p").Proc().Stat(t.Context()); err != nil {
			t.Errorf("stat while the server restarts: %v", err)
		}
	})
}

func TestReconnectsElsewhere(t *testing.T) {
	f := newFake(t)
	g := newFakeAt(t, f.mem, "other", 0xb, f.key)
	g.procs.stat = statOf(8)
	c := f.dial(WithFallback(g.addr))
	f.end()
	stat, err := mustWalk(t, c, fakePath+"/p").Proc().Stat(t.Context())
	if err != nil || stat.Pid != 8 || c.DialIn().ID != g.id {
		t.Errorf("stat by the other server: pid %d, %v; dialled in at %v", stat.Pid, err, c.DialIn())
	}
}

func TestManyCallsShareOneReconnect(t *testing.T) {
	f := newFake(t)
	f.procs.stat = statOf(7)
	c := f.dial()
	p := mustWalk(t, c, fakePath+"/p").Proc()
	f.end()
	f.start()
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := p.Stat(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if f.servers.greeted != 2 {
		t.Errorf("greeted %d times, want once for each connection", f.servers.greeted)
	}
}

func TestCallsToSilentServerEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.procs.stat = statOf(7)
		c := f.dial()
		a := mustWalk(t, c, fakePath+"/p")
		ch, err := mustWalk(t, c, fakePath+"/c").MakeChan(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		f.mem.Cut("client", fakeHost)
		var calls sync.WaitGroup
		defer calls.Wait()
		for name, call := range map[string]func() error{
			"stat":    func() error { _, err := a.Proc().Stat(t.Context()); return err },
			"wait":    func() error { _, err := a.Proc().Wait(t.Context()); return err },
			"stdout":  func() error { _, err := a.Proc().Stdout(t.Context()).Read(make([]byte, 1)); return err },
			"recv":    func() error { _, err := ch.Recv(t.Context()); return err },
			"send":    func() error { return ch.Send(t.Context(), []byte("x")) },
			"stdin":   func() error { return a.Proc().Stdin(t.Context()).Close() },
			"mkproc":  func() error { _, err := a.MakeProc(t.Context(), Cmd{Path: "true"}); return err },
			"signal":  func() error { return a.Proc().Signal(t.Context(), "TERM") },
			"ls":      func() error { return firstError(c.Root().View(t.Context())) },
			"ls -R":   func() error { return firstError(c.Root().ViewAll(t.Context())) },
			"suicide": func() error { return c.Server(fakeID).Suicide(t.Context()) },
		} {
			calls.Go(func() {
				began := time.Now()
				err := call()
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%s took %v", name, took)
				}
				if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrLost) {
					t.Errorf("%s: %v", name, err)
				}
				t.Logf("%s: %v after %v", name, err, time.Since(began))
			})
		}
	})
}

// A client that waits for a silent server is told so, within the limit that it
// is told of; one that waits for a message is not.
func TestNoticeOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		notices := make(chan string, 10)
		c := f.dial(WithNotice(func(text string) { notices <- text }))
		ch, err := mustWalk(t, c, fakePath+"/c").MakeChan(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			_, err := ch.Recv(t.Context())
			failed <- err
		}()
		time.Sleep(time.Hour)
		if len(notices) > 0 {
			t.Errorf("told %q while all is well", <-notices)
		}
		f.mem.Cut("client", fakeHost)
		began := time.Now()
		if got, want := <-notices, fakeAddr+" has not answered for 3s; still waiting, up to 10s"; got != want || time.Since(began) > 3*time.Second {
			t.Errorf("told %q after %v", got, time.Since(began))
		}
		wantKind(t, <-failed, ErrUnreachable)
		if took := time.Since(began); took > mostSilence || len(notices) > 0 {
			t.Errorf("it took %v, and was told %d times more", took, len(notices))
		}
	})
}

func firstError(seq func(func(Entry, error) bool)) (err error) {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestCloseEndsCalls(t *testing.T) {
	f := newFake(t)
	waiting := make(chan struct{})
	f.procs.wait = func(ctx context.Context) (*circuitv1.ProcStat, error) {
		close(waiting)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := f.dial()
	p := mustWalk(t, c, fakePath+"/p").Proc()
	failed := make(chan error)
	go func() {
		_, err := p.Wait(t.Context())
		failed <- err
	}()
	<-waiting
	c.Close()
	wantKind(t, <-failed, ErrClosed)
	_, err := p.Wait(t.Context())
	wantKind(t, err, ErrClosed)
	if err := c.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestSeveralClients(t *testing.T) {
	mem := transport.NewMemory()
	f := newFakeAt(t, mem, "one", 0xa, credential.NewKey())
	g := newFakeAt(t, mem, "two", 0xb, credential.NewKey())
	f.procs.stat, g.procs.stat = statOf(1), statOf(2)
	for i, c := range []*Client{f.dial(), g.dial()} {
		stat, err := c.Anchor(circuit.ServerID(1).Path()).Proc().Stat(t.Context())
		if err != nil || stat.Pid != i+1 {
			t.Errorf("client %d: pid %d, %v", i, stat.Pid, err)
		}
	}
}
