package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/element/channel"
	"github.com/gocircuit/circuit/internal/element/subscription"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

const (
	fakeHost = "server"
	fakeAddr = fakeHost + ":1"
	fakeID   = circuit.ServerID(0x56e7a2a0d47a7b5d)
	fakePath = "/X56e7a2a0d47a7b5d"

	fakeEvents = 100 // that wait in a subscription
)

// fake is a server whose processes are told what to do by the test; anchors,
// channels and subscriptions are real.
type fake struct {
	t    *testing.T
	mem  *transport.Memory
	host string
	addr string
	id   circuit.ServerID
	key  Key

	procs   *fakeProcs
	servers *fakeServers
	anchors *fakeAnchors

	mu       sync.Mutex
	stop     func()
	channels *channel.Service
	subs     *subscription.Service
}

// newFake starts a fake server at fakeAddr of a network of its own, and stops
// it when the test ends.
func newFake(t *testing.T) *fake {
	return newFakeAt(t, transport.NewMemory(), fakeHost, fakeID, credential.NewKey())
}

func newFakeAt(t *testing.T, mem *transport.Memory, host string, id circuit.ServerID, key Key) *fake {
	f := &fake{t: t, mem: mem, host: host, addr: net.JoinHostPort(host, "1"), id: id, key: key, procs: &fakeProcs{}}
	f.servers = &fakeServers{hello: func() *circuitv1.Hello {
		h := rpc.NewHello("fake")
		h.Server = uint64(id)
		return h
	}}
	tree := anchor.New(anchor.Config{Self: id})
	f.anchors = &fakeAnchors{AnchorsServer: anchor.NewService(tree)}
	f.channels = channel.NewService(channel.Config{Tree: tree})
	f.subs = subscription.NewService(subscription.Config{Tree: tree, Self: circuit.Member{ID: id}, MaxEvents: fakeEvents})
	f.start()
	t.Cleanup(f.end)
	return f
}

// start lets the fake listen, again after end. What it hosts stays.
func (f *fake) start() {
	cred, err := credential.New(f.key, credential.Server, f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	l, err := transport.Listen(f.mem.Host(f.host), f.addr, transport.ListenConfig{Credential: cred})
	if err != nil {
		f.t.Fatal(err)
	}
	i := rpc.Interceptor{}
	opts := append(transport.ServerOptions(credential.Client, rpc.Codec()), grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(i.Unary), grpc.StreamInterceptor(i.Stream))
	s := grpc.NewServer(opts...)
	circuitv1.RegisterProcsServer(s, f.procs)
	circuitv1.RegisterServersServer(s, f.servers)
	circuitv1.RegisterAnchorsServer(s, f.anchors)
	circuitv1.RegisterChansServer(s, f.channels)
	circuitv1.RegisterSubscriptionsServer(s, f.subs)
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l.Role(credential.Client)) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop = func() {
		l.Close()
		s.Stop()
		<-served
	}
}

// end stops the fake as the end of its process would.
func (f *fake) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		f.mem.Stop(f.host)
		f.stop()
		f.stop = nil
		f.channels.Wait()
		f.subs.Wait()
	}
}

// options are those with which to dial in at the fake.
func (f *fake) options() []Option {
	return []Option{WithKey(f.key), WithEnv(noEnv), withNetwork(f.mem.Host("client"))}
}

func (f *fake) dial(opts ...Option) *Client {
	f.t.Helper()
	c, err := Dial(f.t.Context(), f.addr, append(f.options(), opts...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// cut breaks the connections of the client.
func (f *fake) cut() { f.mem.Reset("client", f.host) }

func noEnv(string) string { return "" }

func withNetwork(n transport.Network) Option { return func(c *config) { c.network = n } }

func mustWalk(t testing.TB, c *Client, path string) *Anchor {
	t.Helper()
	a, err := c.Walk(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantKind fails the test unless err is of the kind.
func wantKind(t testing.TB, err error, kind ErrorKind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want %v", err, kind)
	}
}

// fakeServers is a Servers service with members of the test's choice.
type fakeServers struct {
	circuitv1.UnimplementedServersServer
	hello   func() *circuitv1.Hello
	members []circuit.ServerID
	stat    func(context.Context, circuit.ServerID) (ServerStat, error)
	greeted int
	mu      sync.Mutex
}

func (s *fakeServers) Greet(context.Context, *circuitv1.Hello) (*circuitv1.Hello, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeted++
	return s.hello(), nil
}

func (s *fakeServers) List(_ *circuitv1.ListServersRequest, stream grpc.ServerStreamingServer[circuitv1.ListServersReply]) error {
	for _, id := range s.members {
		m := rpc.MemberToProto(circuit.Member{ID: id, Address: "host:1", Joined: time.Unix(1, 0)})
		if err := stream.Send(&circuitv1.ListServersReply{Members: []*circuitv1.Member{m}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *fakeServers) Stat(ctx context.Context, _ *circuitv1.StatServerRequest) (*circuitv1.ServerStat, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	id, _ := path.Server()
	stat, err := s.stat(ctx, id)
	return rpc.ServerStatToProto(stat), err
}

// Suicide breaks off, as calls to a server do whose connection breaks.
func (s *fakeServers) Suicide(context.Context, *circuitv1.SuicideRequest) (*circuitv1.SuicideReply, error) {
	return nil, circuit.Errorf(circuit.Lost, "the connection broke")
}

// fakeProcs is a Procs service whose calls are functions of the test's choice.
type fakeProcs struct {
	circuitv1.UnimplementedProcsServer
	make   func(context.Context, *circuitv1.MakeProcRequest) (*circuitv1.MakeReply, error)
	stat   func(context.Context) (*circuitv1.ProcStat, error)
	wait   func(context.Context) (*circuitv1.ProcStat, error)
	signal func(context.Context) error
	stdin  func(grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]) error
	output func(*circuitv1.OutputRequest_Open, grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]) error
}

func (p *fakeProcs) Make(ctx context.Context, r *circuitv1.MakeProcRequest) (*circuitv1.MakeReply, error) {
	return p.make(ctx, r)
}

func (p *fakeProcs) Stat(ctx context.Context, _ *circuitv1.StatProcRequest) (*circuitv1.ProcStat, error) {
	return p.stat(ctx)
}

func (p *fakeProcs) Wait(ctx context.Context, _ *circuitv1.WaitProcRequest) (*circuitv1.ProcStat, error) {
	return p.wait(ctx)
}

func (p *fakeProcs) Signal(ctx context.Context, _ *circuitv1.SignalProcRequest) (*circuitv1.SignalProcReply, error) {
	return &circuitv1.SignalProcReply{}, p.signal(ctx)
}

func (p *fakeProcs) Stdin(s grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]) error {
	return p.stdin(s)
}

func (p *fakeProcs) Output(s grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	return p.output(first.GetOpen(), s)
}

// fakeAnchors is the Anchors service of the fake's tree, with listings of the
// test's choice.
type fakeAnchors struct {
	circuitv1.AnchorsServer
	list func(Path, grpc.ServerStreamingServer[circuitv1.ListReply]) error
}

func (a *fakeAnchors) List(r *circuitv1.ListRequest, s grpc.ServerStreamingServer[circuitv1.ListReply]) error {
	if a.list == nil {
		return a.AnchorsServer.List(r, s)
	}
	path, err := rpc.PathFrom(s.Context())
	if err != nil {
		return err
	}
	return a.list(path, s)
}
