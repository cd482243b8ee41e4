package transport

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
)

const testID = circuit.ServerID(0x56e7a2a0d47a7b5d)

func newCredential(t testing.TB, key circuit.Key, role credential.Role, id circuit.ServerID) *credential.Credential {
	t.Helper()
	c, err := credential.New(key, role, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testServer serves the service below on a Listener, to both roles.
type testServer struct {
	*Listener
	key   circuit.Key
	calls chan credential.Peer // who called Signal or Wait
	bound chan Binding         // capacity 1: of the first Signal's connection
	ended chan struct{}        // a Wait has ended
	grpc  [2]*grpc.Server
}

// startServer starts a server at an address of the network. The test's end
// stops it.
func startServer(t testing.TB, network Network, addr string, config ListenConfig) *testServer {
	t.Helper()
	s := &testServer{key: credential.NewKey(), calls: make(chan credential.Peer, 1000), bound: make(chan Binding, 1), ended: make(chan struct{}, 1000)}
	config.Credential = newCredential(t, s.key, credential.Server, testID)
	var err error
	if s.Listener, err = Listen(network, addr, config); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	for i, role := range []credential.Role{credential.Client, credential.Server} {
		g := grpc.NewServer(append(ServerOptions(role, rpc.Codec()), grpc.WaitForHandlers(true))...)
		circuitv1.RegisterProcsServer(g, &testProcs{server: s})
		grpc_health_v1.RegisterHealthServer(g, health.NewServer())
		s.grpc[i] = g
		go func() { served <- g.Serve(s.Role(role)) }()
	}
	t.Cleanup(func() {
		s.Close()
		for _, g := range s.grpc {
			g.Stop()
		}
		for range s.grpc {
			<-served
		}
	})
	return s
}

func (s *testServer) dialer(t testing.TB, network Network) *Dialer {
	return &Dialer{Cred: newCredential(t, s.key, credential.Client, 0), Network: network, Codec: rpc.Codec()}
}

func (s *testServer) dial(t testing.TB, network Network) *Conn {
	t.Helper()
	c, err := s.dialer(t, network).Dial(t.Context(), s.Addr().String(), testID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// testProcs answers Signal at once and Wait never, swallows Stdin, and sends
// as Output as many chunks as open.offset says.
type testProcs struct {
	circuitv1.UnimplementedProcsServer
	server *testServer
}

func (p *testProcs) Signal(ctx context.Context, _ *circuitv1.SignalProcRequest) (*circuitv1.SignalProcReply, error) {
	peer, _ := PeerFrom(ctx)
	if b, ok := BindingFrom(ctx); ok {
		select {
		case p.server.bound <- b:
		default:
		}
	}
	p.server.calls <- peer
	return &circuitv1.SignalProcReply{}, nil
}

func (p *testProcs) Wait(ctx context.Context, _ *circuitv1.WaitProcRequest) (*circuitv1.ProcStat, error) {
	peer, _ := PeerFrom(ctx)
	p.server.calls <- peer
	<-ctx.Done()
	p.server.ended <- struct{}{}
	return nil, ctx.Err()
}

func (p *testProcs) Stdin(s grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]) error {
	written := uint64(0)
	for {
		var f rpc.Frame
		err := s.RecvMsg(&f)
		if err == io.EOF {
			return s.Send(&circuitv1.StdinReply{Written: written, Closed: true})
		}
		if err != nil {
			return err
		}
		written += uint64(f.Data.Len())
		f.Free()
	}
}

const testChunk = 256 << 10

func (p *testProcs) Output(s grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]) error {
	open, err := s.Recv()
	if err != nil {
		return err
	}
	chunk := mem.BufferSlice{mem.SliceBuffer(make([]byte, testChunk))}
	for i := range open.Open.Offset {
		if err := s.SendMsg(&rpc.Frame{Data: chunk, Offset: i * testChunk, End: i == open.Open.Offset-1}); err != nil {
			return err
		}
	}
	return nil
}

func signal(ctx context.Context, c *Conn) error {
	_, err := circuitv1.NewProcsClient(c).Signal(ctx, &circuitv1.SignalProcRequest{})
	return err
}

func TestCalls(t *testing.T) {
	memory := NewMemory()
	for _, tt := range []struct {
		name           string
		server, client Network
		addr           string
	}{{"tcp", TCP{}, TCP{}, "127.0.0.1:0"}, {"memory", memory.Host("s"), memory.Host("c"), "s:11022"}} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, tt.server, tt.addr, ListenConfig{})
			c := s.dial(t, tt.client)
			if p := (credential.Peer{Role: credential.Server, ID: testID}); c.Peer() != p {
				t.Errorf("the client sees %v", c.Peer())
			}
			if err := signal(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if p := <-s.calls; p != (credential.Peer{Role: credential.Client}) {
				t.Errorf("the server sees %v", p)
			}
			for _, ctx := range []context.Context{t.Context(), rpc.WithBulk(t.Context())} {
				const chunks = 40 // beyond the windows
				if n := output(t, ctx, c, chunks); n != chunks*testChunk {
					t.Errorf("got %d bytes", n)
				}
			}
		})
	}
}

// output reads so many chunks and returns the bytes received.
func output(t testing.TB, ctx context.Context, c *Conn, chunks uint64) (n int) {
	t.Helper()
	stream, err := circuitv1.NewProcsClient(c).Output(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&circuitv1.OutputRequest{Open: &circuitv1.OutputRequest_Open{Offset: chunks}}); err != nil {
		t.Fatal(err)
	}
	for {
		var f rpc.Frame
		err := stream.RecvMsg(&f)
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += f.Data.Len()
		f.Free()
	}
}
