package client

import (
	"context"
	"crypto/rand"
	"math"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Anchor is a place in the circuit's hierarchy, whether or not there is
// anything. It may be used by many goroutines at once.
type Anchor struct {
	c    *Client
	path Path
}

// Path returns the anchor's path.
func (a *Anchor) Path() Path { return a.path }

// String returns the text of the anchor's path.
func (a *Anchor) String() string { return a.path.String() }

// Walk returns the anchor below a at rel, one or more names joined by slashes.
// It asks nobody. Errors are of kind ErrInvalid.
func (a *Anchor) Walk(rel string) (*Anchor, error) {
	p, err := a.path.Join(rel)
	if err != nil {
		return nil, err
	}
	return a.c.Anchor(p), nil
}

// Element is what an anchor holds: a *Proc, a *Chan, a *Subscription, a *Server,
// or an *Opaque for kinds that this package does not know. Only this package
// implements it.
type Element interface {
	// Path returns the path of the element's anchor.
	Path() Path
	// Kind returns what the element is; a server has KindNone.
	Kind() Kind
	// Generation identifies the element among all that were ever at its
	// anchor; 0 means that the handle stands for whichever is there.
	Generation() uint64

	element()
}

// Opaque is an element of a kind that this package does not know.
type Opaque struct {
	handle
	entry Entry
}

// Kind returns what the element is.
func (o *Opaque) Kind() Kind { return o.entry.Kind }

// State returns the element's state in a word or a few, for people.
func (o *Opaque) State() string { return o.entry.State }

// Get asks what the anchor holds. The handle that it returns stands for just
// that element. ErrNotFound says that there is nothing.
func (a *Anchor) Get(ctx context.Context) (Element, error) {
	s := a.subject("peek")
	if a.path.IsRoot() {
		return nil, s.nothing("the root of the circuit holds nothing; name a server, or what is on one")
	}
	var entry Entry
	err := s.do(ctx, reads, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewAnchorsClient(c).Get(ctx, &circuitv1.GetRequest{})
		if err == nil {
			entry, err = rpc.EntryFromProto(reply)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	h := handle{a, entry.Generation}
	switch {
	case entry.Kind == circuit.Proc:
		return &Proc{h}, nil
	case entry.Kind == circuit.Chan:
		return &Chan{h}, nil
	case entry.Kind == circuit.OnJoin, entry.Kind == circuit.OnLeave:
		return &Subscription{h, entry.Kind}, nil
	case entry.Kind != circuit.None:
		return &Opaque{h, entry}, nil
	case a.path.IsServer():
		return a.Server(), nil
	}
	return nil, s.nothing("there is no element here, only anchors below")
}

func (s subject) nothing(text string) error {
	return circuit.At(s.op, s.path.String(), circuit.Errorf(circuit.NotFound, text))
}

// ScrubOption says what is to become of a process that runs.
type ScrubOption func(*scrubConfig)

type scrubConfig struct {
	kill, abandon bool
	grace         time.Duration
}

// ScrubKill ends the process first, by TERM, and by KILL if it still runs after
// the grace time; 0 means the server's default of that.
func ScrubKill(grace time.Duration) ScrubOption {
	return func(c *scrubConfig) { c.kill, c.abandon, c.grace = true, false, grace }
}

// ScrubAbandon leaves the process running, nobody's.
func ScrubAbandon() ScrubOption {
	return func(c *scrubConfig) { c.kill, c.abandon = false, true }
}

// Scrub removes the element that the anchor holds. Blocked senders and
// receivers of a channel, and receivers of a subscription, fail with ErrClosed. A process that runs is not
// removed, with ErrExists, unless an option says how. ErrNotFound says that
// there was nothing.
func (a *Anchor) Scrub(ctx context.Context, opts ...ScrubOption) error {
	return a.subject("scrub").scrub(ctx, opts)
}

func (s subject) scrub(ctx context.Context, opts []ScrubOption) error {
	var c scrubConfig
	for _, o := range opts {
		o(&c)
	}
	req := &circuitv1.ScrubRequest{Mode: circuitv1.ScrubRequest_REFUSE}
	switch {
	case c.kill:
		ms := c.grace.Milliseconds()
		if c.grace > 0 {
			ms = max(1, ms)
		}
		req.Mode, req.GraceMs = circuitv1.ScrubRequest_KILL, uint32(min(max(0, ms), math.MaxUint32))
	case c.abandon:
		req.Mode = circuitv1.ScrubRequest_ABANDON
	}
	return s.do(ctx, acts, func(ctx context.Context, c grpc.ClientConnInterface) error {
		_, err := circuitv1.NewAnchorsClient(c).Scrub(ctx, req)
		return err
	})
}

// MakeProc runs a process at the anchor and returns once it runs. Where it
// cannot be started the error says why and the anchor stays free: ErrNotFound
// for no such program, ErrDenied for one that may not be executed, ErrInvalid
// for a bad command, ErrExists where the anchor is taken, ErrExhausted at a
// limit of the server. ErrLost says that the connection broke for good before
// the answer came.
func (a *Anchor) MakeProc(ctx context.Context, cmd Cmd) (*Proc, error) {
	s := a.subject("mkproc")
	if err := cmd.Validate(); err != nil {
		return nil, circuit.At(s.op, s.path.String(), err)
	}
	req := &circuitv1.MakeProcRequest{Cmd: rpc.CmdToProto(cmd), Nonce: newNonce()}
	generation, err := s.make(ctx, func(ctx context.Context, c grpc.ClientConnInterface) (*circuitv1.MakeReply, error) {
		return circuitv1.NewProcsClient(c).Make(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	return &Proc{handle{a, generation}}, nil
}

// MakeChan makes a channel at the anchor, whose buffer can hold capacity
// messages: 0 or more. ErrExists says that the anchor is taken.
func (a *Anchor) MakeChan(ctx context.Context, capacity int) (*Chan, error) {
	s := a.subject("mkchan")
	if capacity < 0 || capacity > math.MaxInt32 {
		return nil, s.invalid("a channel's capacity is from 0 to 2147483647 messages")
	}
	req := &circuitv1.MakeChanRequest{Cap: uint32(capacity), Nonce: newNonce()}
	generation, err := s.make(ctx, func(ctx context.Context, c grpc.ClientConnInterface) (*circuitv1.MakeReply, error) {
		return circuitv1.NewChansClient(c).Make(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	return &Chan{handle{a, generation}}, nil
}

// make makes an element with f, whose request carries a nonce, and returns its
// generation.
func (s subject) make(ctx context.Context, f func(context.Context, grpc.ClientConnInterface) (*circuitv1.MakeReply, error)) (generation uint64, err error) {
	if s.path.IsRoot() {
		return 0, s.invalid("the root of the circuit holds nothing; name a server, or a place on one")
	}
	err = s.do(ctx, makes, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := f(ctx, c)
		generation = reply.GetGeneration()
		return err
	})
	return generation, err
}

// newNonce returns what lets a server know a request again that is repeated.
func newNonce() []byte {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	return nonce
}

// Proc returns a handle for whichever process is at the anchor. It asks nobody.
func (a *Anchor) Proc() *Proc { return &Proc{handle{a, 0}} }

// Chan returns a handle for whichever channel is at the anchor. It asks nobody.
func (a *Anchor) Chan() *Chan { return &Chan{handle{a, 0}} }

// Subscription returns a handle for whichever subscription is at the anchor. It
// asks nobody.
func (a *Anchor) Subscription() *Subscription { return &Subscription{handle{a, 0}, circuit.None} }

// Server returns the server that hosts the anchor, nil for the root. It asks
// nobody.
func (a *Anchor) Server() *Server {
	id, ok := a.path.Server()
	if !ok {
		return nil
	}
	return a.c.Server(id)
}

// handle is what all handles of elements share.
type handle struct {
	a          *Anchor
	generation uint64
}

// Anchor returns the anchor of the element.
func (h handle) Anchor() *Anchor { return h.a }

// Path returns the path of the element's anchor.
func (h handle) Path() Path { return h.a.path }

// Generation identifies the element among all that were ever at its anchor; 0
// means that the handle stands for whichever is there.
func (h handle) Generation() uint64 { return h.generation }

// Scrub removes the element, as [Anchor.Scrub] does, and nothing else that may
// be there by now.
func (h handle) Scrub(ctx context.Context, opts ...ScrubOption) error {
	return h.subject("scrub").scrub(ctx, opts)
}

func (h handle) element() {}

func (h handle) subject(op string) subject {
	s := h.a.subject(op)
	s.generation = h.generation
	return s
}

func (a *Anchor) subject(op string) subject { return subject{c: a.c.conn, op: op, path: a.path} }
