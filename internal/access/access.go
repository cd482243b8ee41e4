// Package access decides who may do what. There is one decision, Allow, and it
// is made once: at the server where a request enters the circuit. Interceptor
// puts it before every service of a server, and before the router.
//
// Package server installs it. It keeps no state.
package access

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Request is what Allow decides on.
type Request struct {
	Principal credential.Peer // who asks, as TLS proved it
	Verb      string          // the method, as /circuit.v1.Procs/Make
	Path      circuit.Path    // the anchor that it concerns
	Forwarded bool            // it claims to be passed on by a server, which has decided on it
}

// Allow returns nil if the request may go on, and otherwise an error of kind
// Denied. Whoever has the circuit's key may do everything, but only servers
// speak as servers: they alone forward requests and link up.
func Allow(r Request) error {
	if r.Principal.Role == credential.Server {
		return nil
	}
	switch {
	case r.Principal.Role != credential.Client:
		return circuit.Errorf(circuit.Denied, "the connection is not authenticated")
	case r.Forwarded:
		return circuit.Errorf(circuit.Denied, "only servers forward requests")
	case strings.HasPrefix(r.Verb, "/"+circuitv1.Mesh_ServiceDesc.ServiceName+"/"):
		return circuit.Errorf(circuit.Denied, "only servers link up with servers")
	}
	return nil
}

// Interceptor asks Allow before a request goes on.
type Interceptor struct {
	// Principal returns who made the call of a context; the zero Peer if that
	// is not known.
	Principal func(context.Context) credential.Peer
}

func (i Interceptor) check(ctx context.Context, verb string) error {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return err
	}
	err = Allow(Request{Principal: i.Principal(ctx), Verb: verb, Path: path, Forwarded: rpc.IsForwarded(ctx)})
	return circuit.At("", path.String(), err)
}

// Unary is a grpc.UnaryServerInterceptor.
func (i Interceptor) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := i.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// Stream is a grpc.StreamServerInterceptor.
func (i Interceptor) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := i.check(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, stream)
}
