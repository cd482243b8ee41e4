package client

import (
	"context"
	"errors"
	"io"
	"math"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Server is a server of the circuit. It may be used by many goroutines at once.
type Server struct {
	a  *Anchor
	id ServerID
}

// Anchor returns the anchor of the server, below which all that it hosts is.
func (s *Server) Anchor() *Anchor { return s.a }

// Path returns the path of the server's anchor.
func (s *Server) Path() Path { return s.a.path }

// ID returns the server's identity.
func (s *Server) ID() ServerID { return s.id }

// Kind returns KindNone.
func (s *Server) Kind() Kind { return KindNone }

// Generation returns 0.
func (s *Server) Generation() uint64 { return 0 }

func (s *Server) element() {}

// Stat returns the state of the server.
func (s *Server) Stat(ctx context.Context) (ServerStat, error) { return s.stat(ctx, "peek") }

func (s *Server) stat(ctx context.Context, op string) (stat ServerStat, err error) {
	err = s.a.subject(op).do(ctx, reads, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewServersClient(c).Stat(ctx, &circuitv1.StatServerRequest{})
		if err == nil {
			stat = rpc.ServerStatFromProto(reply)
		}
		return err
	})
	return stat, err
}

// Stacks writes the stacks of the server's goroutines to w, as text.
func (s *Server) Stacks(ctx context.Context, w io.Writer) error {
	var failed error // w's
	stk := s.a.subject("stk")
	err := stk.list(ctx, func(ctx context.Context, c grpc.ClientConnInterface) (func() (bool, error), error) {
		stream, err := circuitv1.NewServersClient(c).Stacks(ctx, &circuitv1.StacksRequest{})
		return func() (bool, error) {
			var f rpc.Frame
			err := stream.RecvMsg(&f)
			if err == io.EOF {
				err = stk.lost("the server broke the text off")
			}
			if err != nil {
				return true, err
			}
			var d data
			d.set(f.Data)
			_, failed = d.writeTo(w, math.MaxInt)
			d.free()
			return failed == nil && !f.End, nil
		}, err
	})
	if failed != nil {
		return failed
	}
	return err
}

// Suicide lets the server leave the circuit, end what its users run, and exit.
// It returns once the server has begun to, or has left. ErrLost says that neither
// is known: a server that was frozen may come back, and go on.
func (s *Server) Suicide(ctx context.Context) error {
	err := s.a.subject("suicide").do(ctx, acts, func(ctx context.Context, c grpc.ClientConnInterface) error {
		_, err := circuitv1.NewServersClient(c).Suicide(ctx, &circuitv1.SuicideRequest{})
		return err
	})
	if errors.Is(err, circuit.Lost) && s.hasLeft(ctx) {
		return nil // faster than its answer
	}
	return err
}

// hasLeft reports whether the circuit knows that the server left, which it does
// not say of one that it gave up.
func (s *Server) hasLeft(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, laterPatience)
	defer cancel()
	_, err := s.stat(ctx, "suicide")
	return rpc.IsLeft(err)
}

// Join merges the server's circuit with the one that url leads to, and returns
// once the two are one. ErrDenied says that their keys differ.
func (s *Server) Join(ctx context.Context, url string) error {
	return s.a.subject("join").do(ctx, acts, func(ctx context.Context, c grpc.ClientConnInterface) error {
		_, err := circuitv1.NewServersClient(c).Join(ctx, &circuitv1.JoinRequest{Url: url})
		return err
	})
}
