// Package subscription is the elements that tell who comes into the circuit and
// who goes: of kind circuit.OnJoin and of kind circuit.OnLeave. Package server
// puts its Service in place and tells it what happens; the tree of anchors
// holds its elements, of type Subscription.
//
// # What a subscription promises
//
// It tells what the server that hosts it sees, every change once, in order,
// from the moment when it was made, whether or not anybody receives. One to
// joins first tells of each server that is present at that moment, in order of
// their IDs; then of each that joins. No change falls between the two, and none
// is in both.
//
// An event goes to one receiver. Receivers wait in line: an event goes to the
// first in line that has credit, which then goes to the back if it has more. A
// receiver that goes away gives back what it has not acknowledged, to where it
// was in the order; what was written to it is marked as redelivered.
//
// # Bounds
//
// At most Config.MaxEvents events wait in one subscription, those in receivers'
// hands included. At the limit the oldest that no receiver has is given up for
// each that comes, and in its place there is one event that says how many are
// missing (circuit.Overflowed). So there is at most one such event for each
// receiver, and one more. One receiver holds at most maxUnacked events; the
// receives open on one subscription (maxReceivers) and the subscriptions of a
// server (Config.MaxSubscriptions) are limited: Exhausted.
//
// Subscriptions share the memory of an event, but for those of the servers that
// are present at first.
//
// # Concurrency
//
// Service.Tell does not block: it takes the lock of the Service, and then, one
// after the other, those of the subscriptions, under which nothing blocks. Each
// Recv call has two goroutines, one that reads the stream and one, the handler,
// that writes it; they sleep on channels of their own. The handler returns
// first, which ends the reader; Service.Wait waits for the readers.
package subscription
