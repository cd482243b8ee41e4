package client

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/gocircuit/circuit"
)

// ServerView is a server as the dial-in server knows it, and as it answers
// itself.
type ServerView struct {
	Member
	Stat ServerStat
	// RoundTrip is how long a small call to the server and back took, through
	// the dial-in server, over connections that were open: the least of three.
	RoundTrip time.Duration
}

// ViewServers asks all servers of the circuit for their state, several at a time,
// and gives them in the order of their IDs. One that does not answer is given as
// its Member alone, with an *Error that names it in Path, of kind ErrTimeout or
// ErrUnreachable, and the iteration goes on. An error with the zero Member ends
// it.
func (c *Client) ViewServers(ctx context.Context, opts ...ViewOption) iter.Seq2[ServerView, error] {
	cfg := newViewConfig(opts)
	return func(yield func(ServerView, error) bool) {
		var members []Member
		for m, err := range c.Servers(ctx) {
			if err != nil {
				yield(ServerView{}, err)
				return
			}
			members = append(members, m)
		}
		ctx, cancel := context.WithCancel(ctx)
		var asking sync.WaitGroup
		defer asking.Wait()
		defer cancel()
		order := make(chan *answer, max(1, cfg.width)-1)
		asking.Go(func() {
			defer close(order)
			for _, m := range members {
				a := &answer{view: ServerView{Member: m}, come: make(chan struct{})}
				select {
				case order <- a:
					asking.Go(func() { a.ask(ctx, c.Server(m.ID), cfg.patience) })
				case <-ctx.Done():
					return
				}
			}
		})
		for a := range order {
			<-a.come
			if ctx.Err() != nil {
				break
			}
			if !yield(a.view, a.err) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(ServerView{}, circuit.At("servers", "", contextError(ctx, nil)))
		}
	}
}

// answer is what one server answers.
type answer struct {
	view ServerView
	err  error
	come chan struct{} // closed once both are there
}

// trips is how many calls are timed.
const trips = 3

// ask asks a server, first without looking at the time: connections may have to
// be opened.
func (a *answer) ask(ctx context.Context, s *Server, patience time.Duration) {
	defer close(a.come)
	silent := circuit.Errorf(circuit.Timeout, fmt.Sprintf("no answer within %v", patience))
	asked, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() { cancel(silent) }) // and no deadline, which servers notice, too
	defer timer.Stop()
	stat, err := s.stat(asked, "servers")
	took := patience
	for i := 0; i < trips && err == nil; i++ {
		began := time.Now()
		stat, err = s.stat(asked, "servers")
		took = min(took, time.Since(began))
	}
	switch {
	case err == nil:
		a.view.Stat, a.view.RoundTrip = stat, took
		return
	case context.Cause(asked) == silent:
		err = silent
	}
	a.err = circuit.At("servers", s.Path().String(), err)
}
