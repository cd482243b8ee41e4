package client

import (
	"context"
	"iter"
	"time"

	"github.com/gocircuit/circuit"
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

// View lists the children of the anchor, sorted: for the root the servers, of
// which none but the dial-in server is asked. An error ends the iteration;
// ErrNotFound says that there is no such anchor.
func (a *Anchor) View(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {}
}

// ViewOption is a setting of ViewAll.
type ViewOption func(*viewConfig)

type viewConfig struct {
	patience time.Duration
	width    int
}

// Patience says how long to wait for a server that does not answer; the
// default is 2 seconds.
func Patience(d time.Duration) ViewOption { return func(c *viewConfig) { c.patience = d } }

// Width says how many servers are asked at the same time; the default is 64.
func Width(n int) ViewOption { return func(c *viewConfig) { c.width = n } }

// ViewAll lists everything below the anchor, sorted by path. For the root that
// is all servers and what they host; a server that does not answer gives an
// *Error that names it in Path, of kind ErrTimeout or ErrUnreachable, and the
// iteration goes on. Any other error ends it. Memory stays bounded, however
// much there is.
func (a *Anchor) ViewAll(ctx context.Context, opts ...ViewOption) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {}
}

// Element is what an anchor holds: a *Proc, a *Chan, a *Server, or an *Opaque
// for kinds that this package does not know. Only this package implements it.
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
	return nil, circuit.Errorf(circuit.Unsupported, "not yet")
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
// receivers of a channel fail with ErrClosed. A process that runs is not
// removed, with ErrExists, unless an option says how. ErrNotFound says that
// there was nothing.
func (a *Anchor) Scrub(ctx context.Context, opts ...ScrubOption) error { return nil }

// MakeProc runs a process at the anchor and returns once it runs. Where it
// cannot be started the error says why and the anchor stays free: ErrNotFound
// for no such program, ErrDenied for one that may not be executed, ErrInvalid
// for a bad command, ErrExists where the anchor is taken, ErrExhausted at a
// limit of the server. ErrLost says that the connection broke for good before
// the answer came.
func (a *Anchor) MakeProc(ctx context.Context, cmd Cmd) (*Proc, error) {
	return nil, circuit.Errorf(circuit.Unsupported, "not yet")
}

// MakeChan makes a channel at the anchor, whose buffer can hold capacity
// messages: 0 or more. ErrExists says that the anchor is taken.
func (a *Anchor) MakeChan(ctx context.Context, capacity int) (*Chan, error) {
	return nil, circuit.Errorf(circuit.Unsupported, "not yet")
}

// Proc returns a handle for whichever process is at the anchor. It asks nobody.
func (a *Anchor) Proc() *Proc { return &Proc{handle{a, 0}} }

// Chan returns a handle for whichever channel is at the anchor. It asks nobody.
func (a *Anchor) Chan() *Chan { return &Chan{handle{a, 0}} }

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
func (h handle) Scrub(ctx context.Context, opts ...ScrubOption) error { return nil }

func (h handle) element() {}
