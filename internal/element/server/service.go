// Package server is the server element: what can be asked of a server itself.
// It greets, lists the members of the circuit, tells its state and its
// goroutines' stacks, joins another circuit, and ends.
//
// Package internal/server composes it from plain functions. A Service keeps no
// state and may be used from any number of goroutines.
package server

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Config gives a Service what it tells and does.
type Config struct {
	Self    circuit.ServerID
	Hello   func() *circuitv1.Hello                        // who this server is, in which versions
	Members func() []circuit.Member                        // the circuit as this server sees it
	Stat    func() circuit.ServerStat                      // the state of this server
	Join    func(ctx context.Context, u circuit.URL) error // merges circuits; returns once they are one
	Suicide func()                                         // begins to stop this server, and returns
}

// Service is the Servers service.
type Service struct {
	circuitv1.UnimplementedServersServer
	cfg Config
}

var _ circuitv1.ServersServer = (*Service)(nil)

// New returns the service.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Greet implements circuitv1.ServersServer.
func (s *Service) Greet(_ context.Context, theirs *circuitv1.Hello) (*circuitv1.Hello, error) {
	ours := s.cfg.Hello()
	if err := rpc.Compatible(ours, theirs); err != nil {
		return nil, err
	}
	return ours, nil
}

// listBatch is how many members go into one message of a listing.
const listBatch = 256

// List implements circuitv1.ServersServer.
func (s *Service) List(_ *circuitv1.ListServersRequest, stream grpc.ServerStreamingServer[circuitv1.ListServersReply]) error {
	for batch := range slices.Chunk(s.cfg.Members(), listBatch) {
		reply := &circuitv1.ListServersReply{}
		for _, m := range batch {
			reply.Members = append(reply.Members, rpc.MemberToProto(m))
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	return nil
}

// mine checks that a call means this server, not an anchor on it.
func (s *Service) mine(ctx context.Context, op string) error {
	path, err := rpc.PathFrom(ctx)
	if err != nil || path == s.cfg.Self.Path() || path.IsRoot() {
		return err
	}
	return &circuit.Error{Op: op, Path: path.String(), Kind: circuit.Invalid, Err: fmt.Errorf("this is an anchor on a server; name the server, %v", s.cfg.Self.Path())}
}

// Stat implements circuitv1.ServersServer.
func (s *Service) Stat(ctx context.Context, _ *circuitv1.StatServerRequest) (*circuitv1.ServerStat, error) {
	if err := s.mine(ctx, "peek"); err != nil {
		return nil, err
	}
	return rpc.ServerStatToProto(s.cfg.Stat()), nil
}

// maxStacks limits the stacks that are told, in bytes; the rest is cut off.
const maxStacks = 64 << 20

// Stacks implements circuitv1.ServersServer.
func (s *Service) Stacks(_ *circuitv1.StacksRequest, stream grpc.ServerStreamingServer[circuitv1.Frame]) error {
	if err := s.mine(stream.Context(), "stk"); err != nil {
		return err
	}
	text := stacks()
	offset := uint64(0)
	for piece := range slices.Chunk(text, rpc.MaxFrameData) {
		f := rpc.Frame{Data: mem.BufferSlice{mem.SliceBuffer(piece)}, Offset: offset}
		if err := stream.SendMsg(&f); err != nil {
			return err
		}
		offset += uint64(len(piece))
	}
	return stream.SendMsg(&rpc.Frame{Offset: offset, End: true})
}

func stacks() []byte {
	for size := 1 << 18; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= maxStacks {
			return bytes.TrimRight(buf[:n], "\x00")
		}
	}
}

// Suicide implements circuitv1.ServersServer.
func (s *Service) Suicide(ctx context.Context, _ *circuitv1.SuicideRequest) (*circuitv1.SuicideReply, error) {
	if err := s.mine(ctx, "suicide"); err != nil {
		return nil, err
	}
	s.cfg.Suicide()
	return &circuitv1.SuicideReply{}, nil
}

// Join implements circuitv1.ServersServer.
func (s *Service) Join(ctx context.Context, req *circuitv1.JoinRequest) (*circuitv1.JoinReply, error) {
	if err := s.mine(ctx, "join"); err != nil {
		return nil, err
	}
	u, err := circuit.ParseURL(req.GetUrl())
	if err != nil {
		return nil, circuit.At("join", "", err)
	}
	if err := s.cfg.Join(ctx, u); err != nil {
		return nil, circuit.At("join", u.String(), err)
	}
	return &circuitv1.JoinReply{}, nil
}
