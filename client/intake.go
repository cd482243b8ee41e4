package client

import (
	"context"
	"io"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// intake is the client's side of a stream whose items are asked for with credit
// and acknowledged once used: the messages of a channel, the events of a
// subscription. Items are numbered from 1.
type intake struct {
	s      subject
	ctx    context.Context
	credit uint64
	open   func(context.Context, grpc.ClientConnInterface) (grpc.ClientStream, error)

	stream grpc.ClientStream // nil if there is none
	link   link
	cancel context.CancelFunc
	err    error // why nothing more can be received

	granted   uint64 // items that may have come so far
	came      uint64 // items that the caller was given, in part at least
	ack       uint64 // to be acknowledged up to here
	acked     uint64 // the server was told so
	confirmed uint64 // and said that it knows
}

func newIntake(ctx context.Context, s subject, credit int, open func(context.Context, grpc.ClientConnInterface) (grpc.ClientStream, error)) intake {
	return intake{s: s, ctx: ctx, credit: uint64(min(max(1, credit), 1<<20)), open: open}
}

// begin opens the stream.
func (in *intake) begin() (err error) {
	if in.err != nil || in.stream != nil {
		return in.err
	}
	in.stream, in.link, in.cancel, err = open(in.ctx, in.s, firstPatience, in.open)
	if err != nil {
		in.stream = nil
		return in.fail(err)
	}
	return nil
}

// stop ends the stream, if there is one, and the intake.
func (in *intake) stop() {
	if in.err == nil {
		in.err = circuit.At(in.s.op, in.s.path.String(), circuit.Errorf(circuit.Closed, "this receiver is closed"))
	}
	if in.stream != nil {
		in.cancel()
		in.stream = nil
	}
}

func (in *intake) fail(err error) error {
	in.err = circuit.At(in.s.op, in.s.path.String(), err)
	return in.err
}

// due returns how much credit to grant, which is done in few requests.
func (in *intake) due() uint64 {
	if open := in.granted - in.came; open <= in.credit/2 {
		return in.credit - open
	}
	return 0
}

// request tells the server what was acknowledged and grants more credit.
func (in *intake) request(credit uint64) {
	if credit == 0 && in.ack == in.acked || in.stream == nil {
		return
	}
	in.granted += credit
	in.acked = in.ack
	// If this fails, so does the RecvMsg that follows, and says why.
	_ = in.stream.SendMsg(&circuitv1.RecvRequest{Credit: uint32(credit), Ack: in.ack})
}

// read reads a message from the stream.
func (in *intake) read(m any) error {
	err := in.stream.RecvMsg(m)
	switch {
	case err == io.EOF:
		return in.s.lost("the server broke the stream off")
	case err != nil:
		_, err = in.s.failure(in.ctx, in.link, err)
		return circuit.At(in.s.op, in.s.path.String(), err)
	}
	return nil
}

// settle acknowledges all items up to n and waits until that is confirmed; next
// takes what the server sends meanwhile.
func (in *intake) settle(n uint64, next func() error) error {
	in.ack = max(in.ack, n)
	for in.confirmed < n {
		if in.stream == nil {
			return in.unconfirmed(in.err)
		}
		in.request(0)
		if err := next(); err != nil {
			in.fail(rpc.Read(err))
			return in.unconfirmed(err)
		}
	}
	return nil
}

// finish tells the server that nothing more is wanted, and takes what it still
// sends with next, until all that was acknowledged is confirmed.
func (in *intake) finish(next func() error) error {
	if in.stream == nil {
		return nil
	}
	in.request(0)
	err := in.stream.CloseSend()
	for err == nil {
		err = next()
	}
	if in.confirmed >= in.ack {
		return nil
	}
	if err != io.EOF {
		_, err = in.s.failure(in.ctx, in.link, err)
	}
	return in.unconfirmed(err)
}

// unconfirmed says that acknowledgements may not have arrived, and why.
func (in *intake) unconfirmed(err error) error {
	const again = "another receiver may get again what was received"
	switch circuit.KindOf(err) {
	case circuit.Timeout, circuit.Canceled:
		return circuit.At(in.s.op, in.s.path.String(), in.s.uncertain(err, again))
	}
	return in.s.lost("the stream ended before the server confirmed all; " + again)
}
