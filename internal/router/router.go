// Package router sends each call to the server that its path names: to the
// service here, or to another server's connection. It knows no kinds: it reads
// the path in the call's metadata, and passes messages on without decoding
// them, those of services that this server has never heard of included.
//
// A call is passed on once. One that arrives here forwarded and is not for
// this server is refused.
//
// Package server installs it behind package access. A Router may be used from
// any number of goroutines; Close waits for all that it started.
package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Config configures a Router.
type Config struct {
	// Self is this server.
	Self circuit.ServerID
	// Peer returns a connection to another server, made within ctx. Its errors
	// are the caller's answer: NotFound for a server never seen, Unreachable
	// for one that left or does not answer.
	Peer func(ctx context.Context, id circuit.ServerID) (grpc.ClientConnInterface, error)
}

// Router routes the calls of one server.
type Router struct {
	cfg   Config
	pumps sync.WaitGroup
}

// New returns a router.
func New(cfg Config) *Router { return &Router{cfg: cfg} }

// Close waits for the goroutines of forwarded streams. All streams must have
// been ended before, as stopping a grpc.Server does.
func (r *Router) Close() { r.pumps.Wait() }

// target returns the connection on which a call goes on, nil if it is for this
// server.
func (r *Router) target(ctx context.Context) (grpc.ClientConnInterface, circuit.ServerID, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, 0, err
	}
	id, ok := path.Server()
	if !ok || id == r.cfg.Self {
		return nil, id, nil
	}
	if rpc.IsForwarded(ctx) {
		return nil, id, &circuit.Error{Path: path.String(), Kind: circuit.Invalid, Err: fmt.Errorf("a request for %v was passed on to %v, which is another server", id, r.cfg.Self)}
	}
	conn, err := r.cfg.Peer(ctx, id)
	return conn, id, about(path, err)
}

// about returns why there is no connection for a call about path. What else the
// error names, the address that was dialled, goes into its text.
func about(path circuit.Path, err error) error {
	var e *circuit.Error
	if !errors.As(err, &e) || e.Path == "" || e.Path == path.String() {
		return circuit.At("", path.String(), err)
	}
	c, why := *e, e.Err
	if why == nil {
		why = e.Kind
	}
	c.Path, c.Err = path.String(), fmt.Errorf("%s: %w", e.Path, why)
	return &c
}

// Unary is a grpc.UnaryServerInterceptor.
func (r *Router) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	conn, id, err := r.target(ctx)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return next(ctx, req)
	}
	var reply rpc.Raw
	if err := conn.Invoke(rpc.Forward(ctx), info.FullMethod, req, &reply); err != nil {
		return nil, broken(id, err)
	}
	defer reply.Free()
	return &rpc.Raw{Data: mem.BufferSlice{mem.SliceBuffer(reply.Data.Materialize())}}, nil
}

// Stream is a grpc.StreamServerInterceptor.
func (r *Router) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	conn, id, err := r.target(stream.Context())
	if err != nil {
		return err
	}
	if conn == nil {
		return next(srv, stream)
	}
	return broken(id, r.forward(stream, conn, info.FullMethod))
}

// Unknown is the handler of calls of services that this server does not have,
// and that are for this server: Stream has passed on the others.
func (r *Router) Unknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return circuit.Errorf(circuit.Unsupported, "this server does not know "+method+"; it may run another version")
}

// forward passes a stream on, message by message in each direction. A side
// that is not read holds back its own stream only.
func (r *Router) forward(in grpc.ServerStream, conn grpc.ClientConnInterface, method string) error {
	ctx, cancel := context.WithCancel(rpc.Forward(in.Context()))
	defer cancel()
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	// The pump ends at the latest when this function has returned, for then
	// grpc cancels the context of in.
	r.pumps.Go(func() {
		if err := pump(out, in); err != nil {
			cancel()
			return
		}
		_ = out.CloseSend() // its failure is the stream's, which the other direction reports
	})
	if err := pump(in, out); err != nil {
		if in.Context().Err() != nil {
			return in.Context().Err()
		}
		return err
	}
	return nil
}

type sender interface{ SendMsg(m any) error }
type receiver interface{ RecvMsg(m any) error }

// pump passes messages on until the stream they come from ends, well (nil) or
// badly.
func pump(to sender, from receiver) error {
	for {
		var m rpc.Raw
		if err := from.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err := to.SendMsg(&m)
		m.Free()
		if errors.Is(err, io.EOF) {
			return nil // the receiving end of this stream has the reason
		}
		if err != nil {
			return err
		}
	}
}

// broken puts a failure of the connection to the hosting server in words. What
// the server itself answered passes unchanged.
func broken(id circuit.ServerID, err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Unavailable || len(st.Details()) > 0 {
		return err
	}
	return circuit.Errorf(circuit.Lost, fmt.Sprintf("the connection to %v broke; what was asked may or may not have been done", id))
}
