package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

const (
	defaultPatience = 2 * time.Second
	defaultWidth    = 64
)

// View lists the children of the anchor, sorted: for the root the servers, of
// which none but the dial-in server is asked. An error ends the iteration;
// ErrNotFound says that there is no such anchor.
func (a *Anchor) View(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if a.path.IsRoot() {
			for m, err := range a.c.Servers(ctx) {
				if !yield(Entry{Path: m.ID.Path()}, err) || err != nil {
					return
				}
			}
			return
		}
		a.viewTree(ctx, false, yield)
	}
}

// ViewOption is a setting of what asks many servers: ViewAll, ViewServers,
// Overlay.
type ViewOption func(*viewConfig)

type viewConfig struct {
	patience time.Duration
	width    int
}

func newViewConfig(opts []ViewOption) viewConfig {
	c := viewConfig{patience: defaultPatience, width: defaultWidth}
	for _, o := range opts {
		o(&c)
	}
	return c
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
	c := newViewConfig(opts)
	return func(yield func(Entry, error) bool) {
		if a.path.IsRoot() {
			a.viewServers(ctx, c, yield)
		} else {
			a.viewTree(ctx, true, yield)
		}
	}
}

// viewTree lists what one server hosts at or below the anchor.
func (a *Anchor) viewTree(ctx context.Context, recursive bool, yield func(Entry, error) bool) {
	stopped := false
	err := a.entries(ctx, recursive, func(batch []Entry) bool {
		for _, e := range batch {
			if !yield(e, nil) {
				stopped = true
				return false
			}
		}
		return true
	})
	if err != nil && !stopped {
		yield(Entry{}, err)
	}
}

// entries lists with one call, and gives the entries as they come until yield
// returns false.
func (a *Anchor) entries(ctx context.Context, recursive bool, yield func([]Entry) bool) error {
	return a.subject("ls").list(ctx, func(ctx context.Context, c grpc.ClientConnInterface) (func() (bool, error), error) {
		stream, err := circuitv1.NewAnchorsClient(c).List(ctx, &circuitv1.ListRequest{Recursive: recursive})
		return func() (bool, error) {
			reply, err := stream.Recv()
			if err != nil {
				return true, err
			}
			batch := make([]Entry, 0, len(reply.GetEntries()))
			for _, p := range reply.GetEntries() {
				e, err := rpc.EntryFromProto(p)
				if err != nil {
					return true, err
				}
				batch = append(batch, e)
			}
			return yield(batch), nil
		}, err
	})
}

// list reads a listing: begin opens its stream and returns the function that
// takes the next part of it, which says whether more is wanted. It is begun
// again if the connection broke before anything came.
func (s subject) list(ctx context.Context, begin func(context.Context, grpc.ClientConnInterface) (func() (bool, error), error)) error {
	var late error // how a listing broke off that had begun
	err := s.do(ctx, reads, func(ctx context.Context, c grpc.ClientConnInterface) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		next, err := begin(ctx, c)
		for some, more := false, true; err == nil && more; some = true {
			if more, err = next(); err != nil && err != io.EOF && some {
				late = err
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		return err
	})
	if late != nil {
		return rpc.Read(rpc.FromStatus(s.op, s.path.String(), late))
	}
	return err
}

// listing is what one server hosts, as it comes.
type listing struct {
	path    Path
	batches chan []Entry // closed at the end
	err     error        // why it ended, set before
}

// ahead is how many batches of a listing wait for their turn.
const ahead = 2

// viewServers lists what all servers host: it asks several at a time and gives
// what they answer in order.
func (a *Anchor) viewServers(ctx context.Context, c viewConfig, yield func(Entry, error) bool) {
	var servers []Path
	for m, err := range a.c.Servers(ctx) {
		if err != nil {
			yield(Entry{}, err)
			return
		}
		servers = append(servers, m.ID.Path())
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	order := make(chan *listing, max(1, c.width)-1)
	asking.Go(func() {
		defer close(order)
		for _, path := range servers {
			l := &listing{path: path, batches: make(chan []Entry, ahead)}
			select {
			case order <- l:
				asking.Go(func() { l.ask(ctx, a.c, c.patience) })
			case <-ctx.Done():
				return
			}
		}
	})
	for l := range order {
		if !l.yield(yield) {
			return
		}
	}
	if ctx.Err() != nil {
		yield(Entry{}, circuit.At("ls", "/", contextError(ctx, nil)))
	}
}

// yield gives what a server hosts, the server first, and its error. It reports
// whether to go on.
func (l *listing) yield(yield func(Entry, error) bool) bool {
	named := false
	for batch := range l.batches {
		if !named && !yield(Entry{Path: l.path}, nil) {
			return false
		}
		named = true
		for _, e := range batch {
			if !yield(e, nil) {
				return false
			}
		}
	}
	switch {
	case l.err != nil:
		return yield(Entry{}, l.err) && !errors.Is(l.err, circuit.Closed) && !errors.Is(l.err, circuit.Canceled)
	case !named:
		return yield(Entry{Path: l.path}, nil)
	}
	return true
}

// ask asks a server, and gives it up when it is silent for longer than
// patience.
func (l *listing) ask(ctx context.Context, c *Client, patience time.Duration) {
	defer close(l.batches)
	asked, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := circuit.Errorf(circuit.Timeout, fmt.Sprintf("no answer within %v", patience))
	timer := time.AfterFunc(patience, func() { cancel(silent) })
	defer timer.Stop()
	err := c.Anchor(l.path).entries(asked, true, func(batch []Entry) bool {
		timer.Stop()
		defer timer.Reset(patience)
		select {
		case l.batches <- batch:
			return true
		case <-ctx.Done():
			return false
		}
	})
	if err != nil && context.Cause(asked) == silent {
		err = circuit.At("ls", l.path.String(), silent)
	}
	l.err = err
}
