package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"google.golang.org/grpc"
)

const (
	// handshakeTime is how long a connection may take to authenticate itself,
	// and then to be taken by its grpc.Server.
	handshakeTime = 10 * time.Second

	defaultHandshakes = 1024
	defaultConns      = 10_000

	acceptRestLeast = 5 * time.Millisecond
	acceptRestMost  = time.Second
)

// ListenConfig says how to listen.
type ListenConfig struct {
	// Credential is the server's own.
	Credential *credential.Credential
	// MaxHandshakes is how many connections may be unauthenticated at once; 0
	// means 1,024. At the bound the oldest is closed.
	MaxHandshakes int
	// MaxConns is how many authenticated connections each role may have; 0
	// means 10,000. At the bound new ones are closed; a client's calls are
	// answered with Exhausted before.
	MaxConns int
	// Log is told at Debug of connections refused, and at Warn that the system
	// lets no more in. Nil means nobody.
	Log *slog.Logger
}

// Listener accepts connections, authenticates them and sorts them by role.
type Listener struct {
	config  ListenConfig
	tls     *tls.Config
	inner   net.Listener
	gate    *gate
	buffers buffers
	roles   [credential.Server + 1]*roleListener // by role; [0] is nil
	refused *roleListener                        // clients over the limit
	refuser *grpc.Server                         // serves those
	closed  chan struct{}
	once    sync.Once
	tasks   sync.WaitGroup
}

// Listen listens on addr, HOST:PORT, and accepts at once. Errors are of kind
// Exists where the port is in use, Denied where the system does not allow it,
// and Invalid for an address that is not this machine's.
func Listen(network Network, addr string, config ListenConfig) (*Listener, error) {
	if config.MaxHandshakes == 0 {
		config.MaxHandshakes = defaultHandshakes
	}
	if config.MaxConns == 0 {
		config.MaxConns = defaultConns
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	inner, err := network.Listen(addr)
	if err != nil {
		return nil, listenError(addr, err)
	}
	l := &Listener{
		config: config,
		tls:    config.Credential.ServerTLS(),
		inner:  inner,
		gate:   newGate(config.MaxHandshakes, runtime.GOMAXPROCS(0)),
		closed: make(chan struct{}),
	}
	for _, r := range []credential.Role{credential.Client, credential.Server} {
		l.roles[r] = newRoleListener(inner.Addr(), config.MaxConns)
	}
	l.refused, l.refuser = newRoleListener(inner.Addr(), maxRefused), newRefuser(config.MaxConns)
	l.tasks.Go(func() { _ = l.refuser.Serve(l.refused) }) // until Close
	l.tasks.Go(l.accept)
	return l, nil
}

func listenError(addr string, err error) error {
	kind, why := circuit.Invalid, "this machine cannot listen there: "+reason(err)
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		kind, why = circuit.Exists, "the port is in use; stop the program that has it, or choose another with -a"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		kind, why = circuit.Denied, "the system does not allow this user to listen there; choose a port from 1024 on"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine does not have that address"
	case errors.As(err, &dns):
		why = "the host name is not known"
	}
	return &circuit.Error{Path: addr, Kind: kind, Err: errors.New(why)}
}

// Addr returns the address that it listens on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Role returns where the authenticated connections of a role are accepted.
// Closing it refuses connections of that role from then on. All calls with the
// same role return the same listener.
func (l *Listener) Role(r credential.Role) net.Listener { return l.roles[r] }

// Drop closes the connections that the server id has made to this one. It is
// for a server that was declared dead, whose connections may be silent for ever.
func (l *Listener) Drop(id circuit.ServerID) { l.roles[credential.Server].drop(id) }

// Close stops listening and closes what is not accepted yet. Accepted
// connections are left to who accepted them.
func (l *Listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.inner.Close()
		for _, r := range l.roles[1:] {
			r.Close()
		}
		l.refuser.Stop()
		l.gate.dropOldest(l.config.MaxHandshakes)
	})
	l.tasks.Wait()
	return err
}

// accept admits connections until the listener is closed. It never waits for
// any of them.
func (l *Listener) accept() {
	rest := time.Duration(0)
	for {
		c, err := l.inner.Accept()
		select {
		case <-l.closed:
			if err == nil {
				c.Close()
			}
			return
		default:
		}
		if err != nil {
			if rest == 0 {
				l.config.Log.Warn("cannot accept connections, retrying", "reason", reason(err))
			}
			rest = min(max(2*rest, acceptRestLeast), acceptRestMost)
			// Out of descriptors, most likely: those without a name go first.
			l.gate.dropOldest(l.config.MaxHandshakes / 4)
			if !restUnless(rest, l.closed) {
				return
			}
			continue
		}
		rest = 0
		x := l.gate.enter(c)
		l.tasks.Go(func() { l.greet(x) })
	}
}

// restUnless waits, and reports false if closed was closed meanwhile.
func restUnless(d time.Duration, closed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-closed:
		return false
	}
}

// greet authenticates a connection and hands it to its role's listener.
func (l *Listener) greet(x *guest) {
	c, err := l.authenticate(x)
	welcome := x.leave()
	if err == nil && !welcome {
		err = errors.New("dropped for a newer one")
	}
	if err == nil {
		role := c.auth.Peer.Role
		err = l.roles[role].offer(c)
		if err == errFull && role == credential.Client {
			err = l.refused.offer(c)
		}
	}
	if err != nil {
		x.conn.Close()
		l.config.Log.Debug("connection refused", "from", x.conn.RemoteAddr(), "reason", err)
	}
}

func (l *Listener) authenticate(x *guest) (*secured, error) {
	x.conn.SetDeadline(time.Now().Add(handshakeTime))
	w := newWire(x.conn, &l.buffers)
	if err := awaitHello(w); err != nil {
		return nil, err
	}
	x.spoke()
	w.turns = x
	x.resume()
	defer x.yield()
	c := tls.Server(w, l.tls)
	if err := c.HandshakeContext(context.Background()); err != nil {
		return nil, err
	}
	peer, err := credential.PeerOf(c.ConnectionState())
	if err != nil {
		return nil, err
	}
	w.turns = nil
	x.conn.SetDeadline(time.Time{})
	return newSecured(c, w, peer), nil
}

// roleListener is the net.Listener of one role.
type roleListener struct {
	addr   net.Addr
	most   int
	ready  chan *secured
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	conns map[*secured]struct{} // open
}

func newRoleListener(addr net.Addr, most int) *roleListener {
	return &roleListener{
		addr: addr, most: most,
		ready: make(chan *secured), closed: make(chan struct{}),
		conns: make(map[*secured]struct{}),
	}
}

var errFull = errors.New("there are as many connections of its role as there may be")

// offer hands c over. It waits, for handshakeTime at most, for it to be taken.
func (r *roleListener) offer(c *secured) error {
	c.onClose = func() {
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}
	r.mu.Lock()
	full := len(r.conns) >= r.most
	if !full {
		r.conns[c] = struct{}{}
	}
	r.mu.Unlock()
	if full {
		return errFull
	}
	timer := time.NewTimer(handshakeTime)
	defer timer.Stop()
	err := net.ErrClosed
	select {
	case r.ready <- c:
		return nil
	case <-r.closed:
	case <-timer.C:
		err = errors.New("nobody took it")
	}
	c.abort()
	return err
}

func (r *roleListener) drop(id circuit.ServerID) {
	var victims []*secured
	r.mu.Lock()
	for c := range r.conns {
		if c.auth.Peer.ID == id {
			victims = append(victims, c)
		}
	}
	r.mu.Unlock()
	for _, c := range victims {
		c.abort()
	}
}

// Accept implements net.Listener.
func (r *roleListener) Accept() (net.Conn, error) {
	select {
	case <-r.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-r.ready:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (r *roleListener) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// Addr implements net.Listener.
func (r *roleListener) Addr() net.Addr { return r.addr }
