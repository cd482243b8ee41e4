package transport

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// A client over the limit of connections is told so: for a moment its connection
// is served, by a server that answers every call with Exhausted.
const (
	// maxRefused is how many connections are served so at once; at the limit
	// further ones are closed without a word, and their dialler tries again.
	maxRefused = 64
	// refusedTime is how long one may stay until it is asked to go, and then
	// until it is closed.
	refusedTime = time.Second
)

// newRefuser returns the server of connections of clients that are over the
// limit of most.
func newRefuser(most int) *grpc.Server {
	err := statusOf(codes.ResourceExhausted, circuitv1.Error_EXHAUSTED, fmt.Sprintf(
		"the server has %d connections of clients and takes no more; end some, dial in at another server, or start it with a higher --limit connections, or with more open files allowed", most))
	return grpc.NewServer(
		grpc.Creds(passthrough{}),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: refusedTime, MaxConnectionAgeGrace: refusedTime}),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return err }),
	)
}
