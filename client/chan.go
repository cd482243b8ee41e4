package client

import (
	"context"
	"io"
)

// Chan is a channel element: Go's channel, with streams of bytes as messages.
// It may be used by many goroutines at once.
type Chan struct{ handle }

// Kind returns KindChan.
func (c *Chan) Kind() Kind { return KindChan }

// Stat returns the state of the channel.
func (c *Chan) Stat(ctx context.Context) (ChanStat, error) { return ChanStat{}, nil }

// Close lets no further messages in. What is buffered can still be received.
// ErrClosed says that it was closed already.
func (c *Chan) Close(ctx context.Context) error { return nil }

// Send sends b as one message. It returns once the message is buffered whole,
// or a receiver has confirmed that it used it. ErrClosed says that the channel
// is closed, ErrLost that it is not known whether the message arrived.
//
// To send many, a Sender is faster.
func (c *Chan) Send(ctx context.Context, b []byte) error { return nil }

// SendFrom sends all that r gives as one message, of any length, and returns
// its length. It streams through to a receiver; without one it reads no more
// than the buffer takes. Where r fails, the message reaches nobody as whole.
// Otherwise it is as Send.
func (c *Chan) SendFrom(ctx context.Context, r io.Reader) (int64, error) { return 0, nil }

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
func (c *Chan) Recv(ctx context.Context) (*Message, error) { return nil, nil }
