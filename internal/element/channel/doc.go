// Package channel is the channel element: Go's channels, reachable from
// anywhere in the circuit, with streams of bytes as messages. Package server
// puts its Service in place; the tree of anchors holds its elements, of type
// Chan.
//
// # What a channel promises
//
// A message is offered to the channel with its first frame, and messages leave
// in the order in which they were offered. It goes to one receiver, whole or
// not at all. Its sender is told the outcome once:
//
//   - Accepted, once it is buffered whole or acknowledged by its receiver. It is
//     buffered whole if it holds one of the channel's places and is at most
//     MaxBuffered bytes long. A longer message may hold a place, but it waits
//     there, after MaxBuffered bytes or a frame more, for a receiver.
//   - Closed, if the channel was closed or scrubbed before any receiver began it.
//   - Lost, if its receiver went away, or the channel was scrubbed, while it was
//     being received: nobody knows what the receiver did with it.
//
// A message holds its place, if it has one, until a receiver takes it; one that
// receivers wait for passes through a free place on its way to them. With no
// places (capacity 0) a send lasts until its receiver acknowledges: rendezvous.
//
// Receivers wait in line. A message goes to the first in line that has credit,
// which then goes to the back if it has more credit; so none waits behind a
// receiver for which others would do. A receiver stands in line only while
// nothing is on the way to it that is incomplete, and while less than
// recvWindow is in its hands unacknowledged.
//
// A receiver that goes away gives back what it has not acknowledged: what was
// not yet written to it, as if it had never been there; what was, and the
// channel still holds whole, to the head of the queue, marked as redelivered,
// and its sender waits on. The channel holds a message whole if it was complete
// when the receiver began it, or is at most MaxBuffered bytes long. Any other is
// Lost. The place of a message that comes back may meanwhile be another's: then
// the buffer holds more than its capacity until messages leave.
//
// A sender that goes away takes back what no receiver began and what was not
// accepted. A message that a receiver has begun and that is incomplete breaks
// off: the receiver is told so, in place of its end. One that is complete stays.
//
// Once closed, a channel accepts nothing more; messages that receivers have
// begun go on. Receivers fail with Closed once nothing is left to receive:
// nothing buffered and nothing in another receiver's hands that might come
// back. So a receiver must acknowledge what it has before it asks for the end.
// Once scrubbed, both sides fail at once.
//
// # Bounds
//
// All bytes held for messages, and a fixed cost for each, count against the
// server's Budget. At its limit no message gets a place and no further frame is
// read from senders, until bytes are freed; senders wait. Beyond it there is at
// most one frame for each open send, and what streams to a receiver, so that
// senders and receivers that have each other are never held up by those that
// wait. One call has at most sendWindow of unaccepted messages here; between one
// sender and its receiver there is at most streamWindow of a streaming message.
// The calls open on one channel are limited (Config.MaxCalls; Exhausted).
//
// # Concurrency
//
// Each Chan has one lock, under which nothing blocks. Each Send or Recv call
// has two goroutines, one that reads the stream and one, the handler, that
// writes it; they sleep on channels of their own. The handler returns first,
// which ends the reader; Service.Close waits for the readers. A Budget has a
// lock of its own, taken under that of a Chan, never the other way round.
package channel
