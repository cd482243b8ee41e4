package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a connection from host "a" to host "b".
func pair(t *testing.T, m *Memory) (a, b net.Conn) {
	t.Helper()
	l, err := m.Host("b").Listen("b:0")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = m.Host("a").Dial(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	return a, b
}

func TestMemoryCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m)
		m.Cut("b", "a")
		if _, err := a.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		b.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read across the cut gives %v", err)
		}
		a.Close()
		b.SetReadDeadline(time.Time{})
		m.Heal("a", "b")
		if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
			t.Errorf("after the cut: %q, %v", got, err)
		}
	})
}

func TestMemoryCutOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m)
		m.CutOneWay("a", "b")
		for _, c := range []net.Conn{a, b} {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(time.Hour))
		}
		if n, err := a.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("the way that is open: %d, %v", n, err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read across the cut gives %v", err)
		}
		for from, to := range map[string]string{"a": "b", "b": "a"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := m.Host(from).Dial(ctx, to+":1"); ctx.Err() == nil {
				t.Errorf("a dial across the cut ends with %v", err)
			}
			cancel()
		}
		m.Heal("b", "a")
		b.SetReadDeadline(time.Time{})
		if n, err := b.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("after the cut: %d, %v", n, err)
		}
	})
}

func TestMemoryBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, NewMemory())
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 2*memoryWindow))
		if n != memoryWindow || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		}
		b.Close()
		a.SetWriteDeadline(time.Time{})
		if _, err := a.Write([]byte("x")); err == nil {
			t.Error("a write to a closed end succeeds")
		}
	})
}

func TestMemoryStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m)
		if _, err := m.Host("b").Listen("b:1"); err != nil {
			t.Fatal(err)
		}
		m.Stop("b")
		for _, c := range []net.Conn{a, b} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
		}
		if _, err := m.Host("a").Dial(t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling gives %v", err)
		}
		if _, err := m.Host("b").Listen("a:1"); err == nil {
			t.Error("a host listens on another's address")
		}
		l, err := m.Host("a").Listen("a:1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := m.Host("b").Dial(t.Context(), "a:1"); err == nil {
			t.Error("a stopped host dials")
		}
		if _, err := m.Host("b").Listen("b:1"); err != nil {
			t.Errorf("the port is not free: %v", err)
		}
		if _, err := m.Host("b").Dial(t.Context(), "a:1"); err != nil {
			t.Errorf("started again, it does not dial: %v", err)
		}
	})
}

func TestMemoryDialAcrossCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		l, err := m.Host("b").Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		m.Cut("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Host("a").Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.AfterFunc(time.Second, func() { m.Heal("a", "b") })
		if _, err := m.Host("a").Dial(t.Context(), "b:1"); err != nil {
			t.Error(err)
		}
		l.Close()
	})
}
