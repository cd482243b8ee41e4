package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
)

// checkDialError wants an error of a kind that names addr and says something.
func checkDialError(t *testing.T, err error, kind circuit.ErrorKind, addr string, says ...string) {
	t.Helper()
	var e *circuit.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v of kind %v, want kind %v", err, circuit.KindOf(err), kind)
	}
	for _, s := range append(says, addr) {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	d := &Dialer{Cred: newCredential(t, credential.NewKey(), credential.Client, 0), Codec: rpc.Codec()}
	_, err = d.Dial(t.Context(), addr, 0)
	checkDialError(t, err, circuit.Unreachable, addr, "nothing listens there")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("programs cannot tell: %v", err)
	}
}

func TestDialOtherCircuit(t *testing.T) {
	s := startServer(t, TCP{}, "127.0.0.1:0", ListenConfig{})
	d := s.dialer(t, nil)
	d.Cred = newCredential(t, credential.NewKey(), credential.Client, 0)
	_, err := d.Dial(t.Context(), s.Addr().String(), testID)
	checkDialError(t, err, circuit.Denied, s.Addr().String(), "belongs to another circuit: its key differs")
}

func TestDialWrongServer(t *testing.T) {
	s := startServer(t, TCP{}, "127.0.0.1:0", ListenConfig{})
	const other = circuit.ServerID(7)
	_, err := s.dialer(t, nil).Dial(t.Context(), s.Addr().String(), other)
	checkDialError(t, err, circuit.Unreachable, s.Addr().String(), other.String(), testID.String())
	var wrong *credential.WrongServerError
	if !errors.As(err, &wrong) || wrong.Got != testID {
		t.Errorf("programs cannot tell: %v", err)
	}
}

// TestDialStrangers dials what is no circuit server.
func TestDialStrangers(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"speaks":     func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") },
		"http":       func(c net.Conn) { c.Read(make([]byte, 1000)); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"hangs up":   func(c net.Conn) { c.Read(make([]byte, 1)) },
		"hangs soon": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				l, err := m.Host("s").Listen("s:11022")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						serve(c)
						c.Close()
					}
				}()
				d := &Dialer{Cred: newCredential(t, credential.NewKey(), credential.Client, 0), Network: m.Host("c"), Codec: rpc.Codec()}
				_, err = d.Dial(t.Context(), "s:11022", 0)
				checkDialError(t, err, circuit.Unreachable, "s:11022", "not a circuit server")
			})
		})
	}
}

func TestDialNoHost(t *testing.T) {
	network := failingNetwork{err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}}}
	d := &Dialer{Cred: newCredential(t, credential.NewKey(), credential.Client, 0), Network: network, Codec: rpc.Codec()}
	_, err := d.Dial(t.Context(), "nowhere.invalid:11022", 0)
	checkDialError(t, err, circuit.Unreachable, "nowhere.invalid:11022", "the host name is not known")
}

type failingNetwork struct {
	Network
	err error
}

func (n failingNetwork) Dial(context.Context, string) (net.Conn, error) { return nil, n.err }

// TestDialTakesFiveSeconds dials a host that does not answer, and one that
// accepts connections and is then mute.
func TestDialTakesFiveSeconds(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		mute       bool
	}{{"no answer", "no answer within 5s", false}, {"mute", "does not answer as a circuit server", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				l, err := m.Host("s").Listen("s:11022")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				if !tt.mute {
					m.Cut("c", "s")
				}
				d := &Dialer{Cred: newCredential(t, credential.NewKey(), credential.Client, 0), Network: m.Host("c"), Codec: rpc.Codec()}
				began := time.Now()
				_, err = d.Dial(t.Context(), "s:11022", 0)
				checkDialError(t, err, circuit.Unreachable, "s:11022", tt.says)
				if took := time.Since(began); took != connectTime {
					t.Errorf("it took %v", took)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err = d.Dial(ctx, "s:11022", 0)
				checkDialError(t, err, circuit.Timeout, "s:11022")
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				_, err = d.Dial(ctx, "s:11022", 0)
				checkDialError(t, err, circuit.Canceled, "s:11022")
			})
		})
	}
}

// TestDialRetriesDroppedHandshakes lets a server drop the first handshakes, as
// one under attack may.
func TestDialRetriesDroppedHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		s := startServer(t, m.Host("s"), "s:11022", ListenConfig{})
		d := s.dialer(t, &droppingNetwork{Network: m.Host("c"), drop: handshakeTries - 1})
		c, err := d.Dial(t.Context(), "s:11022", testID)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		d.Network = &droppingNetwork{Network: m.Host("c"), drop: handshakeTries}
		_, err = d.Dial(t.Context(), "s:11022", testID)
		checkDialError(t, err, circuit.Unreachable, "s:11022", "may be overloaded")
	})
}

type droppingNetwork struct {
	Network
	drop int
}

func (n *droppingNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := n.Network.Dial(ctx, addr)
	if n.drop--; err == nil && n.drop >= 0 {
		return &cutConn{c}, nil
	}
	return c, err
}

// cutConn is closed by the other end before it says anything.
type cutConn struct{ net.Conn }

func (c *cutConn) Read([]byte) (int, error) { return 0, io.EOF }
