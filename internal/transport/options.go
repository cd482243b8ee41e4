package transport

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	"github.com/gocircuit/circuit/internal/credential"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
)

// Settings of every connection, at both ends. Static windows keep a stream
// that nobody reads from holding more than its own; the ends of a connection
// need not agree on them.
const (
	streamWindow = 1 << 20
	connWindow   = 8 << 20
	readBuffer   = 32 << 10
	writeBuffer  = 129 << 10 // lent by gRPC while something is written: a message of 128 KiB, with all headers
	maxMessage   = 4 << 20   // bytes of one message
	maxHeaders   = 64 << 10  // bytes of a call's metadata

	// DefaultMaxStreams is how many calls one connection may have open at
	// once. Further ones wait at the caller.
	DefaultMaxStreams = 16_384

	// Clients are pinged when silent for pingAfter, and given up if they do not
	// answer for pingWait.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// ServerOptions returns the settings of the grpc.Server that serves a
// listener's connections of one role. Options appended to them take
// precedence.
func ServerOptions(role credential.Role, codec encoding.CodecV2) []grpc.ServerOption {
	alive := keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait}
	if role == credential.Server {
		// The failure detector watches servers; pings would cost idle traffic.
		alive = keepalive.ServerParameters{Time: math.MaxInt64}
	}
	return []grpc.ServerOption{
		grpc.Creds(passthrough{}),
		grpc.ForceServerCodecV2(codec),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		experimental.BufferPool(new(framePool)),
		grpc.ReadBufferSize(readBuffer),
		grpc.WriteBufferSize(writeBuffer),
		grpc.MaxConcurrentStreams(DefaultMaxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(alive),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingWait, PermitWithoutStream: true}),
	}
}

func dialOptions(codec encoding.CodecV2, dial func(context.Context, string) (net.Conn, error)) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(passthrough{}),
		grpc.WithAuthority("circuit"),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec),
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		experimental.WithBufferPool(new(framePool)),
		grpc.WithReadBufferSize(readBuffer),
		grpc.WithWriteBufferSize(writeBuffer),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithIdleTimeout(0),
	}
}

// AuthInfo is what calls know about the connection that they come in on.
type AuthInfo struct {
	credentials.CommonAuthInfo
	Peer credential.Peer
	conn *secured
}

// AuthType implements credentials.AuthInfo.
func (AuthInfo) AuthType() string { return "circuit" }

// PeerFrom returns who made the call that ctx belongs to; ok is false where
// ctx is not that of a call served through a Listener.
func PeerFrom(ctx context.Context) (p credential.Peer, ok bool) {
	auth, ok := authFrom(ctx)
	return auth.Peer, ok
}

// authFrom returns what is known of the connection of the call of ctx.
func authFrom(ctx context.Context) (AuthInfo, bool) {
	on, ok := peer.FromContext(ctx)
	if !ok {
		return AuthInfo{}, false
	}
	auth, ok := on.AuthInfo.(AuthInfo)
	return auth, ok
}

// passthrough are the credentials that gRPC gets: its connections are
// authenticated before it sees them.
type passthrough struct{}

var errNotAuthenticated = errors.New("the connection is not authenticated")

func (passthrough) handshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s, ok := c.(*secured)
	if !ok {
		return nil, nil, errNotAuthenticated
	}
	return s, s.auth, nil
}

func (p passthrough) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.handshake(c)
}

func (p passthrough) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.handshake(c)
}

func (passthrough) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "circuit"}
}

func (p passthrough) Clone() credentials.TransportCredentials { return p }

func (passthrough) OverrideServerName(string) error { return nil }
