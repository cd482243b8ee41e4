package transport

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// checkRefused wants a call on c to be told of the limit.
func checkRefused(t *testing.T, ctx context.Context, c *Conn) {
	t.Helper()
	stream, err := circuitv1.NewProcsClient(c).Output(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	err = rpc.FromStatus("stdout", "/", err)
	if circuit.KindOf(err) != circuit.Exhausted || !strings.Contains(err.Error(), "has 2 connections of clients") || !strings.Contains(err.Error(), "--limit connections") {
		t.Errorf("a client over the limit is told %v", err)
	}
}

// TestClientOverTheLimitIsTold lets a client in that is one too many: it learns
// of the limit, on both of its connections, and then has to go.
func TestClientOverTheLimitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{MaxConns: 2})
		a, _ := s.dial(t, m.Host("c")), s.dial(t, m.Host("c"))
		checkRefused(t, rpc.WithBulk(t.Context()), a) // its second connection is the third
		c := s.dial(t, m.Host("c"))
		checkRefused(t, t.Context(), c)
		checkRefused(t, rpc.WithBulk(t.Context()), c)
		if err := signal(t.Context(), a); err != nil {
			t.Errorf("a client within the limit: %v", err)
		}
		began := time.Now()
		<-c.Done()
		if took := time.Since(began); took > 2*refusedTime {
			t.Errorf("it may stay for %v", took)
		}
		// Who stays all the same, without a word, is closed.
		time.Sleep(3 * refusedTime)
		s.refused.mu.Lock()
		n := len(s.refused.conns)
		s.refused.mu.Unlock()
		if n != 0 {
			t.Errorf("%d connections are still being refused", n)
		}
		// Once there is room, the same client is served.
		a.Close()
		synctest.Wait()
		if err := signal(t.Context(), s.dial(t, m.Host("c"))); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalsAreBounded holds more connections over the limit than are told
// of it.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{MaxConns: 2})
		d := s.dialer(t, m.Host("c"))
		for range 2 + maxRefused {
			s.dial(t, m.Host("c"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), refusedTime/2)
		defer cancel()
		if c, err := d.Dial(ctx, "s:11022", 0); err == nil {
			c.Close()
			t.Fatal("there is no limit")
		}
		// Its dialler tries until those before it had to go.
		checkRefused(t, t.Context(), s.dial(t, m.Host("c")))
	})
}
