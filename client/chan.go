package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Chan is a channel element: Go's channel, with streams of bytes as messages.
// It may be used by many goroutines at once.
type Chan struct{ handle }

// Kind returns KindChan.
func (c *Chan) Kind() Kind { return KindChan }

// Stat returns the state of the channel.
func (c *Chan) Stat(ctx context.Context) (stat ChanStat, err error) {
	err = c.subject("peek").do(ctx, reads, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		reply, err := circuitv1.NewChansClient(cc).Stat(ctx, &circuitv1.StatChanRequest{})
		if err == nil {
			stat = rpc.ChanStatFromProto(reply)
		}
		return err
	})
	return stat, err
}

// Close lets no further messages in. What is buffered can still be received.
// ErrClosed says that it was closed already.
func (c *Chan) Close(ctx context.Context) error {
	return c.subject("close").do(ctx, acts, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		_, err := circuitv1.NewChansClient(cc).Close(ctx, &circuitv1.CloseChanRequest{})
		return err
	})
}

// Send sends b as one message. It returns once the message is buffered whole,
// or a receiver has confirmed that it used it. ErrClosed says that the channel
// is closed, ErrLost that it is not known whether the message arrived. Where ctx
// ends while that is open, errors.Is finds both ErrLost and ErrTimeout or
// ErrCanceled, which is the kind.
//
// To send many, a Sender is faster.
func (c *Chan) Send(ctx context.Context, b []byte) error {
	_, err := c.SendFrom(ctx, bytes.NewReader(b))
	return err
}

// SendFrom sends all that r gives as one message, of any length, and returns
// its length. It streams through to a receiver; without one it waits once the
// buffer and what lies between are full, at about a megabyte. Where r fails,
// SendFrom returns its error, and the message reaches nobody as whole.
// Otherwise it is as Send.
func (c *Chan) SendFrom(ctx context.Context, r io.Reader) (int64, error) {
	s := c.subject("send")
	stream, l, cancel, err := open(ctx, s, firstPatience, openSend)
	if err != nil {
		return 0, err
	}
	defer cancel()
	whole := false // the message may have been sent whole
	n, err := sendMessage(s.c.pool, stream, 1, r, func() { whole = true })
	if err != nil && err != errStreamOver {
		return n, err // and cancel cuts the message off
	}
	if err == nil {
		_ = stream.CloseSend() // if this fails, so does Recv
	}
	var told error
	for settled := false; ; {
		reply, err := stream.Recv()
		switch {
		case err == io.EOF && settled:
			return n, told
		case err == io.EOF:
			return n, s.lost("the server ended the call without saying what became of the message")
		case err != nil && settled:
			return n, told
		case err != nil:
			_, err = s.failure(ctx, l, err)
			if whole {
				err = s.uncertain(err, sentInDoubt)
			}
			return n, circuit.At(s.op, s.path.String(), err)
		}
		for _, o := range reply.GetOutcomes() {
			settled = true
			if o.GetError() != nil {
				told = circuit.At(s.op, s.path.String(), rpc.ErrorFromProto(o.GetError()))
			}
		}
	}
}

type sendStream = grpc.BidiStreamingClient[circuitv1.Frame, circuitv1.SendReply]

func openSend(ctx context.Context, c grpc.ClientConnInterface) (sendStream, error) {
	return circuitv1.NewChansClient(c).Send(ctx)
}

// errStreamOver says that the server ended the call; receiving says why.
var errStreamOver = errors.New("the stream is over")

// sentInDoubt is what is to be said of a message whose sender gave up waiting
// for its outcome.
const sentInDoubt = "the channel had not said that it took the message, which may or may not arrive"

// sendMessage sends what r gives as the message number, in as many frames as
// it takes, and calls last before the last one. It returns r's error, or
// errStreamOver.
func sendMessage(pool mem.BufferPool, stream sendStream, number uint64, r io.Reader, last func()) (int64, error) {
	var sent int64
	for {
		b, err := gather(pool, r)
		if err == nil && drained(r) {
			err = io.EOF
		}
		if err != nil && err != io.EOF {
			b.Free()
			return sent, err
		}
		f := rpc.Frame{Message: number, Offset: uint64(sent), Data: mem.BufferSlice{b}, End: err == io.EOF}
		if f.End {
			last()
		}
		n := b.Len()
		failed := stream.SendMsg(&f)
		f.Free()
		if failed != nil {
			return sent, errStreamOver
		}
		sent += int64(n)
		if err == io.EOF {
			return sent, nil
		}
	}
}

// drained reports whether r is known to give nothing more, which saves a frame.
func drained(r io.Reader) bool {
	switch r := r.(type) {
	case *bytes.Reader:
		return r.Len() == 0
	case *bytes.Buffer:
		return r.Len() == 0
	case *strings.Reader:
		return r.Len() == 0
	}
	return false
}

// lost says that an outcome is unknown.
func (s subject) lost(text string) error {
	return &circuit.Error{Op: s.op, Path: s.path.String(), Kind: circuit.Lost, Err: errors.New(text)}
}

// Recv waits for a message. ErrClosed says that the channel is closed and
// drained, or scrubbed.
//
// The message must be closed. Nobody else gets it once [Message.Done] has
// returned nil; until then it is the circuit's, and where the receiver closes
// it, goes away or lets ctx end, another receiver gets it.
//
//	m, err := ch.Recv(ctx)
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	if _, err := io.Copy(os.Stdout, m); err != nil {
//		return err
//	}
//	return m.Done()
//
// To receive many, a Receiver is faster.
func (c *Chan) Recv(ctx context.Context) (*Message, error) {
	r := c.Receiver(ctx)
	m, err := r.Next()
	if err != nil {
		r.abandon()
		return nil, err
	}
	m.only = true
	return m, nil
}
