package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// MakeOnJoin makes a subscription at the anchor that first tells of each server
// that is in the circuit, and then of each that joins, as the server that hosts
// the anchor sees it. It begins at once, whether or not anybody receives.
// ErrExists says that the anchor is taken, ErrExhausted that the server has its
// limit of subscriptions.
func (a *Anchor) MakeOnJoin(ctx context.Context) (*Subscription, error) {
	return a.subscribe(ctx, circuit.OnJoin)
}

// MakeOnLeave makes a subscription at the anchor that tells of each server that
// leaves the circuit, or fails, from now on. Otherwise it is as MakeOnJoin.
func (a *Anchor) MakeOnLeave(ctx context.Context) (*Subscription, error) {
	return a.subscribe(ctx, circuit.OnLeave)
}

func (a *Anchor) subscribe(ctx context.Context, kind Kind) (*Subscription, error) {
	req := &circuitv1.MakeSubscriptionRequest{Kind: string(kind), Nonce: newNonce()}
	generation, err := a.subject("mk"+string(kind)).make(ctx, func(ctx context.Context, c grpc.ClientConnInterface) (*circuitv1.MakeReply, error) {
		return circuitv1.NewSubscriptionsClient(c).Make(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	return &Subscription{handle{a, generation}, kind}, nil
}

// Subscription is an element that tells who joins the circuit, or who leaves it:
// every change once, in order. Several receivers share the events; each goes to
// one of them. It may be used by many goroutines at once.
//
// Events wait until they are received, up to a limit of the hosting server. Where
// more came, the oldest were given up, and an event with the Change Overflowed
// tells how many, in their place.
type Subscription struct {
	handle
	kind Kind
}

// Kind returns KindOnJoin or KindOnLeave, or KindNone for a handle that
// [Anchor.Subscription] returned: only the circuit knows.
func (s *Subscription) Kind() Kind { return s.kind }

// Stat returns the state of the subscription.
func (s *Subscription) Stat(ctx context.Context) (stat SubscriptionStat, err error) {
	err = s.subject("peek").do(ctx, reads, func(ctx context.Context, c grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewSubscriptionsClient(c).Stat(ctx, &circuitv1.StatSubscriptionRequest{})
		if err == nil {
			stat = rpc.SubscriptionStatFromProto(reply)
		}
		return err
	})
	return stat, err
}

// Recv waits for the next event, and returns it once the circuit has confirmed
// that nobody else gets it. ErrClosed says that the subscription was scrubbed,
// ErrLost that it is not known whether the event is gone; if that is because ctx
// ended, the error is ErrTimeout or ErrCanceled as well.
//
// A program that is killed between Recv's return and its use of the event has
// lost it. All and EventReceiver acknowledge events once they are used.
func (s *Subscription) Recv(ctx context.Context) (Event, error) {
	r := s.Receiver(ctx)
	defer r.stop()
	e, err := r.Next()
	if err != nil {
		return Event{}, err
	}
	r.Ack()
	if err := r.Flush(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// All iterates over the events, as they come, until ctx ends or another error,
// which is yielded: ErrClosed says that the subscription was scrubbed.
//
// An event is acknowledged when the body of the loop is through with it, whether
// it goes on or leaves the loop. One that was not, because the program was killed
// or the connection broke, is told again to whoever receives next, with
// Redelivered set.
func (s *Subscription) All(ctx context.Context, opts ...ReceiverOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r := s.Receiver(ctx, opts...)
		defer r.Close() // what is not confirmed is told again, as is said above
		for {
			e, err := r.Next()
			if err != nil {
				yield(Event{}, err)
				return
			}
			more := yield(e, nil)
			r.Ack()
			if !more {
				return
			}
		}
	}
}

// EventReceiver receives events over one open stream. It is not for use by
// several goroutines at once.
type EventReceiver struct {
	intake
	events []Event // came, and not given out yet
	number uint64  // of the last that came
}

// Receiver returns a receiver from the subscription. It asks nobody before the
// first Next. It must be closed, or ctx ended.
func (s *Subscription) Receiver(ctx context.Context, opts ...ReceiverOption) *EventReceiver {
	cfg := receiverConfig{credit: 1}
	for _, o := range opts {
		o(&cfg)
	}
	return &EventReceiver{intake: newIntake(ctx, s.subject("recv"), cfg.credit, func(ctx context.Context, c grpc.ClientConnInterface) (grpc.ClientStream, error) {
		return circuitv1.NewSubscriptionsClient(c).Recv(ctx)
	})}
}

// Next waits for the next event. ErrClosed says that the subscription was
// scrubbed.
func (r *EventReceiver) Next() (Event, error) {
	if err := r.begin(); err != nil {
		return Event{}, err
	}
	r.request(r.due())
	for len(r.events) == 0 {
		if err := r.receive(); err != nil {
			return Event{}, r.fail(rpc.Read(err))
		}
	}
	e := r.events[0]
	r.events = r.events[1:]
	r.came++
	return e, nil
}

// Ack acknowledges all events that Next gave, without waiting: the
// acknowledgement travels with the next request, at the latest with Flush or
// Close, which wait for it to be confirmed.
func (r *EventReceiver) Ack() { r.ack = r.came }

// Flush waits until what was acknowledged is confirmed: nobody else gets it.
func (r *EventReceiver) Flush() error { return r.settle(r.ack, r.receive) }

// Close waits until what was acknowledged is confirmed, and ends the stream. It
// is no way to unblock a Next in another goroutine: for that, cancel its
// context. Events that were not acknowledged go to other receivers. ErrLost says
// that it is not known which acknowledgements arrived; if that is because the
// context ended, the error is ErrTimeout or ErrCanceled as well.
func (r *EventReceiver) Close() error {
	defer r.stop()
	return r.finish(func() error {
		var reply circuitv1.RecvEventsReply
		err := r.stream.RecvMsg(&reply)
		r.confirmed = max(r.confirmed, reply.GetConfirmed())
		return err
	})
}

// receive takes what comes next.
func (r *EventReceiver) receive() error {
	var reply circuitv1.RecvEventsReply
	if err := r.read(&reply); err != nil {
		return err
	}
	r.confirmed = max(r.confirmed, reply.GetConfirmed())
	n := uint64(len(reply.GetEvents()))
	if n > 0 && reply.GetNumber() != r.number+1 || r.number+n > r.granted {
		return circuit.Errorf(circuit.Internal, "the server sent events out of order, or too many")
	}
	r.number += n
	for _, e := range reply.GetEvents() {
		r.events = append(r.events, rpc.EventFromProto(e))
	}
	return nil
}
