package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

const (
	// dialTime is how long a round of dialling takes at most: connecting,
	// authenticating and greeting.
	dialTime = 5 * time.Second
	// headStart is how long an address is tried before the next one is, too.
	headStart = 250 * time.Millisecond
	// Between rounds there is a pause, which grows while nobody answers.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second

	// How long a call waits for a connection: in the beginning, and after one
	// broke under it. It breaks 6 seconds after a server froze, and the two
	// together stay below 10.
	firstPatience = 5 * time.Second
	laterPatience = 3 * time.Second
	// mostSilence is what users are told of that.
	mostSilence = 10 * time.Second
)

// link is one connection to a server, live until Done. It never reconnects.
// *transport.Conn is one.
type link interface {
	grpc.ClientConnInterface
	Done() <-chan struct{}
	Close() error
}

// connector keeps a client's one connection. It makes it when somebody needs
// it, once for all who do.
type connector struct {
	dial    func(context.Context, URL) (link, error)
	targets []URL          // in order of preference, at least one
	pool    mem.BufferPool // for what is sent

	ctx   context.Context // ends when the client is closed
	stop  context.CancelFunc
	tasks sync.WaitGroup // rounds, and all other goroutines of the client

	mu     sync.Mutex
	closed bool
	link   link
	dialIn DialIn
	round  *round        // under way
	pause  time.Duration // before the next round
}

// round is one attempt at all targets.
type round struct {
	done chan struct{} // closed once link and err are set
	link link
	err  error
}

func newConnector(targets []URL, dial func(context.Context, URL) (link, error)) *connector {
	ctx, stop := context.WithCancel(context.Background())
	return &connector{dial: dial, targets: targets, pool: newPool(), ctx: ctx, stop: stop}
}

// close ends everything and waits for it.
func (c *connector) close() {
	c.mu.Lock()
	c.closed = true
	l := c.link
	c.link = nil
	c.mu.Unlock()
	c.stop()
	if l != nil {
		l.Close()
	}
	c.tasks.Wait()
}

// spawn runs f in a goroutine that close waits for; false says that it is too
// late for that. f must end when the connection does.
func (c *connector) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(f)
	return true
}

func errClientClosed() error {
	return circuit.Errorf(circuit.Closed, "the client is closed")
}

// get returns the live connection. If there is none it waits for one, as long
// as patience and ctx last.
func (c *connector) get(ctx context.Context, patience time.Duration) (link, error) {
	if l, err := c.current(); l != nil || err != nil {
		return l, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var last error
	for {
		r, err := c.join()
		if err != nil {
			return nil, err
		}
		select {
		case <-r.done:
			if r.err == nil || !worthRepeating(r.err) {
				return r.link, r.err
			}
			last = r.err
		case <-timer.C:
			return nil, c.gaveUp(last, patience)
		case <-ctx.Done():
			return nil, contextError(ctx, last)
		}
	}
}

// first makes the first connection, in one round.
func (c *connector) first(ctx context.Context) error {
	r, err := c.join()
	if err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return contextError(ctx, nil)
	}
}

// current returns the live connection, nil if there is none.
func (c *connector) current() (link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.currentLocked()
}

func (c *connector) currentLocked() (link, error) {
	if c.closed {
		return nil, errClientClosed()
	}
	if c.link != nil {
		select {
		case <-c.link.Done():
			c.link = nil
		default:
		}
	}
	return c.link, nil
}

// join returns the round that is under way, or begins one. The round is over
// if there is a connection already.
func (c *connector) join() (*round, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := c.currentLocked()
	if err != nil {
		return nil, err
	}
	if c.round != nil {
		return c.round, nil
	}
	r := &round{done: make(chan struct{}), link: l}
	if l != nil {
		close(r.done)
		return r, nil
	}
	c.round = r
	pause := c.pause
	c.tasks.Go(func() { c.run(r, pause) })
	return r, nil
}

// run carries out a round after a pause.
func (c *connector) run(r *round, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
	l, at, err := c.dialAny(c.ctx)
	c.mu.Lock()
	if c.closed {
		err = errClientClosed()
	}
	c.round, r.err = nil, err
	if err == nil {
		c.link, c.dialIn, r.link = l, at, l
	}
	c.pause = firstPause
	if err != nil {
		c.pause = min(lastPause, max(firstPause, 2*pause))
	}
	c.mu.Unlock()
	if err != nil && l != nil {
		l.Close()
	}
	close(r.done)
}

// dialed is how one target answered.
type dialed struct {
	target URL
	link   link
	dialIn DialIn
	err    error
}

// dialAny returns the connection to the first target that answers. Each target
// gets a head start over the next.
func (c *connector) dialAny(ctx context.Context) (link, DialIn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, circuit.Errorf(circuit.Unreachable, fmt.Sprintf("no answer within %v", dialTime)))
	defer cancel()
	answers := make(chan dialed)
	begun, pending := 0, 0
	begin := func() {
		if begun < len(c.targets) {
			target := c.targets[begun]
			begun, pending = begun+1, pending+1
			go func() { answers <- dialTarget(ctx, c.dial, target) }()
		}
	}
	tick := time.NewTicker(headStart)
	defer tick.Stop()
	var won *dialed
	var failed []dialed
	for begin(); pending > 0; {
		select {
		case d := <-answers:
			pending--
			switch {
			case d.err != nil:
				failed = append(failed, d)
				if won == nil {
					begin()
				}
			case won == nil:
				won = &d
				cancel()
			default:
				d.link.Close()
			}
		case <-tick.C:
			if won == nil {
				begin()
			}
		}
	}
	if won != nil {
		return won.link, won.dialIn, nil
	}
	return nil, DialIn{}, joinFailures(failed)
}

// dialTarget connects to a target and greets it. What ctx carries as its cause
// is the error where time runs out.
func dialTarget(ctx context.Context, dial func(context.Context, URL) (link, error), target URL) dialed {
	d := dialed{target: target}
	var err error
	d.link, err = dial(ctx, target)
	if err == nil {
		ours := rpc.NewHello(software)
		var theirs *circuitv1.Hello
		theirs, err = circuitv1.NewServersClient(d.link).Greet(ctx, ours)
		if err == nil {
			err = rpc.Compatible(ours, theirs)
		}
		d.dialIn = DialIn{ID: circuit.ServerID(theirs.GetServer()), Address: target.Address(), Software: theirs.GetSoftware()}
	}
	if err == nil {
		return d
	}
	if d.link != nil {
		d.link.Close()
		d.link = nil
	}
	d.err = rpc.Read(rpc.FromStatus("", "", err))
	if ctx.Err() != nil {
		d.err = context.Cause(ctx)
	}
	return d
}

// joinFailures makes one error of all that failed: with the kind that they
// share, or else Unreachable.
func joinFailures(failed []dialed) error {
	if len(failed) == 0 {
		return circuit.Errorf(circuit.Unreachable, "no address to dial")
	}
	kind := circuit.KindOf(failed[0].err)
	var b strings.Builder
	for i, d := range failed {
		if circuit.KindOf(d.err) != kind {
			kind = circuit.Unreachable
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(nameFailure(d))
	}
	return circuit.Errorf(kind, b.String())
}

// nameFailure says how a target failed, and names it.
func nameFailure(d dialed) string {
	text := d.err.Error()
	if strings.Contains(text, d.target.Address()) {
		return text
	}
	return d.target.Address() + ": " + text
}

// worthRepeating reports whether a failure to connect may pass.
func worthRepeating(err error) bool {
	switch circuit.KindOf(err) {
	case circuit.Denied, circuit.Invalid, circuit.Unsupported, circuit.Closed:
		return false
	}
	return true
}

// gaveUp is the error of a call whose patience ended; last is how the last
// round failed, if one did.
func (c *connector) gaveUp(last error, patience time.Duration) error {
	if last != nil {
		return last
	}
	var tried []string
	for _, u := range c.targets {
		tried = append(tried, u.Address())
	}
	return circuit.Errorf(circuit.Unreachable, fmt.Sprintf("no answer from %s within %v", strings.Join(tried, ", "), patience))
}

// contextError says that ctx ended, and what was the matter until then.
func contextError(ctx context.Context, last error) error {
	kind := circuit.KindOf(context.Cause(ctx))
	if kind != circuit.Timeout {
		kind = circuit.Canceled
	}
	if last == nil {
		return &circuit.Error{Kind: kind}
	}
	return circuit.Errorf(kind, fmt.Sprintf("%v; the last reason: %v", kind, last))
}
