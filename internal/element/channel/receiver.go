package channel

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// maxBatch is the most messages given out in one delivery.
const maxBatch = 1024

// delivery is what next gives out to be written: a part of a message, or whole
// messages, or the end of a message that broke off, or only a confirmation.
type delivery struct {
	message     uint64 // the first one's number; 0 if there is only a confirmation
	offset      uint64
	data        mem.BufferSlice // a part of message; the references are the caller's
	end         bool
	parts       [][]byte // if not empty, whole messages, from message on
	redelivered bool
	broken      error  // message will not end
	confirmed   uint64 // acknowledgements up to this message are confirmed; 0 for no news
}

// confirmLater is for how long a confirmation waits for a message to go with.
// A receiver that asks for more in the request that acknowledges is not waiting
// for it.
const confirmLater = 2 * time.Millisecond

// receiver is one Recv call. One goroutine calls grant, ack and finish, another
// next and leave.
type receiver struct {
	c    *Chan
	node node[receiver] // in c.waiting, while a message can be given to it
	news chan struct{}  // for next; holds one

	timer *time.Timer // next's; nil until it is needed

	// Guarded by c.mu.
	credit  uint64
	held    int64      // cost of out and unacked
	out     []*message // given to it and not begun, in order
	unacked []*message // begun, in order; the last one's number is num
	num     uint64
	partial *message // the last of both, if it is incomplete
	writing *message // the last of unacked, if not all of it was given out
	acked   uint64   // all up to this number were acknowledged
	told    uint64   // and confirmed
	later   bool     // the rest may be confirmed with the next message
	ended   bool     // finish was called
	left    bool     // leave was called
	failed  error    // what ack found wrong
}

// newReceiver opens a Recv call.
func (c *Chan) newReceiver() (*receiver, error) {
	r := &receiver{c: c, news: make(chan struct{}, 1)}
	r.node.of = r
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.open(); err != nil {
		return nil, err
	}
	c.receivers[r] = struct{}{}
	return r, nil
}

// request takes a request from the client. It does not block. An error is the
// end of the call.
func (r *receiver) request(credit uint32, ack uint64) error {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.left || c.aborted {
		return errEnded
	}
	if ack > r.acked {
		r.later = credit > 0
		if err := r.ack(ack); err != nil {
			r.failed = err
			r.wake()
			return err
		}
	}
	r.credit += uint64(credit)
	r.line()
	c.match()
	c.tellDrained()
	return nil
}

// ack acknowledges all messages up to n.
func (r *receiver) ack(n uint64) error {
	if n > r.num || n == r.num && r.writing != nil {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("acknowledged message %d before it was received", n))
	}
	c, k := r.c, n-r.acked
	for i, m := range r.unacked[:k] {
		r.unacked[i] = nil
		if !m.dropped {
			c.inHand--
			c.recved++
			c.settle(m, nil)
			c.free(m)
		}
		r.held -= m.cost
		m.to = nil
	}
	if r.unacked = r.unacked[k:]; len(r.unacked) == 0 {
		r.unacked = nil
	}
	r.acked = n
	r.wake()
	return nil
}

// line puts r into the line, at its end, if it can take a message and is not in
// it.
func (r *receiver) line() {
	if r.node.in == nil && r.ready() {
		r.c.waiting.push(&r.node)
	}
}

func (r *receiver) ready() bool {
	return r.credit > 0 && r.partial == nil && !r.ended && !r.left &&
		r.held < recvWindow && len(r.unacked)+len(r.out) < maxUnacked
}

// assign gives the message to r, which is in the line.
func (r *receiver) assign(m *message) {
	r.node.remove()
	r.credit--
	r.out = append(r.out, m)
	r.held += m.cost
	m.to = r
	r.c.inHand++
	if !m.ended {
		r.partial = m
		m.from.unpark()
	}
	r.line()
	r.wake()
}

// unassign takes back a message that r has not begun. r is first in line then.
func (r *receiver) unassign(m *message) {
	r.release(m)
	for i := range r.out {
		if r.out[i] == m {
			r.out = append(r.out[:i], r.out[i+1:]...)
			break
		}
	}
	r.credit++
	if r.partial == m {
		r.partial = nil
	}
	r.node.remove()
	if r.ready() {
		r.c.waiting.insert(&r.node, r.c.waiting.first)
	}
}

// release lets m be no more r's.
func (r *receiver) release(m *message) {
	m.to = nil
	r.held -= m.cost
	if !m.dropped {
		r.c.inHand--
	}
}

// more tells r that more of m came, or its end, or that it broke off.
func (r *receiver) more(m *message) {
	if m.begun && m.keep && !m.short() {
		// Too long to be held until acknowledged.
		m.keep = false
		r.c.grow(m, func(b *store) { b.pop(int(m.sent)).Free() })
	}
	if r.partial == m && (m.ended || m.dropped) {
		r.partial = nil
		r.line()
	}
	r.wake()
}

// wake lets next look again.
func (r *receiver) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// messages returns the messages that r has, in order.
func (r *receiver) messages() []*message {
	return append(append([]*message(nil), r.unacked...), r.out...)
}

// finish notes that no more requests come.
func (r *receiver) finish() {
	r.c.mu.Lock()
	r.ended = true
	r.node.remove()
	r.wake()
	r.c.mu.Unlock()
}

// fail ends the call with an error.
func (r *receiver) fail(err error) {
	r.c.mu.Lock()
	r.failed = err
	r.wake()
	r.c.mu.Unlock()
}

// errDrained ends the receivers of a channel that was closed, not scrubbed, once
// nothing can be received from it any more.
var errDrained = circuit.Errorf(circuit.Closed, "the channel is closed")

// next returns what to write next, and waits for it. The end of the call is
// io.EOF after finish, or what request found wrong, or errDrained, or Closed.
func (r *receiver) next(ctx context.Context) (delivery, error) {
	c := r.c
	var alarm <-chan time.Time // set while something is to be confirmed later
	late := false              // it has waited long enough
	for {
		c.mu.Lock()
		d, ok := delivery{}, false
		var err error
		switch {
		case c.aborted:
			if ok = r.told < r.acked; !ok {
				err = c.closedError()
			}
		case r.failed != nil:
			err = r.failed
		case r.ended:
			if ok = r.told < r.acked; !ok {
				err = io.EOF
			}
		default:
			d, ok = r.take()
			c.match()
			over := r.node.in != nil && c.drained()
			ok = ok || r.told < r.acked && (!r.later || late || over)
			if !ok && over {
				err = errDrained
			}
		}
		if ok && r.told < r.acked {
			r.told, d.confirmed = r.acked, r.acked
		}
		waits := r.told < r.acked
		c.mu.Unlock()
		if ok || err != nil {
			return d, err
		}
		if waits && alarm == nil {
			alarm = r.alarm()
		}
		select {
		case <-r.news:
		case <-alarm:
			late = true
		case <-ctx.Done():
			return delivery{}, ctx.Err()
		}
	}
}

// alarm returns a channel that is told when confirmLater has passed.
func (r *receiver) alarm() <-chan time.Time {
	if r.timer == nil {
		r.timer = time.NewTimer(confirmLater)
	} else {
		r.timer.Reset(confirmLater)
	}
	return r.timer.C
}

// take returns what can be written now.
func (r *receiver) take() (delivery, bool) {
	if r.writing == nil && len(r.out) > 0 {
		if d, ok := r.takeWhole(); ok {
			return d, true
		}
		if m := r.out[0]; m.size > 0 || m.ended {
			r.writing = r.begin()
		}
	}
	if r.writing != nil {
		return r.takePart(r.writing)
	}
	return delivery{}, false
}

// begin makes the first of out the last of unacked.
func (r *receiver) begin() *message {
	m := r.out[0]
	r.out[0] = nil
	if r.out = r.out[1:]; len(r.out) == 0 {
		r.out = nil
	}
	r.unacked = append(r.unacked, m)
	r.num++
	m.begun = true
	m.keep = m.ended || m.short()
	if m.redelivered {
		r.c.redelivered++
	}
	return m
}

// takeWhole begins as many short complete messages as go into one frame.
func (r *receiver) takeWhole() (delivery, bool) {
	d := delivery{message: r.num + 1, redelivered: r.out[0].redelivered}
	size := 0
	for len(r.out) > 0 && len(d.parts) < maxBatch {
		m := r.out[0]
		size += m.data.len
		if !m.ended || !m.short() || m.redelivered != d.redelivered || size > rpc.MaxFrameData {
			break
		}
		r.begin()
		m.sent = m.size
		d.parts = append(d.parts, m.data.head)
	}
	return d, len(d.parts) > 0
}

// takePart returns the next part of m, which is r.writing.
func (r *receiver) takePart(m *message) (delivery, bool) {
	d := delivery{message: r.num, offset: m.sent, redelivered: m.redelivered}
	if m.dropped {
		d.broken = m.broken
		r.writing = nil
		return d, true
	}
	if m.keep {
		d.data = m.data.peek(int(m.sent), rpc.MaxFrameData)
	} else {
		r.c.grow(m, func(b *store) { d.data = b.pop(rpc.MaxFrameData) })
		if m.from != nil {
			m.from.unpark()
		}
		r.line()
	}
	m.sent += uint64(d.data.Len())
	d.end = m.ended && m.sent == m.size
	if d.end {
		r.writing = nil
	}
	return d, d.end || d.data.Len() > 0
}

// leave ends the call: what is not acknowledged goes to another receiver, or is
// lost to its sender.
func (r *receiver) leave() {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r.left = true
	delete(c.receivers, r)
	r.node.remove()
	all := r.messages()
	r.out, r.unacked = nil, nil
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		r.release(m)
		switch {
		case m.dropped:
		case m.begun && !m.whole():
			c.drop(m, circuit.Errorf(circuit.Lost, "the receiver went away in the middle of the message; what it did with it is unknown"))
		default:
			m.redelivered = m.redelivered || m.begun
			m.begun, m.keep, m.sent = false, false, 0
			c.putBack(m)
		}
	}
	c.match()
	c.tellDrained()
}
