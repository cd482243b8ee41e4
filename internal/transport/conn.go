package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocircuit/circuit/internal/credential"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// BulkKey is the metadata that marks calls with much data: they get a
// connection of their own, so that small calls do not wait behind them.
const BulkKey = "circuit-bulk"

// Conn is a connection to one server, made by Dialer.Dial. It is not replaced
// when it breaks: its pending calls then fail, and so, at once, do all later
// ones, with code Unavailable. The later ones carry a circuit.v1.Error of kind
// Unreachable, for nothing of them was sent. Calls marked with BulkKey go over a second
// connection, which is made when first needed and again should it break.
type Conn struct {
	dialer *Dialer
	addr   string
	main   *session

	bulkTurn chan struct{} // held while bulk is being replaced
	mu       sync.Mutex    // guards bulk and closed
	bulk     *session
	closed   bool
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// Peer returns the server at the other end.
func (c *Conn) Peer() credential.Peer { return c.main.conn.auth.Peer }

// Addr returns the address that was dialled.
func (c *Conn) Addr() string { return c.addr }

// Done is closed when the connection takes no more calls.
func (c *Conn) Done() <-chan struct{} { return c.main.ended }

// Close ends the connection, and its pending calls at once. It may be called
// more than once.
func (c *Conn) Close() error {
	c.close("was closed")
	return nil
}

func (c *Conn) close(why string) {
	c.mu.Lock()
	c.closed = true
	bulk := c.bulk
	c.mu.Unlock()
	if bulk != nil {
		bulk.close(why)
	}
	c.main.close(why)
}

// idleFor returns for how long no call was pending.
func (c *Conn) idleFor() time.Duration {
	idle := c.main.idleFor()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bulk != nil {
		idle = min(idle, c.bulk.idleFor())
	}
	return idle
}

// Invoke implements grpc.ClientConnInterface.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	s := c.main
	if err := s.begin(); err != nil {
		return err
	}
	defer s.done()
	return s.explain(ctx, s.cc.Invoke(ctx, method, args, reply, opts...))
}

// NewStream implements grpc.ClientConnInterface.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := c.main
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get(BulkKey)) > 0 {
		var err error
		if s, err = c.bulkSession(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	var over atomic.Bool
	done := func(error) {
		if over.CompareAndSwap(false, true) {
			s.done()
		}
	}
	inner, err := s.cc.NewStream(ctx, desc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(done))...)
	if err != nil {
		done(err)
		if ctx.Err() == nil && s.isEnded() {
			err = s.over()
		}
		return nil, err
	}
	return &stream{ClientStream: inner, session: s, ctx: ctx}, nil
}

// bulkSession returns the second connection, and makes it if need be.
func (c *Conn) bulkSession(ctx context.Context) (*session, error) {
	select {
	case c.bulkTurn <- struct{}{}:
		defer func() { <-c.bulkTurn }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-c.main.ended:
		return nil, c.main.over()
	}
	if c.main.isEnded() {
		return nil, c.main.over()
	}
	c.mu.Lock()
	old := c.bulk
	c.mu.Unlock()
	if old != nil && !old.isEnded() {
		return old, nil
	}
	fresh, err := c.dialer.session(ctx, c.addr, c.Peer().ID)
	if err != nil {
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		return nil, unreachable(err.Error())
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.bulk = fresh
	}
	c.mu.Unlock()
	if old != nil {
		old.close("was closed")
	}
	if closed {
		fresh.close("was closed")
		return nil, c.main.over()
	}
	return fresh, nil
}

// stream says why its calls ended when the session did.
type stream struct {
	grpc.ClientStream
	session *session
	ctx     context.Context
}

func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	return s.session.explain(s.ctx, err)
}

func (s *stream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err == nil {
		return nil
	}
	return s.session.explain(s.ctx, err)
}

func (s *stream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, s.session.explain(s.ctx, err)
}
