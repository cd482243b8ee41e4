package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit/internal/credential"
)

// attacks are connections that a server must not be hurt by. Each uses c and
// may keep it open; the caller closes it.
func attacks(t testing.TB) map[string]func(c net.Conn) {
	foreign := newCredential(t, credential.NewKey(), credential.Client, 0).ClientTLS(0)
	foreign.InsecureSkipVerify, foreign.VerifyConnection = true, nil
	nameless := foreign.Clone()
	nameless.Certificates = nil
	hello := recordHello(t, foreign)
	shake := func(c net.Conn, config *tls.Config) {
		s := tls.Client(c, config)
		if s.Handshake() == nil {
			s.Read(make([]byte, 1))
		}
	}
	return map[string]func(net.Conn){
		"mute":       func(net.Conn) {},
		"garbage":    func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\nHost: circuit\r\n\r\n") },
		"half hello": func(c net.Conn) { c.Write(hello[:len(hello)/2]) },
		"hello":      func(c net.Conn) { c.Write(hello) },
		"nameless":   func(c net.Conn) { shake(c, nameless) },
		"foreign":    func(c net.Conn) { shake(c, foreign) },
	}
}

// recordHello returns the first record that a TLS client sends.
func recordHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	here, there := newMemoryPair(NewMemory(), memoryAddr{"a", 1}, memoryAddr{"b", 1})
	go tls.Client(here, config).Handshake()
	buf := make([]byte, 16<<10)
	n, err := there.Read(buf)
	there.Close()
	here.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// TestFlood attacks a server on a real port while an honest client calls it
// again and again. Every call must succeed; how soon is TestFloodInTime's matter.
func TestFlood(t *testing.T) {
	s := startServer(t, TCP{}, "127.0.0.1:0", ListenConfig{})
	t.Logf("the slowest honest call took %v", flood(t, s, TCP{}))
}

// TestFloodInTime is TestFlood where time is simulated, only handshakes take
// any, and all places are taken from the beginning. An honest call from the
// attackers' own host must not take a second: fifty handshakes.
func TestFloodInTime(t *testing.T) {
	const places = 64
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{MaxHandshakes: places})
		slowDown(s, 20*time.Millisecond)
		for range places {
			mute, err := m.Host("c").Dial(t.Context(), "s:11022")
			if err != nil {
				t.Fatal(err)
			}
			defer mute.Close()
		}
		slowest := flood(t, s, m.Host("c"))
		t.Logf("the slowest honest call took %v", slowest)
		if slowest > time.Second {
			t.Errorf("an honest call took %v", slowest)
		}
	})
}

// slowDown leaves a server that has not been dialled yet one processor, of
// which a handshake takes cost. It is for bubbles.
func slowDown(s *testServer, cost time.Duration) {
	s.gate.turns = 1
	s.tls.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(cost)
		return nil, nil
	}
}

// flood attacks a server with hundreds of connections of each kind while an
// honest client dials and calls it again and again. It returns how long that
// took the client at most.
func flood(t *testing.T, s *testServer, network Network) (slowest time.Duration) {
	t.Helper()
	const eachKind, attackers = 300, 16
	addr, kinds := s.Addr().String(), attacks(t)
	todo, open := make(chan func(net.Conn)), make(chan net.Conn, eachKind*len(kinds))
	var attack sync.WaitGroup
	for range attackers {
		attack.Go(func() {
			for f := range todo {
				c, err := network.Dial(t.Context(), addr)
				if err != nil {
					continue
				}
				f(c)
				open <- c
			}
		})
	}
	var over atomic.Bool
	attack.Go(func() {
		defer close(todo)
		for range eachKind {
			for _, f := range kinds {
				todo <- f
			}
		}
		over.Store(true)
	})
	d := s.dialer(t, network)
	for calls := 0; !over.Load() || calls < 20; calls++ {
		took, err := call(t.Context(), d, addr)
		if err != nil {
			t.Error(err)
			break
		}
		slowest = max(slowest, took)
		<-s.calls
	}
	attack.Wait()
	close(open)
	for c := range open {
		c.Close()
	}
	select {
	case p := <-s.calls:
		t.Errorf("an attacker was served, as %v", p)
	default:
	}
	return slowest
}

// call dials a server and calls it once. It returns how long that took.
func call(ctx context.Context, d *Dialer, addr string) (took time.Duration, err error) {
	began := time.Now()
	c, err := d.Dial(ctx, addr, testID)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = signal(ctx, c)
	return time.Since(began), err
}

// TestCrowdLeavesTurnsToOthers lets several hosts ask for more handshakes than
// the server can make in time. A call from another host waits for one
// handshake of each of them, at most, before either step of its own.
func TestCrowdLeavesTurnsToOthers(t *testing.T) {
	const hosts, eachHost, cost = 5, 200, 20 * time.Millisecond
	const most = (2*(hosts+1) + 1) * cost
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		slowDown(s, cost)
		hello := attacks(t)["hello"]
		for i := range hosts * eachHost {
			c, err := m.Host(fmt.Sprint("evil", i%hosts)).Dial(t.Context(), "s:11022")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			hello(c)
		}
		synctest.Wait()
		d := s.dialer(t, m.Host("c"))
		for range 20 {
			took, err := call(t.Context(), d, "s:11022")
			if err != nil {
				t.Fatal(err)
			}
			if took > most {
				t.Errorf("a call took %v, more than %v", took, most)
			}
		}
		s.gate.mu.Lock()
		defer s.gate.mu.Unlock()
		if s.gate.waiting.Len() < hosts {
			t.Error("there was no crowd any more")
		}
	})
}

// TestAttackersAreRefused waits, for each attack alone, until the server closes
// the connection.
func TestAttackersAreRefused(t *testing.T) {
	for name := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
				c, err := m.Host("c").Dial(t.Context(), "s:11022")
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				attacks(t)[name](c)
				io.Copy(io.Discard, c)
				c.Close()
				if took := time.Since(began); took > handshakeTime {
					t.Errorf("it took %v", took)
				}
				synctest.Wait()
				if n := s.gate.guests.len(); n != 0 {
					t.Errorf("%d guests are left", n)
				}
			})
		})
	}
}
