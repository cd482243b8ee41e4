// Package server is a circuit server put together: the one place where the
// rooms of the house meet. It opens the data directory, listens, starts the
// tree of anchors, the element services, the mesh and the router, and stops
// them in the right order.
//
// The command line starts one from a Config; tests start several in one
// program. The methods of a Server may be called from any goroutine.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/dialfile"
	"github.com/gocircuit/circuit/internal/element/channel"
	"github.com/gocircuit/circuit/internal/element/proc"
	"github.com/gocircuit/circuit/internal/element/subscription"
	"github.com/gocircuit/circuit/internal/mesh"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/router"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// Server is a running server.
type Server struct {
	cfg     Config
	log     *slog.Logger
	url     circuit.URL // with the key, if the server's URL carries it
	key     circuit.Key
	started time.Time

	state    *state
	listener *transport.Listener
	packets  *transport.Datagrams // nil: none
	pool     *transport.Pool
	tree     *anchor.Tree
	procs    *proc.Service
	chans    *channel.Service
	subs     *subscription.Service
	trim     *trimmer
	mesh     *mesh.Mesh
	router   *router.Router
	grpc     [2]*grpc.Server // for clients, for servers
	dialFile *dialfile.File

	serving sync.WaitGroup // the accept loops, and the closing of dropped connections

	calls       context.Context // ends when calls are to end
	cancelCalls context.CancelFunc

	ready   chan struct{} // closed when Start has succeeded
	stop    sync.Once
	stopNow chan struct{} // closed when stopping must not wait any longer
	done    chan struct{} // closed when all has ended
	mu      sync.Mutex
	err     error // what Err returns
	hurried bool
}

// Start starts a server and returns once it can be used; it joins its circuit
// in the background. Errors are of kind Invalid (the configuration), Exists
// (the address or the data directory is in use), Denied, or Exhausted.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	s := &Server{
		cfg: cfg.withDefaults(), started: time.Now(),
		ready: make(chan struct{}), stopNow: make(chan struct{}), done: make(chan struct{}),
	}
	s.calls, s.cancelCalls = context.WithCancel(context.Background())
	s.log = s.cfg.Log
	defer func() {
		if err != nil {
			s.abort()
			err = circuit.At("start", "", err)
		}
	}()
	if err = s.cfg.check(); err != nil {
		return nil, err
	}
	if s.state, err = openState(cfg.DataDir); err != nil {
		return nil, err
	}
	inURL := false
	if s.key, inURL, err = resolveKey(s.cfg, s.state); err != nil {
		return nil, err
	}
	cred, err := credential.New(s.key, credential.Server, s.state.id)
	if err != nil {
		return nil, err
	}
	if err := s.listen(cred, inURL); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.state.saveKey(s.key); err != nil {
		return nil, err
	}
	if err := s.compose(cred); err != nil {
		return nil, err
	}
	s.serve()
	s.join()
	close(s.ready)
	return s, nil
}

// listen opens the server's port, and so settles its URL.
func (s *Server) listen(cred *credential.Credential, inURL bool) error {
	addr, err := listenAddr(s.cfg)
	if err != nil {
		return err
	}
	s.listener, err = transport.Listen(s.cfg.Network, addr, transport.ListenConfig{
		Credential: cred, MaxHandshakes: int(s.cfg.Limits.Handshakes), MaxConns: s.cfg.Limits.connections(), Log: s.log,
	})
	if err != nil {
		return err
	}
	bound := s.listener.Addr().String()
	if s.packets, err = transport.ListenDatagrams(s.cfg.Network, bound); err != nil {
		s.log.Warn("no datagrams; signs of life between servers travel on their connections, which costs more", slog.Any("error", err))
	}
	address, err := advertiseAddr(s.cfg, bound)
	if err != nil {
		return err
	}
	if s.url, err = circuit.ParseURL(address); err != nil {
		return err
	}
	if n := len(s.url.Address()); n > mesh.MaxAddress {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the address to advertise has %d bytes, and %d are the most", n, mesh.MaxAddress))
	}
	s.warnOfLoopback()
	s.url.PID, s.url.ID = os.Getpid(), s.state.id
	if inURL {
		s.url.Key = s.key
	}
	return nil
}

// compose makes the rooms and puts them together.
func (s *Server) compose(cred *credential.Credential) error {
	limits, codec := s.cfg.Limits, rpc.Codec()
	s.tree = anchor.New(anchor.Config{Self: s.url.ID, MaxAnchors: int(limits.Anchors)})
	var err error
	if s.procs, err = s.newProcs(); err != nil {
		return err
	}
	s.chans = channel.NewService(channel.Config{Tree: s.tree, MaxBytes: limits.ChannelBytes, MaxCalls: int(limits.ChannelCalls)})
	s.subs = s.newSubscriptions()
	s.trim = newTrimmer(debug.FreeOSMemory)
	s.pool = transport.NewPool(&transport.Dialer{Cred: cred, Network: s.cfg.Network, Codec: codec, NoSilenceCheck: true})
	s.router = router.New(router.Config{Self: s.url.ID, Peer: s.peer})
	if err := s.startMesh(cred); err != nil {
		return err
	}
	for i, role := range []credential.Role{credential.Client, credential.Server} {
		s.grpc[i] = s.newGRPC(role)
	}
	return nil
}

// startMesh starts the mesh in a new incarnation.
func (s *Server) startMesh(cred *credential.Credential) error {
	last, err := s.state.incarnation()
	if err != nil {
		return err
	}
	if err := s.state.saveIncarnation(last + mesh.Reserve); err != nil {
		return err
	}
	hello := rpc.NewHello(s.cfg.Version)
	hello.Server, hello.Address, hello.Instance = uint64(s.url.ID), s.url.Address(), rand.Uint64()
	var alarm mesh.Alarm // a network that is not the system's may have a time of its own
	if s.cfg.Network == (transport.TCP{}) {
		alarm = mesh.SystemAlarm()
	}
	links := &transport.Dialer{Cred: cred, Network: s.cfg.Network, Codec: rpc.Codec(), NoSilenceCheck: true}
	s.mesh = mesh.Start(mesh.Config{
		Self:        overlay.Peer{ID: s.url.ID, Address: s.url.Address(), Instance: hello.Instance},
		Hello:       hello,
		Incarnation: last + 1,
		Reserved:    last + mesh.Reserve,
		Remembered:  s.state.peers(),
		Dial: func(ctx context.Context, addr string, want circuit.ServerID) (mesh.Conn, error) {
			return links.Dial(ctx, addr, want)
		},
		Datagrams: s.packets,
		Alarm:     alarm,
		Persist:   s.state.saveIncarnation,
		SavePeers: s.state.savePeers,
		OnEvent:   s.onEvent,
		OnTaken:   s.onTaken,
		Log:       s.log,
	})
	return nil
}

// onEvent follows the circuit: a server that left has no connections here, and
// subscriptions tell of it.
func (s *Server) onEvent(e mesh.Event) {
	s.subs.Tell(eventOf(e))
	s.trim.later()
	facts := []any{slog.Any("server", e.Member.ID), slog.String("address", e.Member.Address)}
	switch {
	case e.Joined:
		s.log.Info("a server joined", facts...)
		return
	case e.Failed:
		s.log.Info("a server failed", facts...)
	default:
		s.log.Info("a server left", facts...)
	}
	s.pool.Drop(e.Member.ID)
	if !e.Restarted {
		s.listener.Drop(e.Member.ID)
	}
}

// onTaken ends a server whose identity is in use elsewhere.
func (s *Server) onTaken(address string) {
	s.fail(&circuit.Error{Op: "start", Kind: circuit.Exists, Err: fmt.Errorf("a server with this identity, %v, is running at %s; give this one a data directory of its own", s.url.ID, address)})
}

// fail begins to stop the server, because of err.
func (s *Server) fail(err error) {
	s.blame(err)
	s.suicide()
}

// blame says why the server stops, unless that is known.
func (s *Server) blame(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// join begins to join the circuits of Config.Join. Its own URL, which a server may
// be started again with, leads nowhere. Who has its identity at another address
// has to be met: one of the two has a copy of the other's data directory.
func (s *Server) join() {
	for _, u := range s.cfg.Join {
		switch {
		case u.ID != s.url.ID:
			s.mesh.Seed(u.Address(), u.ID)
		case u.Address() != s.url.Address():
			s.mesh.Seed(u.Address(), 0)
		}
	}
}

// URL returns the server's URL. It carries the key if none was configured.
func (s *Server) URL() circuit.URL { return s.url }

// Done is closed when the server has stopped, because it was asked to or by
// itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server stopped by itself, or not as it should; nil if it did
// as it was asked to.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Members returns the servers of the circuit as this one sees it, in order of
// their IDs.
func (s *Server) Members() []circuit.Member { return s.mesh.Members() }
