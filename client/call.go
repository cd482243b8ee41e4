package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// maxAttempts is how often a call that may be repeated is made at most, unless
// it waits for something.
const maxAttempts = 4

// subject is what a call is about.
type subject struct {
	c          *connector
	op         string // the verb, as the command line spells it
	path       Path
	generation uint64
}

// effect says what a call may do, and so what becomes of it when the
// connection breaks before its answer came.
type effect uint8

const (
	// acts: the call does something, once. An unknown outcome is Lost.
	acts effect = iota
	// makes: the call does something and may be repeated, for its nonce lets
	// the server know it again. An unknown outcome is Lost.
	makes
	// reads: the call changes nothing and may be repeated.
	reads
	// waits: as reads, and repeated as often as need be.
	waits
)

// do makes a call with f on the connection, again if need and effect be.
func (s subject) do(ctx context.Context, e effect, f func(context.Context, grpc.ClientConnInterface) error) error {
	unknown := false // an earlier attempt may have had its effect
	patience := firstPatience
	for attempt := 1; ; attempt++ {
		l, err := s.c.get(ctx, patience)
		if err != nil {
			return s.outcome(e, err, unknown, false)
		}
		sent := ctx.Err() == nil
		err = f(s.outgoing(ctx), l)
		if err == nil {
			return nil
		}
		fate, err := s.failure(ctx, l, err)
		again := fate == unsent || fate == broken && e != acts || fate == lostBeyond && e != acts && attempt == 1
		if !again || attempt >= maxAttempts && e != waits {
			return s.outcome(e, err, unknown, sent)
		}
		if fate == broken {
			avoid(ctx, l)
		}
		unknown = unknown || fate != unsent
		patience = laterPatience
	}
}

// outcome puts the last failure in the terms of the effect: before tells whether
// an earlier attempt may have had it, sent whether the last one was begun.
func (s subject) outcome(e effect, err error, before, sent bool) error {
	err = circuit.At(s.op, s.path.String(), err)
	const doubt = "what was asked may or may not have been done; "
	switch {
	case e == reads || e == waits:
		return rpc.Read(err)
	case before && errors.Is(err, circuit.Unreachable):
		return s.lost("the connection broke before the answer came and could not be had again; " + doubt + s.look())
	case circuit.KindOf(err) == circuit.Lost:
		lost := *err.(*circuit.Error) // as At makes it
		lost.Err = fmt.Errorf("%w; %s", lost.Err, s.look())
		return &lost
	case before || sent:
		return s.uncertain(err, doubt+s.look())
	}
	return err
}

// look says how to find out what became of a call.
func (s subject) look() string {
	if s.path.IsRoot() || s.path.IsServer() {
		return "circuit ls / shows which servers there are now"
	}
	return "circuit peek " + s.path.String() + " shows what is there now"
}

// outgoing returns the context of a call about s.
func (s subject) outgoing(ctx context.Context) context.Context {
	if !s.path.IsRoot() {
		ctx = rpc.WithPath(ctx, s.path)
	}
	return rpc.WithGeneration(ctx, s.generation)
}

// fate says how far a failed call came.
type fate uint8

const (
	answered   fate = iota // it has its answer, or its context ended
	unsent                 // the connection was gone before
	broken                 // the connection broke under it
	lostBeyond             // the dial-in server lost it on the way to another
)

// failure returns what a call on l failed with, and how far it came.
func (s subject) failure(ctx context.Context, l link, err error) (fate, error) {
	if s.c.ctx.Err() != nil {
		return answered, errClientClosed()
	}
	st, ok := status.FromError(err)
	bare := ok && len(st.Proto().GetDetails()) == 0
	err = rpc.FromStatus(s.op, s.path.String(), err)
	switch {
	case ctx.Err() != nil && (bare || !ok):
		return answered, contextError(ctx, nil)
	case errors.Is(err, circuit.Unreachable) && isDone(l):
		return unsent, err
	case !errors.Is(err, circuit.Lost):
		return answered, err
	case bare:
		return broken, err
	}
	return lostBeyond, err
}

// uncertain returns err, with which a call ended, as one that says as well what
// is not known now: it is Lost, too, where err is not the server's word on the
// outcome but the caller's, who gave up.
func (s subject) uncertain(err error, text string) error {
	var e *circuit.Error
	if !errors.As(err, &e) || e.Kind != circuit.Timeout && e.Kind != circuit.Canceled && s.c.ctx.Err() == nil {
		return err
	}
	c := *e
	if c.Err == nil {
		c.Err = e.Kind
	}
	c.Err = fmt.Errorf("%w; %w", c.Err, circuit.Errorf(circuit.Lost, text))
	return &c
}

// avoidTime is how long the connection on which a call broke may take to say
// that it is gone.
const avoidTime = 200 * time.Millisecond

// avoid waits until a connection on which a call broke says that it is gone, so
// that the next call does not get it again. It may not be: calls with much data
// have a connection of their own behind it, which is replaced by itself.
func avoid(ctx context.Context, l link) {
	timer := time.NewTimer(avoidTime)
	defer timer.Stop()
	select {
	case <-l.Done():
	case <-timer.C:
	case <-ctx.Done():
	}
}

func isDone(l link) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// open opens a stream with f on the connection, for which it waits as long as
// patience lasts. It returns once f does: nothing may have reached the server
// yet. The stream ends with ctx, and with cancel, which must be called.
func open[T any](ctx context.Context, s subject, patience time.Duration, f func(context.Context, grpc.ClientConnInterface) (T, error)) (stream T, l link, cancel context.CancelFunc, err error) {
	began := time.Now()
	for attempt := 1; ; attempt++ {
		left := patience - time.Since(began)
		if l, err = s.c.get(ctx, left); err != nil {
			return stream, nil, nil, circuit.At(s.op, s.path.String(), err)
		}
		life, end := context.WithCancel(ctx)
		late := time.AfterFunc(left, end) // a second connection may have to be made
		stream, err = f(s.outgoing(life), l)
		if late.Stop() && err == nil {
			return stream, l, end, nil
		}
		if life.Err() != nil && ctx.Err() == nil {
			err = s.c.gaveUp(nil, patience)
		}
		end()
		fate, failed := s.failure(ctx, l, err)
		if fate == answered || attempt >= maxAttempts {
			return stream, nil, nil, circuit.At(s.op, s.path.String(), rpc.Read(failed))
		}
		avoid(ctx, l)
	}
}
