package transport

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// world is a server "s" and a connection to it from "c", in a bubble.
func world(t *testing.T, f func(t *testing.T, m *Memory, s *testServer, c *Conn)) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		f(t, m, s, s.dial(t, m.Host("c")))
	})
}

func wait(ctx context.Context, c *Conn) error {
	_, err := circuitv1.NewProcsClient(c).Wait(ctx, &circuitv1.WaitProcRequest{})
	return err
}

// pend makes a call that the server never answers, and returns how it ends.
func pend(t *testing.T, s *testServer, c *Conn) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- wait(t.Context(), c) }()
	<-s.calls
	return ended
}

// checkOver wants calls on c to fail at once, as Unreachable.
func checkOver(t *testing.T, c *Conn) {
	t.Helper()
	<-c.Done()
	began := time.Now()
	err := signal(context.Background(), c)
	if status.Code(err) != codes.Unavailable || circuit.KindOf(rpc.FromStatus("", "", err)) != circuit.Unreachable {
		t.Errorf("a late call gives %v", err)
	}
	for _, ctx := range []context.Context{t.Context(), rpc.WithBulk(t.Context())} {
		_, err = circuitv1.NewProcsClient(c).Stdin(ctx)
		if status.Code(err) != codes.Unavailable || circuit.KindOf(rpc.FromStatus("", "", err)) != circuit.Unreachable {
			t.Errorf("a late stream gives %v", err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to fail", took)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		ended := pend(t, s, c)
		stream, err := circuitv1.NewProcsClient(c).Stdin(rpc.WithBulk(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.Close()
		for _, err := range []error{<-ended, stream.RecvMsg(new(circuitv1.StdinReply))} {
			if status.Code(err) != codes.Unavailable || circuit.KindOf(rpc.FromStatus("", "", err)) != circuit.Lost {
				t.Errorf("a pending call ends with %v", err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		checkOver(t, c)
		c.Close()
	})
}

// TestCloseWhileCut closes a connection on which nothing gets through.
func TestCloseWhileCut(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		ended := pend(t, s, c)
		stuck := make(chan error, 1)
		stream, err := circuitv1.NewProcsClient(c).Stdin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.Cut("c", "s")
		go func() {
			for {
				if err := stream.Send(&circuitv1.Frame{Data: make([]byte, 64<<10)}); err != nil {
					stuck <- err
					return
				}
			}
		}()
		synctest.Wait()
		began := time.Now()
		c.Close()
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("a pending call ends with %v", err)
		}
		if err := <-stuck; err == nil {
			t.Error("a blocked sender goes on")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		m.Heal("c", "s")
	})
}

func TestBreakEndsCalls(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		ended := pend(t, s, c)
		m.Reset("c", "s")
		if err := <-ended; status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "s:11022") {
			t.Errorf("a pending call ends with %v", err)
		}
		checkOver(t, c)
		synctest.Wait()
		if n := len(m.conns); n != 0 {
			t.Errorf("there are %d ends of connections: it was replaced", n)
		}
	})
}

// TestGoodbye stops the server gracefully: no new calls, but those under way
// get their answers.
func TestGoodbye(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		stream, err := circuitv1.NewProcsClient(c).Stdin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&circuitv1.Frame{Data: []byte("abc")}); err != nil {
			t.Fatal(err)
		}
		stopped := make(chan struct{})
		go func() {
			for _, g := range s.grpc {
				g.GracefulStop()
			}
			close(stopped)
		}()
		checkOver(t, c)
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || r.Written != 3 || !r.Closed {
			t.Errorf("got %v, %v", r, err)
		}
		if _, err := stream.Recv(); err != io.EOF {
			t.Error(err)
		}
		<-stopped
	})
}

func TestServerErrorsPass(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		_, err := circuitv1.NewProcsClient(c).Make(t.Context(), &circuitv1.MakeProcRequest{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := wait(ctx, c); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := wait(ctx, c); status.Code(err) != codes.Canceled {
			t.Errorf("got %v", err)
		}
	})
}

func TestBulkHasItsOwnConnection(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		count := func() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.conns) / 2 }
		open := func() grpc.BidiStreamingClient[circuitv1.Frame, circuitv1.StdinReply] {
			stream, err := circuitv1.NewProcsClient(c).Stdin(rpc.WithBulk(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			return stream
		}
		if n := count(); n != 1 {
			t.Fatalf("%d connections before it is needed", n)
		}
		a, b := open(), open()
		if n := count(); n != 2 {
			t.Fatalf("%d connections", n)
		}
		// It breaks, and is made again for the next call; the first one stays.
		first := c.bulk
		first.conn.abort()
		for _, s := range []grpc.ClientStream{a, b} {
			if err := s.RecvMsg(new(circuitv1.StdinReply)); status.Code(err) != codes.Unavailable {
				t.Errorf("a stream on it ends with %v", err)
			}
		}
		open()
		if err := signal(t.Context(), c); err != nil || c.bulk == first || count() != 2 {
			t.Errorf("%v, %d connections", err, count())
		}
		m.Stop("s")
		checkOver(t, c)
	})
}

func TestSilenceEndsCalls(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
			ctx := t.Context()
			if bulk {
				ctx = rpc.WithBulk(ctx)
			}
			stream, err := circuitv1.NewProcsClient(c).Stdin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			m.Cut("c", "s")
			began := time.Now()
			if err = stream.RecvMsg(new(circuitv1.StdinReply)); status.Code(err) != codes.Unavailable {
				t.Errorf("the call ends with %v", err)
			}
			if took := time.Since(began); took != silentTime+noticeTime+answerTime {
				t.Errorf("it took %v", took)
			}
			if !strings.Contains(err.Error(), "nothing came for 6s") {
				t.Errorf("it says %v", err)
			}
			m.Heal("c", "s")
		})
	}
}

// TestSilenceIsTold lets a server fall silent for a while, and then for good:
// that is told before the call that waits for it ends. Nothing is told of one
// that is alive, however long the call waits.
func TestSilenceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		d := s.dialer(t, m.Host("c"))
		told := 0
		d.OnSilence = func(addr string, silent time.Duration) {
			if told++; addr != "s:11022" || silent < silentTime+noticeTime || silent > 2*silentTime+noticeTime {
				t.Errorf("told of %s, silent for %v", addr, silent)
			}
		}
		c, err := d.Dial(t.Context(), "s:11022", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ended := pend(t, s, c)
		after := func(pause time.Duration, want int) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if told != want {
				t.Errorf("told %d times, want %d", told, want)
			}
		}
		after(time.Hour, 0)
		m.Cut("c", "s")
		after(silentTime+noticeTime, 1)
		m.Heal("c", "s")
		after(time.Hour, 1)
		m.Cut("c", "s")
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("the call ends with %v", err)
		}
		after(time.Hour, 2)
		m.Heal("c", "s")
	})
}

// TestSilenceIsNoticedByShortCalls makes calls that give up sooner than the
// check would; the connection must end all the same.
func TestSilenceIsNoticedByShortCalls(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		m.Cut("c", "s")
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := wait(ctx, c)
			cancel()
			if status.Code(err) == codes.Unavailable {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatal("the connection is never given up")
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		m.Heal("c", "s")
	})
}

// TestPatience waits for an hour on a server that is alive.
func TestPatience(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := wait(ctx, c); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("it ended with %v", err)
		}
		if err := signal(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

// TestIdleIsSilent checks that a client without calls sends nothing itself.
func TestIdleIsSilent(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		if err := signal(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * silentTime)
		c.main.mu.Lock()
		defer c.main.mu.Unlock()
		if c.main.armed {
			t.Error("the silence check runs although no call is pending")
		}
		if idle := c.idleFor(); idle != 2*silentTime {
			t.Errorf("idle for %v", idle)
		}
	})
}

// TestVanishedClient cuts a client off; the server's calls for it end.
func TestVanishedClient(t *testing.T) {
	world(t, func(t *testing.T, m *Memory, s *testServer, c *Conn) {
		pend(t, s, c)
		m.Cut("c", "s")
		began := time.Now()
		<-s.ended
		if took := time.Since(began); took > pingAfter+pingWait {
			t.Errorf("noticed after %v", took)
		}
		m.Heal("c", "s")
	})
}
