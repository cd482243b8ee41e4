package client

import (
	"context"
	"errors"
	"io"
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
	s      subject
	ctx    context.Context
	credit uint64

	stream recvStream // nil if there is none
	link   link
	cancel context.CancelFunc
	err    error // why nothing more can be received

	granted   uint64 // messages that may have come so far
	came      uint64 // messages of which anything came
	ack       uint64 // to be acknowledged up to here
	acked     uint64 // the server was told so
	confirmed uint64 // and said that it knows

	aside      []rpc.Frame // came while a confirmation was waited for
	asideBytes int

	drained bool // the server said that no more messages come

	data        data     // of the last frame
	sizes       []uint32 // lengths of the whole messages in data, but the current one's
	redelivered bool     // they are
	current     *Message
}

type recvStream = grpc.BidiStreamingClient[circuitv1.RecvRequest, circuitv1.Frame]

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
	return &Receiver{s: c.subject("recv"), ctx: ctx, credit: uint64(min(max(1, cfg.credit), 1<<20))}
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
	if r.stream == nil {
		return nil
	}
	r.request(0)
	err := r.stream.CloseSend()
	for err == nil {
		var f rpc.Frame
		if err = r.stream.RecvMsg(&f); err == nil {
			r.note(&f)
			f.Free()
		}
	}
	if r.confirmed >= r.ack {
		return nil
	}
	if err != io.EOF {
		_, err = r.s.failure(r.ctx, r.link, err)
	}
	return r.unconfirmed(err)
}

// abandon ends the call, and gives up what was not acknowledged.
func (r *Receiver) abandon() {
	if r.err == nil {
		r.err = circuit.At(r.s.op, r.s.path.String(), circuit.Errorf(circuit.Closed, "this receiver is closed"))
	}
	if r.stream != nil {
		r.cancel()
		r.stream = nil
	}
	for i := range r.aside {
		r.aside[i].Free()
	}
	r.aside, r.sizes = nil, nil
	r.data.free()
}

func (r *Receiver) fail(err error) error {
	r.err = circuit.At(r.s.op, r.s.path.String(), err)
	return r.err
}

// begin opens the stream.
func (r *Receiver) begin() (err error) {
	if r.err != nil || r.stream != nil {
		return r.err
	}
	r.stream, r.link, r.cancel, err = open(r.ctx, r.s, firstPatience, func(ctx context.Context, c grpc.ClientConnInterface) (recvStream, error) {
		return circuitv1.NewChansClient(c).Recv(ctx)
	})
	if err != nil {
		r.stream = nil
		return r.fail(err)
	}
	return nil
}

// due returns how much credit to grant, which is done in few requests.
func (r *Receiver) due() uint64 {
	if open := r.granted - r.came; open <= r.credit/2 {
		return r.credit - open
	}
	return 0
}

// request tells the server what was acknowledged and grants more credit.
func (r *Receiver) request(credit uint64) {
	if credit == 0 && r.ack == r.acked || r.stream == nil {
		return
	}
	r.granted += credit
	r.acked = r.ack
	// If this fails, so does the RecvMsg that follows, and says why.
	_ = r.stream.Send(&circuitv1.RecvRequest{Credit: uint32(credit), Ack: r.ack})
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
	err := r.stream.RecvMsg(f)
	switch {
	case err == io.EOF:
		return r.s.lost("the server broke the stream off")
	case err != nil:
		_, err = r.s.failure(r.ctx, r.link, err)
		return circuit.At(r.s.op, r.s.path.String(), err)
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
	r.ack = max(r.ack, n)
	for r.confirmed < n {
		if r.stream == nil {
			return r.unconfirmed(r.err)
		}
		r.request(0)
		var f rpc.Frame
		if err := r.receive(&f); err != nil {
			r.fail(rpc.Read(err))
			return r.unconfirmed(err)
		}
		if f.Message == 0 {
			f.Free()
			continue
		}
		f.Sizes = append([]uint32(nil), f.Sizes...)
		r.aside = append(r.aside, f)
		if r.asideBytes += f.Data.Len(); r.asideBytes > maxAside {
			return r.unconfirmed(nil)
		}
	}
	return nil
}

// unconfirmed says that acknowledgements may not have arrived, and why.
func (r *Receiver) unconfirmed(err error) error {
	const again = "another receiver may get again what was received"
	switch circuit.KindOf(err) {
	case circuit.Timeout, circuit.Canceled:
		return circuit.At(r.s.op, r.s.path.String(), r.s.uncertain(err, again))
	}
	return r.s.lost("the stream ended before the server confirmed all; " + again)
}
