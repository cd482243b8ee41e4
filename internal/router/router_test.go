package router_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/router"
	"github.com/gocircuit/circuit/internal/rpc"
)

const (
	here  = circuit.ServerID(0xaaaaaaaaaaaaaaaa)
	there = circuit.ServerID(0xbbbbbbbbbbbbbbbb)
)

// services stand for the elements of one server.
type services struct {
	circuitv1.UnimplementedAnchorsServer
	circuitv1.UnimplementedProcsServer
	id      circuit.ServerID
	endless atomic.Int64 // frames sent by Output so far
}

func (s *services) Get(ctx context.Context, req *circuitv1.GetRequest) (*circuitv1.Entry, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	if path.Base() == "missing" {
		return nil, &circuit.Error{Op: "peek", Path: path.String(), Kind: circuit.NotFound, Err: errors.New("there is nothing here")}
	}
	generation, err := rpc.GenerationFrom(ctx)
	if err != nil {
		return nil, err
	}
	reply := &circuitv1.Entry{Path: path.String(), Kind: s.id.String(), Generation: generation}
	reply.ProtoReflect().SetUnknown(req.ProtoReflect().GetUnknown())
	return reply, nil
}

// Stdin echoes how many bytes it got, and at the end closes.
func (s *services) Stdin(stream grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]) error {
	total := uint64(0)
	for {
		var f rpc.Frame
		if err := stream.RecvMsg(&f); err == io.EOF {
			return stream.Send(&circuitv1.StdinReply{Written: total, Closed: true})
		} else if err != nil {
			return err
		}
		total += uint64(f.Data.Len())
		f.Free()
		if err := stream.Send(&circuitv1.StdinReply{Written: total}); err != nil {
			return err
		}
	}
}

// Output sends without end.
func (s *services) Output(stream grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]) error {
	data := mem.BufferSlice{mem.SliceBuffer(make([]byte, 64<<10))}
	for {
		if err := stream.SendMsg(&rpc.Frame{Data: data}); err != nil {
			return err
		}
		s.endless.Add(1)
	}
}

type node struct {
	services *services
	conn     *grpc.ClientConn
	server   *grpc.Server
}

func start(t *testing.T, id circuit.ServerID, peer func(context.Context, circuit.ServerID) (grpc.ClientConnInterface, error), extra ...func(*grpc.Server)) *node {
	r := router.New(router.Config{Self: id, Peer: peer})
	outer := rpc.Interceptor{Log: slog.New(slog.DiscardHandler)}
	g := grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec()), grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(8<<20), grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(outer.Unary, r.Unary), grpc.ChainStreamInterceptor(outer.Stream, r.Stream), grpc.UnknownServiceHandler(r.Unknown))
	n := &node{services: &services{id: id}, server: g}
	circuitv1.RegisterAnchorsServer(g, n.services)
	circuitv1.RegisterProcsServer(g, n.services)
	for _, f := range extra {
		f(g)
	}
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///node", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rpc.Codec())), grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	n.conn = conn
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		r.Close()
		<-served
	})
	return n
}

// pair starts two servers, of which a reaches b.
func pair(t *testing.T, extra ...func(*grpc.Server)) (a, b *node) {
	b = start(t, there, func(context.Context, circuit.ServerID) (grpc.ClientConnInterface, error) {
		t.Error("a forwarded request was forwarded again")
		return nil, circuit.NotFound
	}, extra...)
	a = start(t, here, func(_ context.Context, id circuit.ServerID) (grpc.ClientConnInterface, error) {
		if id != there {
			return nil, circuit.Errorf(circuit.NotFound, "there is no such server")
		}
		return b.conn, nil
	})
	return a, b
}

func at(t *testing.T, s string) context.Context {
	p, err := circuit.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return rpc.WithPath(t.Context(), p)
}

func TestUnary(t *testing.T) {
	a, _ := pair(t)
	anchors := circuitv1.NewAnchorsClient(a.conn)
	req := &circuitv1.GetRequest{}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 7)
	req.ProtoReflect().SetUnknown(unknown)
	for _, id := range []circuit.ServerID{here, there} {
		got, err := anchors.Get(rpc.WithGeneration(at(t, id.Path().String()+"/hi/grüße"), 42), req)
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != id.String() || got.Path != id.Path().String()+"/hi/grüße" || got.Generation != 42 {
			t.Errorf("%v answered %v", id, got)
		}
		if string(got.ProtoReflect().GetUnknown()) != string(unknown) {
			t.Errorf("%v: unknown fields were lost on the way", id)
		}
	}
	_, err := anchors.Get(at(t, there.Path().String()+"/missing"), req)
	err = rpc.FromStatus("get", "", err)
	if want := "peek " + there.Path().String() + "/missing: there is nothing here"; !errors.Is(err, circuit.NotFound) || err.Error() != want {
		t.Errorf("the hosting server's error arrives as %q, want %q", err, want)
	}
	if _, err := anchors.Get(at(t, circuit.ServerID(7).Path().String()), req); !errors.Is(rpc.FromStatus("", "", err), circuit.NotFound) {
		t.Errorf("a server never seen: %v", err)
	}
}

// The error of a dial, which is about an address, hid which path the call was
// about.
func TestDialErrorHidPath(t *testing.T) {
	a := start(t, here, func(context.Context, circuit.ServerID) (grpc.ClientConnInterface, error) {
		return nil, &circuit.Error{Path: "10.0.0.1:11022", Kind: circuit.Unreachable, Err: errors.New("nothing listens there")}
	})
	path := there.Path().String() + "/hi"
	_, err := circuitv1.NewAnchorsClient(a.conn).Get(at(t, path), &circuitv1.GetRequest{})
	err = rpc.FromStatus("peek", "", err)
	if want := "peek " + path + ": 10.0.0.1:11022: nothing listens there"; !errors.Is(err, circuit.Unreachable) || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestForwardedOnceOnly(t *testing.T) {
	_, b := pair(t)
	ctx := metadata.AppendToOutgoingContext(at(t, here.Path().String()), "circuit-forwarded", "1")
	if _, err := circuitv1.NewAnchorsClient(b.conn).Get(ctx, &circuitv1.GetRequest{}); !errors.Is(rpc.FromStatus("", "", err), circuit.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestStream(t *testing.T) {
	a, _ := pair(t)
	stream, err := circuitv1.NewProcsClient(a.conn).Stdin(at(t, there.Path().String()+"/p"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		if err := stream.SendMsg(&rpc.Frame{Data: mem.BufferSlice{mem.SliceBuffer(make([]byte, 100_000))}}); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || r.Written != uint64(i)*100_000 {
			t.Fatalf("after %d frames: %v, %v", i, r, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if r, err := stream.Recv(); err != nil || !r.Closed {
		t.Fatalf("at the end: %v, %v", r, err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// TestUnknownService calls a service that only the hosting server has.
func TestUnknownService(t *testing.T) {
	desc := grpc.ServiceDesc{ServiceName: "circuit.v9.Moons", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Rise",
		Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in circuitv1.GetRequest
			if err := dec(&in); err != nil {
				return nil, err
			}
			return &circuitv1.Entry{State: "risen"}, nil
		},
	}}}
	a, _ := pair(t, func(g *grpc.Server) { g.RegisterService(&desc, struct{}{}) })
	var reply circuitv1.Entry
	if err := a.conn.Invoke(at(t, there.Path().String()), "/circuit.v9.Moons/Rise", &circuitv1.GetRequest{}, &reply); err != nil || reply.State != "risen" {
		t.Errorf("passed on: %v, %v", &reply, err)
	}
	err := rpc.FromStatus("", "", a.conn.Invoke(at(t, here.Path().String()), "/circuit.v9.Moons/Rise", &circuitv1.GetRequest{}, &reply))
	if !errors.Is(err, circuit.Unsupported) || !strings.Contains(err.Error(), "Moons") {
		t.Errorf("asked of a server that does not have it: %v", err)
	}
}

// TestUnreadStreamHoldsBackOnlyItself opens more streams than fill a
// connection's window, reads none of them, and still gets answers.
func TestUnreadStreamHoldsBackOnlyItself(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithTimeout(at(t, there.Path().String()+"/p"), 20*time.Second)
	defer cancel()
	for range 20 {
		if _, err := circuitv1.NewProcsClient(a.conn).Output(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for b.services.endless.Load() < 20*16 {
		if _, err := circuitv1.NewAnchorsClient(a.conn).Get(ctx, &circuitv1.GetRequest{}); err != nil {
			t.Fatalf("beside streams that nobody reads, with %d frames on their way: %v", b.services.endless.Load(), err)
		}
	}
}

func TestBrokenPeer(t *testing.T) {
	a, b := pair(t)
	stream, err := circuitv1.NewProcsClient(a.conn).Stdin(at(t, there.Path().String()+"/p"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&rpc.Frame{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	b.conn.Close()
	_, err = stream.Recv()
	if err = rpc.FromStatus("", "", err); !errors.Is(err, circuit.Lost) && !errors.Is(err, circuit.Canceled) {
		t.Errorf("a stream whose server went away: %v", err)
	}
}
