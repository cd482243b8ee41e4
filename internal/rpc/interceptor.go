package rpc

import (
	"context"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
)

// Interceptor is the outermost of a server's interceptors: it turns what the
// inner ones and the services fail with into statuses. A service that panics
// has a defect, which costs its caller an Internal error and the log a stack,
// not everybody else their processes.
type Interceptor struct{ Log *slog.Logger }

// Unary is a grpc.UnaryServerInterceptor.
func (i Interceptor) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	defer i.recover(info.FullMethod, &err)
	reply, err = next(ctx, req)
	return reply, ToStatus(err)
}

// Stream is a grpc.StreamServerInterceptor.
func (i Interceptor) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer i.recover(info.FullMethod, &err)
	return ToStatus(next(srv, stream))
}

func (i Interceptor) recover(method string, err *error) {
	if r := recover(); r != nil {
		i.Log.Error("a service panicked", slog.String("method", method), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
		*err = ToStatus(circuit.Errorf(circuit.Internal, "a defect of the server; its log says more"))
	}
}
