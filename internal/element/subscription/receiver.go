package subscription

import (
	"context"
	"fmt"
	"io"

	"github.com/gocircuit/circuit"
)

// maxBatch is the most events given out in one delivery.
const maxBatch = 256

// delivery is what next gives out to be written.
type delivery struct {
	number    uint64 // of the first event
	events    []circuit.Event
	confirmed uint64 // acknowledgements up to this event are confirmed; 0 for no news
}

// receiver is one Recv call. One goroutine calls request and finish, another
// next and leave.
type receiver struct {
	s    *Subscription
	news chan struct{} // for next; holds one

	// Guarded by s.mu.
	credit uint64
	items  []item // its own, in order of their numbers: the first is number acked+1
	given  int    // how many of items were given out
	acked  uint64 // all up to this number were acknowledged
	told   uint64 // and confirmed
	ended  bool   // finish was called
	left   bool   // leave was called
	failed error  // what request found wrong
}

// ready reports whether r can take an item.
func (r *receiver) ready() bool {
	return r.credit > 0 && len(r.items) < maxUnacked && !r.ended && !r.left
}

// assign gives an item to r.
func (r *receiver) assign(i item) {
	r.credit--
	r.items = append(r.items, i)
	r.wake()
}

// request takes a request from the client. It does not block. An error is the
// end of the call.
func (r *receiver) request(credit uint32, ack uint64) error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.left || s.scrubbed {
		return errEnded
	}
	if ack > r.acked {
		if ack > r.acked+uint64(r.given) {
			r.failed = circuit.Errorf(circuit.Invalid, fmt.Sprintf("acknowledged event %d before it was received", ack))
			r.wake()
			return r.failed
		}
		r.acknowledge(int(ack - r.acked))
	}
	r.credit += uint64(credit)
	s.line(r)
	s.match()
	return nil
}

// acknowledge takes the first n items as used.
func (r *receiver) acknowledge(n int) {
	for _, i := range r.items[:n] {
		r.s.queue.acknowledge(i)
	}
	if r.items = r.items[n:]; len(r.items) == 0 {
		r.items = nil
	}
	r.given -= n
	r.acked += uint64(n)
	r.wake()
}

// wake lets next look again.
func (r *receiver) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// finish notes that no more requests come.
func (r *receiver) finish() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.ended = true
	r.s.unline(r)
	r.wake()
}

// fail ends the call with an error.
func (r *receiver) fail(err error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.failed = err
	r.wake()
}

// next returns what to write next, and waits for it. The end of the call is
// io.EOF after finish, or what request found wrong, or Closed.
func (r *receiver) next(ctx context.Context) (delivery, error) {
	for {
		d, ok, err := r.take()
		if ok || err != nil {
			return d, err
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return delivery{}, ctx.Err()
		}
	}
}

// take returns what can be written now.
func (r *receiver) take() (d delivery, ok bool, err error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.failed != nil && !r.s.scrubbed {
		return d, false, r.failed
	}
	if r.told < r.acked { // which is told before the end
		r.told, d.confirmed, ok = r.acked, r.acked, true
	}
	switch {
	case ok && (r.s.scrubbed || r.ended):
		return d, true, nil
	case r.s.scrubbed:
		return d, false, errScrubbed
	case r.ended:
		return d, false, io.EOF
	}
	d.number = r.acked + uint64(r.given) + 1
	for r.given < len(r.items) && len(d.events) < maxBatch {
		i := &r.items[r.given]
		if i.redelivered {
			r.s.redelivered++
		}
		d.events = append(d.events, i.told())
		r.given++
	}
	if r.given < len(r.items) {
		r.wake()
	}
	return d, ok || len(d.events) > 0, nil
}

// leave ends the call: what is not acknowledged goes to another receiver.
func (r *receiver) leave() {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r.left = true
	delete(s.receivers, r)
	s.unline(r)
	if s.scrubbed {
		return
	}
	for i := range r.items[:r.given] {
		r.items[i].redelivered = true
	}
	s.queue.putBack(r.items)
	r.items, r.given = nil, 0
	s.match()
}
