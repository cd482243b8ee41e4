package rpc

import (
	"context"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
)

// Interceptor is the outermost of a server's interceptors: it turns what the
// inner ones and the services fail with into statuses, and ends calls when the
// server stops. A service that panics has a defect, which costs its caller an
// Internal error and the log a stack, not everybody else their processes.
type Interceptor struct {
	Log *slog.Logger
	// Until ends calls that run when it is done; nil means never.
	Until context.Context
}

var errStopping = circuit.Errorf(circuit.Unreachable, "the server is stopping")

// Unary is a grpc.UnaryServerInterceptor.
func (i Interceptor) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	defer i.recover(info.FullMethod, &err)
	ctx, done := i.bind(ctx)
	defer done()
	reply, err = next(ctx, req)
	return reply, told(ctx, err)
}

// Stream is a grpc.StreamServerInterceptor.
func (i Interceptor) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer i.recover(info.FullMethod, &err)
	ctx, done := i.bind(stream.Context())
	defer done()
	return told(ctx, next(srv, &boundStream{stream, ctx}))
}

// boundStream is a stream whose context ends with Interceptor.Until.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *boundStream) Context() context.Context { return s.ctx }

// bind returns a call's context, which ends with Until as well.
func (i Interceptor) bind(call context.Context) (context.Context, func()) {
	if i.Until == nil {
		return call, func() {}
	}
	ctx, cancel := context.WithCancelCause(call)
	stop := context.AfterFunc(i.Until, func() { cancel(errStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// told turns the outcome of a call into a status.
func told(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errStopping {
		err = errStopping
	}
	return ToStatus(err)
}

func (i Interceptor) recover(method string, err *error) {
	if r := recover(); r != nil {
		i.Log.Error("a service panicked", slog.String("method", method), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
		*err = ToStatus(circuit.Errorf(circuit.Internal, "a defect of the server; its log says more"))
	}
}
