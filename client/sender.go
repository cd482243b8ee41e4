package client

import (
	"context"
	"io"
)

// Sender sends many messages over one open stream, without waiting for each.
// It is not for use by several goroutines at once.
type Sender struct{}

// SenderOption is a setting of a Sender.
type SenderOption func(*senderConfig)

type senderConfig struct {
	ahead     int
	onOutcome func(uint64, error)
}

// Ahead says how many messages may be on their way without being confirmed
// before Send blocks; the default is 1024.
func Ahead(n int) SenderOption { return func(c *senderConfig) { c.ahead = n } }

// OnOutcome calls f once for each message when its outcome is known, in the
// order of sending, counted from 1: with nil if it is buffered whole or its
// receiver has confirmed it. f is called by another goroutine than the
// Sender's, must not block, and is not called any more after Close returned.
func OnOutcome(f func(message uint64, err error)) SenderOption {
	return func(c *senderConfig) { c.onOutcome = f }
}

// Sender returns a sender to the channel. It asks nobody before the first Send.
// It must be closed, or ctx ended. Messages that are not confirmed when ctx
// ends may or may not arrive.
func (c *Chan) Sender(ctx context.Context, opts ...SenderOption) *Sender { return &Sender{} }

// Send sends b, which it does not keep, as one message. It returns before the
// message is confirmed, and blocks while too many are not. It fails once any
// earlier message failed, with that one's error: then the Sender takes no more.
func (s *Sender) Send(b []byte) error { return nil }

// SendFrom sends all that r gives as one message, of any length, and returns
// its length. Where r fails, the message reaches nobody as whole, and the
// Sender takes no more.
func (s *Sender) SendFrom(r io.Reader) (int64, error) { return 0, nil }

// Flush waits until all messages sent are confirmed.
func (s *Sender) Flush() error { return nil }

// Confirmed returns how many messages are confirmed. It may be used from other
// goroutines.
func (s *Sender) Confirmed() uint64 { return 0 }

// Close waits until all messages sent are confirmed and ends the stream. It
// returns the error of the first that failed. The channel stays open.
func (s *Sender) Close() error { return nil }
