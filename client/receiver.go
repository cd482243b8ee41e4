package client

import (
	"context"
	"io"
	"iter"
)

// Receiver receives many messages over one open stream. It is not for use by
// several goroutines at once.
type Receiver struct{}

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
func (c *Chan) Receiver(ctx context.Context, opts ...ReceiverOption) *Receiver { return &Receiver{} }

// Next waits for the next message. What was not read of the one before is
// skipped. ErrClosed says that the channel is closed and drained, or scrubbed.
func (r *Receiver) Next() (*Message, error) { return nil, nil }

// All iterates over the messages until the channel is closed and drained, which
// ends the iteration, or until an error, which is yielded. Messages still have
// to be acknowledged.
func (r *Receiver) All() iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {}
}

// Flush waits until what was acknowledged is confirmed.
func (r *Receiver) Flush() error { return nil }

// Close waits until what was acknowledged is confirmed, and ends the stream.
// Messages that were not acknowledged go to other receivers. ErrLost says that
// it is not known which acknowledgements arrived.
func (r *Receiver) Close() error { return nil }

// Message is a message being received. It is not for use by several goroutines
// at once, and it is of no use after the next call of its Receiver's Next.
type Message struct{}

// Redelivered reports that the message was handed to another receiver before,
// who went away without confirming it, and may have used it.
func (m *Message) Redelivered() bool { return false }

// Read returns the next bytes of the message, and io.EOF at its end. A message
// that is cut off, because its sender went away, gives an error of kind
// ErrLost, never io.EOF.
func (m *Message) Read(b []byte) (int, error) { return 0, io.EOF }

// WriteTo writes the rest of the message to w, with fewer copies than Read
// makes.
func (m *Message) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// Bytes reads the rest of the message, whatever its length.
func (m *Message) Bytes() ([]byte, error) { return nil, nil }

// Done acknowledges the message, which must have been read to its end, and
// returns once the circuit has confirmed it: then no other receiver gets it.
// ErrLost says that the connection broke before: another receiver may or may
// not get it, marked as redelivered.
func (m *Message) Done() error { return nil }

// Ack acknowledges the message, which must have been read to its end, and all
// that the Receiver gave before it, without waiting: the acknowledgement
// travels with the next request, at the latest with Flush or Close of the
// Receiver, which wait for it to be confirmed.
func (m *Message) Ack() error { return nil }

// Close gives the message up, unless Done or Ack acknowledged it: then another
// receiver gets it. For a message of Chan.Recv it also ends the call. A message
// that a Receiver gave need not be closed; given up it is when its Receiver is
// closed.
func (m *Message) Close() error { return nil }
