package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
)

// poolWorld is a server "s" and a pool of the host "c", in a bubble.
func poolWorld(t *testing.T, f func(t *testing.T, m *Memory, s *testServer, p *Pool)) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		p := NewPool(s.dialer(t, m.Host("c")))
		defer p.Close()
		f(t, m, s, p)
	})
}

func get(t *testing.T, p *Pool) *Conn {
	t.Helper()
	c, err := p.Get(t.Context(), testID, "s:11022")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPoolShares(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		conns := make([]*Conn, 10)
		var callers sync.WaitGroup
		for i := range conns {
			callers.Go(func() { conns[i] = get(t, p) })
		}
		callers.Wait()
		for i, c := range conns {
			if c != conns[0] {
				t.Errorf("caller %d got another connection", i)
			}
		}
		if n := len(m.conns) / 2; n != 1 {
			t.Errorf("there are %d connections", n)
		}
	})
}

func TestPoolReplacesTheBroken(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		first := get(t, p)
		m.Reset("c", "s")
		<-first.Done()
		second := get(t, p)
		if second == first {
			t.Fatal("the broken connection was given out")
		}
		if err := signal(t.Context(), second); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolDrop(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		c := get(t, p)
		ended := pend(t, s, c)
		m.Cut("c", "s")
		began := time.Now()
		p.Drop(testID)
		p.Drop(testID)
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Errorf("a pending call ends with %v", err)
		}
		// A dial that is under way ends as well.
		failed := make(chan error, 1)
		go func() {
			_, err := p.Get(t.Context(), testID, "s:11022")
			failed <- err
		}()
		synctest.Wait()
		p.Drop(testID)
		checkDialError(t, <-failed, circuit.Unreachable, "s:11022", "declared dead")
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		m.Heal("c", "s")
		get(t, p)
	})
}

func TestPoolClosesTheIdle(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		c := get(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		wait(ctx, c)
		select {
		case <-c.Done():
			t.Fatal("it was closed while a call was pending")
		default:
		}
		began := time.Now()
		<-c.Done()
		if idle := time.Since(began); idle < poolIdle || idle > poolIdle+2*poolTick {
			t.Errorf("it was closed after %v", idle)
		}
		time.Sleep(poolTick)
		p.mu.Lock()
		if p.sweeping {
			t.Error("an empty pool is swept")
		}
		p.mu.Unlock()
		get(t, p)
	})
}

func TestPoolErrors(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		_, err := p.Get(t.Context(), testID, "s:1")
		checkDialError(t, err, circuit.Unreachable, "s:1", "nothing listens")
		_, err = p.Get(t.Context(), 7, "s:11022")
		checkDialError(t, err, circuit.Unreachable, "s:11022", circuit.ServerID(7).String())
		if n := len(p.entries); n != 0 {
			t.Errorf("%d failures are kept", n)
		}
		m.Cut("c", "s")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Get(ctx, testID, "s:11022")
		checkDialError(t, err, circuit.Timeout, "s:11022")
		p.Close()
		if _, err = p.Get(t.Context(), testID, "s:11022"); !errors.Is(err, circuit.Closed) {
			t.Errorf("a closed pool gives %v", err)
		}
		m.Heal("c", "s")
	})
}

// TestPoolRace uses, drops and breaks connections at once; the race detector
// and the bubble's end, which waits for every goroutine, judge it.
func TestPoolRace(t *testing.T) {
	poolWorld(t, func(t *testing.T, m *Memory, s *testServer, p *Pool) {
		go func() {
			for range s.calls {
			}
		}()
		defer close(s.calls)
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				for j := range 50 {
					switch {
					case i == 0 && j%10 == 0:
						m.Reset("c", "s")
					case i == 1 && j%10 == 0:
						p.Drop(testID)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					if c, err := p.Get(ctx, testID, "s:11022"); err == nil {
						signal(ctx, c)
					}
					if ctx.Err() != nil {
						t.Error(fmt.Errorf("a caller hangs: %w", ctx.Err()))
					}
					cancel()
				}
			})
		}
		callers.Wait()
	})
}
