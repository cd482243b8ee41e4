package client

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// maxAside is how many bytes of later messages are put aside at most while a
// confirmation is waited for. The window of the stream lets no more come.
const maxAside = 16 << 20

// Receiver receives many messages over one open stream. It is not for use by
// several goroutines at once.
type Receiver struct {
	intake

	aside      []rpc.Frame // came while a confirmation was waited for
	asideBytes int

	drained bool // the server said that no more messages come

	data        data     // of the last frame
	sizes       []uint32 // lengths of the whole messages in data, but the current one's
	redelivered bool     // they are
	current     *Message
}

// ReceiverOption is a setting of a Receiver.
type ReceiverOption func(*receiverConfig)

type receiverConfig struct{ credit int }

// Credit says how many messages the circuit may hand to the receiver before it
// asks for them: with the default of 1, only the one that Next waits for. More
// is faster, at the price that messages wait here which another receiver could
// have taken.
func Credit(n int) ReceiverOption { return func(c *receiverConfig) { c.credit = n } }

// Receiver returns a receiver from the channel. It asks nobody before the first
// Next. It must be closed, or ctx ended.
//
// The circuit hands out no more while about a megabyte of messages waits for
// this receiver's acknowledgement.
func (c *Chan) Receiver(ctx context.Context, opts ...ReceiverOption) *Receiver {
	cfg := receiverConfig{credit: 1}
	for _, o := range opts {
		o(&cfg)
	}
	return &Receiver{intake: newIntake(ctx, c.subject("recv"), cfg.credit, func(ctx context.Context, c grpc.ClientConnInterface) (grpc.ClientStream, error) {
		return circuitv1.NewChansClient(c).Recv(ctx)
	})}
}

// Next waits for the next message. What was not read of the one before is
// skipped. ErrClosed says that the channel is closed and drained, or scrubbed.
func (r *Receiver) Next() (*Message, error) {
	if m := r.current; m != nil {
		m.skip()
		r.current = nil
	}
	for len(r.sizes) == 0 && r.current == nil {
		f, err := r.frame(true)
		if err != nil {
			return nil, err
		}
		switch {
		case f.Message == 0:
			f.Free()
		case f.Message != r.came+1:
			f.Free()
			return nil, r.fail(circuit.Errorf(circuit.Internal, "the server sent messages out of order"))
		case len(f.Sizes) > 0:
			r.data.set(f.Data)
			r.sizes, r.redelivered = f.Sizes, f.Redelivered
		default:
			r.came++
			r.current = &Message{r: r, number: r.came, redelivered: f.Redelivered}
			r.current.take(&f)
		}
	}
	if r.current == nil {
		r.came++
		r.current = &Message{r: r, number: r.came, redelivered: r.redelivered, left: int(r.sizes[0]), ended: true}
		r.sizes = r.sizes[1:]
		if credit := r.due(); credit > 0 && r.credit > 1 {
			r.request(credit)
		}
	}
	return r.current, nil
}

// All iterates over the messages until the channel is closed and drained, which
// ends the iteration, or until an error, which is yielded: ErrClosed says that
// the channel was scrubbed. Messages still have to be acknowledged.
func (r *Receiver) All() iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for {
			m, err := r.Next()
			if errors.Is(err, circuit.Closed) && r.drained {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Flush waits until what was acknowledged is confirmed.
func (r *Receiver) Flush() error { return r.confirm(r.ack) }

// Close waits until what was acknowledged is confirmed, and ends the stream. It
// is no way to unblock a Next in another goroutine: for that, cancel its context.
// Messages that were not acknowledged go to other receivers. ErrLost says that
// it is not known which acknowledgements arrived; if that is because the context
// ended, the error is ErrTimeout or ErrCanceled as well.
func (r *Receiver) Close() error {
	defer r.abandon()
	return r.finish(func() error {
		var f rpc.Frame
		err := r.stream.RecvMsg(&f)
		if err == nil {
			r.note(&f)
			f.Free()
		}
		return err
	})
}

// abandon ends the call, and gives up what was not acknowledged.
func (r *Receiver) abandon() {
	r.stop()
	for i := range r.aside {
		r.aside[i].Free()
	}
	r.aside, r.sizes = nil, nil
	r.data.free()
}

// frame returns the next frame. Where another message is wanted, it sees to
// it that one may come.
func (r *Receiver) frame(want bool) (f rpc.Frame, err error) {
	if err := r.begin(); err != nil {
		return f, err
	}
	if len(r.aside) > 0 {
		f, r.aside = r.aside[0], r.aside[1:]
		r.asideBytes -= f.Data.Len()
		return f, nil
	}
	credit := uint64(0)
	if want {
		credit = r.due()
	}
	r.request(credit)
	if err := r.receive(&f); err != nil {
		return f, r.fail(rpc.Read(err))
	}
	return f, nil
}

// receive reads a frame from the stream.
func (r *Receiver) receive(f *rpc.Frame) error {
	if err := r.read(f); err != nil {
		return err
	}
	r.note(f)
	return nil
}

// note takes what a frame says about more than its message.
func (r *Receiver) note(f *rpc.Frame) {
	r.confirmed = max(r.confirmed, f.Confirmed)
	r.drained = r.drained || f.Message == 0 && f.End
}

// confirm acknowledges all messages up to n and waits until that is confirmed.
func (r *Receiver) confirm(n uint64) error {
	return r.settle(n, func() error {
		var f rpc.Frame
		if err := r.receive(&f); err != nil {
			return err
		}
		if f.Message == 0 {
			f.Free()
			return nil
		}
		f.Sizes = append([]uint32(nil), f.Sizes...)
		r.aside = append(r.aside, f)
		if r.asideBytes += f.Data.Len(); r.asideBytes > maxAside {
			return errAside
		}
		return nil
	})
}

// errAside ends the wait for a confirmation that does not come.
var errAside = circuit.Errorf(circuit.Internal, "the server sends more than it was asked for, and no confirmation")
