package transport

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"google.golang.org/grpc/encoding"
)

const (
	// connectTime is how long connecting takes at most, handshakes included.
	connectTime = 5 * time.Second
	// silentTime is how long a connection with calls pending may be silent
	// before it is asked for a sign of life, noticeTime how long that may take
	// before OnSilence is called, and answerTime how much longer until it is
	// given up.
	silentTime = 2 * time.Second
	noticeTime = time.Second
	answerTime = 3 * time.Second
	// A server under attack may drop an honest handshake; it is tried again.
	handshakeTries = 8
	tryAgainAfter  = 50 * time.Millisecond // doubled each time, up to
	tryAgainMost   = 400 * time.Millisecond
)

// Dialer makes connections. Its fields are not changed, nor is it copied, once
// it is used.
type Dialer struct {
	// Cred is the dialling side's own.
	Cred *credential.Credential
	// Network is where to dial; nil means TCP.
	Network Network
	// Codec is used for all calls.
	Codec encoding.CodecV2
	// NoSilenceCheck leaves it to others to notice that a server fell silent.
	NoSilenceCheck bool
	// OnSilence is called when calls wait for the server at addr, and it has not
	// given a sign of life for that long, although it was asked for one. Every
	// connection may call it, more than once, and waits for it before it closes.
	// Nil means nobody.
	OnSilence func(addr string, silent time.Duration)

	buffers buffers
}

// Dial connects to the server at addr, HOST:PORT, and authenticates it. If
// want is not zero, no other server will do. It takes 5 s at most, less if ctx
// ends. Errors name the address; they are of kind Unreachable, Denied where
// the circuit's key differs, or Canceled or Timeout where ctx ended.
func (d *Dialer) Dial(ctx context.Context, addr string, want circuit.ServerID) (*Conn, error) {
	main, err := d.session(ctx, addr, want)
	if err != nil {
		return nil, err
	}
	return &Conn{dialer: d, addr: addr, main: main, bulkTurn: make(chan struct{}, 1)}, nil
}

// session makes one connection and waits until calls can be made on it.
func (d *Dialer) session(ctx context.Context, addr string, want circuit.ServerID) (*session, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	pause := tryAgainAfter
	for try := 1; ; try++ {
		raw, err := d.network().Dial(ctx, addr)
		if err != nil {
			return nil, dialError(caller, addr, false, err)
		}
		s, err := d.establish(ctx, raw, addr, want)
		if err == nil {
			return s, nil
		}
		raw.Close()
		if try == handshakeTries || !cutOff(err) || !pauseFor(ctx, pause) {
			return nil, dialError(caller, addr, true, err)
		}
		pause = min(2*pause, tryAgainMost)
	}
}

func (d *Dialer) network() Network {
	if d.Network == nil {
		return TCP{}
	}
	return d.Network
}

// pauseFor waits for about that long, and reports false if ctx ended first.
func pauseFor(ctx context.Context, about time.Duration) bool {
	timer := time.NewTimer(about/2 + rand.N(about))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *Dialer) establish(ctx context.Context, raw net.Conn, addr string, want circuit.ServerID) (*session, error) {
	w := newWire(raw, &d.buffers)
	c := tls.Client(w, d.Cred.ClientTLS(want))
	if err := c.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	peer, err := credential.PeerOf(c.ConnectionState())
	if err != nil {
		return nil, err
	}
	s := newSession(newSecured(c, w, peer), addr, d)
	if err := s.start(ctx, d.Codec); err != nil {
		return nil, err
	}
	return s, nil
}
