package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/access"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/directory"
	element "github.com/gocircuit/circuit/internal/element/server"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// newGRPC returns the grpc.Server of one role. Both have the same services; a
// call goes through errors, access and router to its service.
func (s *Server) newGRPC(role credential.Role) *grpc.Server {
	outer := rpc.Interceptor{Log: s.log, Until: s.calls}
	gate := access.Interceptor{Principal: func(ctx context.Context) credential.Peer {
		p, _ := transport.PeerFrom(ctx)
		return p
	}}
	opts := append(transport.ServerOptions(role, rpc.Codec()),
		grpc.ChainUnaryInterceptor(outer.Unary, gate.Unary, s.router.Unary),
		grpc.ChainStreamInterceptor(outer.Stream, gate.Stream, s.router.Stream),
		grpc.UnknownServiceHandler(s.router.Unknown),
		grpc.MaxConcurrentStreams(uint32(s.cfg.Limits.Streams)),
		grpc.MaxRecvMsgSize(int(s.cfg.Limits.RequestBytes)),
		grpc.WaitForHandlers(true),
	)
	g := grpc.NewServer(opts...)
	circuitv1.RegisterAnchorsServer(g, anchor.NewService(s.tree))
	circuitv1.RegisterProcsServer(g, s.procs)
	circuitv1.RegisterChansServer(g, s.chans)
	circuitv1.RegisterSubscriptionsServer(g, s.subs)
	circuitv1.RegisterServersServer(g, s.newElement())
	circuitv1.RegisterMeshServer(g, s.mesh)
	grpc_health_v1.RegisterHealthServer(g, health.NewServer())
	reflection.Register(g)
	return g
}

// newElement returns the service of the server itself.
func (s *Server) newElement() *element.Service {
	return element.New(element.Config{
		Self: s.url.ID,
		Hello: func() *circuitv1.Hello {
			hello := rpc.NewHello(s.cfg.Version)
			hello.Server, hello.Address = uint64(s.url.ID), s.url.Address()
			return hello
		},
		Members: s.mesh.Members,
		Stat:    s.stat,
		Join:    s.joinOther,
		Suicide: s.suicide,
	})
}

func (s *Server) stat() circuit.ServerStat {
	self, _ := s.mesh.Member(s.url.ID)
	return circuit.ServerStat{
		ID: s.url.ID, Address: s.url.Address(), PID: os.Getpid(), Version: s.cfg.Version, Started: s.started, Joined: self.Joined,
		Servers: s.mesh.Directory().Len(), Neighbours: s.mesh.Neighbours(), Anchors: s.tree.Count(),
		Procs: s.procs.Count(), Chans: s.chans.Count(), Subscriptions: s.subs.Count(), SpoolBytes: s.procs.SpoolBytes(), ChanBytes: s.chans.Bytes(),
	}
}

// joinOther merges this server's circuit with another's.
func (s *Server) joinOther(ctx context.Context, u circuit.URL) error {
	if !u.Key.IsZero() && u.Key != s.key {
		return circuit.Errorf(circuit.Denied, "it belongs to another circuit: its key differs, and only circuits with the same key can become one")
	}
	return s.mesh.Join(ctx, u.Address(), u.ID)
}

// peer returns a connection to another server of the circuit.
func (s *Server) peer(ctx context.Context, id circuit.ServerID) (grpc.ClientConnInterface, error) {
	if m, ok := s.mesh.Member(id); ok {
		conn, err := s.pool.Get(ctx, id, m.Address)
		if err == nil {
			return conn, nil
		}
		if _, ok := s.mesh.Member(id); ok || errors.Is(err, circuit.Canceled) {
			return nil, unmet(err)
		}
	}
	r, known := s.mesh.Lookup(id)
	switch {
	case !known:
		return nil, circuit.Errorf(circuit.NotFound, fmt.Sprintf("there is no server %v in this circuit; circuit ls / lists those that are", id))
	case r.State == directory.Left:
		return nil, rpc.Left(ago(r.Since))
	case r.State == directory.Dead:
		return nil, circuit.Errorf(circuit.Unreachable, "the server failed "+ago(r.Since))
	}
	return nil, circuit.Errorf(circuit.Unreachable, "the server has just joined; try again")
}

// unmet returns why dialling a member failed, as its callers are to take it: that
// another circuit answers at its address says nothing of what they may.
func unmet(err error) error {
	e, ok := err.(*circuit.Error)
	if !ok || e.Kind != circuit.Denied {
		return err
	}
	c := *e
	c.Kind = circuit.Unreachable
	return &c
}

// ago tells how long ago something was.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h ago", int(d.Hours()))
}
