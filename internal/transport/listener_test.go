package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
)

func TestOldestHandshakeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		startServer(t, m.Host("s"), "s:11022", ListenConfig{MaxHandshakes: 4})
		var conns []net.Conn
		for _, host := range []string{"a", "b", "c", "d", "e"} {
			c, err := m.Host(host).Dial(t.Context(), "s:11022")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			synctest.Wait()
		}
		for i, c := range conns {
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err := c.Read(make([]byte, 1))
			if dropped := err == io.EOF; dropped != (i == 0) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{MaxConns: 2})
		d := s.dialer(t, m.Host("c"))
		a, b := s.dial(t, m.Host("c")), s.dial(t, m.Host("c"))
		// Servers have places of their own.
		d.Cred = newCredential(t, s.key, credential.Server, 7)
		c, err := d.Dial(t.Context(), "s:11022", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := signal(t.Context(), c); err != nil || <-s.calls != (credential.Peer{Role: credential.Server, ID: 7}) {
			t.Error(err)
		}
		defer c.Close()
		if c, err = d.Dial(t.Context(), "s:11022", 0); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = d.Dial(t.Context(), "s:11022", 0)
		checkDialError(t, err, circuit.Unreachable, "s:11022", "at a limit")
		// A place that is free again is given again.
		a.Close()
		synctest.Wait()
		s.dial(t, m.Host("c"))
		if err := signal(t.Context(), b); err != nil {
			t.Error(err)
		}
	})
}

func TestListenerDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		conns := make(map[circuit.ServerID]*Conn)
		for _, id := range []circuit.ServerID{7, 8} {
			d := s.dialer(t, m.Host("c"))
			d.Cred = newCredential(t, s.key, credential.Server, id)
			c, err := d.Dial(t.Context(), "s:11022", 0)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns[id] = c
		}
		s.Drop(7)
		<-conns[7].Done()
		if err := signal(t.Context(), conns[8]); err != nil {
			t.Error(err)
		}
	})
}

func TestListenErrors(t *testing.T) {
	config := ListenConfig{Credential: newCredential(t, credential.NewKey(), credential.Server, testID)}
	l, err := Listen(TCP{}, "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		addr string
		kind circuit.ErrorKind
		says string
	}{
		{l.Addr().String(), circuit.Exists, "in use"},
		{"192.0.2.1:0", circuit.Invalid, "does not have that address"},
	} {
		_, err := Listen(TCP{}, tt.addr, config)
		checkDialError(t, err, tt.kind, tt.addr, tt.says)
	}
}

// TestAcceptErrors lets the system refuse connections for a while, as it does
// when there are no descriptors left.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, &starvedNetwork{Network: m.Host("s"), failures: 8}, "s:11022", ListenConfig{})
		s.dial(t, m.Host("c"))
	})
}

type starvedNetwork struct {
	Network
	failures int
}

func (n *starvedNetwork) Listen(addr string) (net.Listener, error) {
	l, err := n.Network.Listen(addr)
	return &starvedListener{Listener: l, left: n.failures}, err
}

type starvedListener struct {
	net.Listener
	left int
}

func (l *starvedListener) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestCloseListener closes one with connections in every state.
func TestCloseListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		key := credential.NewKey()
		l, err := Listen(m.Host("s"), "s:11022", ListenConfig{Credential: newCredential(t, key, credential.Server, testID)})
		if err != nil {
			t.Fatal(err)
		}
		mute, err := m.Host("c").Dial(t.Context(), "s:11022")
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := &Dialer{Cred: newCredential(t, key, credential.Client, 0), Network: m.Host("c"), Codec: rpc.Codec()}
		if _, err := d.Dial(ctx, "s:11022", 0); err == nil { // nobody accepts it
			t.Fatal("it was accepted")
		}
		accepted := make(chan error, 1)
		go func() {
			_, err := l.Role(credential.Server).Accept()
			accepted <- err
		}()
		synctest.Wait()
		began := time.Now()
		l.Close()
		l.Close()
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept gives %v", err)
		}
		if _, err := mute.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection in its handshake: %v", err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}
