package channel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/anchor"
)

// Limits of what is under way.
const (
	streamWindow = 512 << 10 // bytes of a streaming message between sender and receiver
	sendWindow   = 512 << 10 // cost of one call's messages that are not accepted, before no more are read
	recvWindow   = 1 << 20   // cost of one call's messages that are not acknowledged, before no more are given
	maxUnacked   = 4096      // their number
)

// Chan is a channel element. Its methods may be called concurrently.
type Chan struct {
	cap      int
	maxCalls int
	budget   *Budget
	gone     func() // called once, when scrubbed

	mu  sync.Mutex
	seq uint64
	// The messages that no receiver has, in order of seq: front before
	// blocked. Those in front hold places, but for a number of them that came
	// back from receivers; those in blocked never had either.
	front    list[message]
	blocked  list[message]
	places   int // taken by messages in front; may exceed cap when messages came back
	unplaced int // messages in front that hold none

	waiting   list[receiver] // the line of receivers that can take a message
	senders   map[*sender]struct{}
	receivers map[*receiver]struct{}
	inHand    int // messages that receivers have, but for dropped ones

	closed, aborted bool

	held         int // bytes of messages
	sending      int // senders that wait for an outcome
	sent, recved int // messages accepted, and acknowledged
	redelivered  int // messages begun again
}

var _ anchor.Element = (*Chan)(nil)

func newChan(cap, maxCalls int, b *Budget, gone func()) *Chan {
	return &Chan{
		cap: cap, maxCalls: maxCalls, budget: b, gone: gone,
		senders: make(map[*sender]struct{}), receivers: make(map[*receiver]struct{}),
	}
}

// Kind implements anchor.Element.
func (c *Chan) Kind() circuit.Kind { return circuit.Chan }

// State implements anchor.Element: how much of the buffer is used, and whether
// the channel is closed.
func (c *Chan) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := fmt.Sprintf("%d/%d", c.places, c.cap)
	switch {
	case c.aborted:
		s += " scrubbed"
	case c.closed:
		s += " closed"
	}
	return s
}

// Stat returns the state of the channel.
func (c *Chan) Stat() circuit.ChanStat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return circuit.ChanStat{
		Cap: c.cap, Closed: c.closed, Aborted: c.aborted, NumSend: c.sent, NumRecv: c.recved,
		Buffered: c.places, BufferedBytes: circuit.Size(c.held),
		Senders: c.sending, Receivers: c.waiting.n, Redelivered: c.redelivered,
	}
}

// Close lets no further messages in. It fails with Closed if that was so.
func (c *Chan) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closedError()
	}
	c.closed = true
	for _, l := range []*list[message]{&c.front, &c.blocked} {
		for n := l.first; n != nil; {
			m := n.of
			n = n.next
			if m.from != nil && !m.redelivered {
				c.unqueue(m)
				c.drop(m, c.closedError())
			}
		}
	}
	c.match() // what came back may have a place now
	for s := range c.senders {
		s.wake()
	}
	c.tellDrained()
	return nil
}

// Scrub implements anchor.Element. It ends all sends and receives at once and
// frees what is buffered. It never refuses.
func (c *Chan) Scrub(context.Context, anchor.Scrub) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return nil
	}
	c.closed, c.aborted = true, true
	for _, l := range []*list[message]{&c.front, &c.blocked} {
		for m := l.head(); m != nil; m = l.head() {
			c.unqueue(m)
			c.scrubbed(m)
		}
	}
	for r := range c.receivers {
		for _, m := range r.messages() {
			c.scrubbed(m)
		}
		r.node.remove()
		r.wake()
	}
	for s := range c.senders {
		s.wake()
	}
	if c.gone != nil {
		c.gone()
	}
	return nil
}

// scrubbed drops m because the channel is scrubbed.
func (c *Chan) scrubbed(m *message) {
	if m.begun || m.redelivered {
		c.drop(m, circuit.Errorf(circuit.Lost, "the channel was scrubbed while a receiver had the message; whether it was used is unknown"))
		return
	}
	c.drop(m, c.closedError())
}

// closedError says why the channel takes nothing more.
func (c *Chan) closedError() error {
	if c.aborted {
		return circuit.Errorf(circuit.Closed, "the channel was scrubbed")
	}
	return circuit.Errorf(circuit.Closed, "the channel is closed")
}

// open admits one more call.
func (c *Chan) open() error {
	if c.aborted {
		return c.closedError()
	}
	if len(c.senders)+len(c.receivers) >= c.maxCalls {
		return circuit.Errorf(circuit.Exhausted, fmt.Sprintf("the channel has its limit of %d sends and receives at once; end some, or raise the limit channel-calls", c.maxCalls))
	}
	return nil
}

// All that follows is called under the lock.

// offer puts a new message into the queue, or drops it where the channel is
// closed.
func (c *Chan) offer(m *message) {
	m.from.expect(m)
	c.count(m, overhead+m.data.pinned, m.data.len)
	if c.closed {
		c.drop(m, c.closedError())
		return
	}
	c.seq++
	m.seq = c.seq
	c.blocked.push(&m.node)
}

// grow adds data to a message.
func (c *Chan) grow(m *message, f func(*store)) {
	pinned, n := m.data.pinned, m.data.len
	f(&m.data)
	c.count(m, m.data.pinned-pinned, m.data.len-n)
}

// count counts cost and bytes more for m, or less.
func (c *Chan) count(m *message, cost int64, bytes int) {
	m.cost += cost
	c.held += bytes
	if m.from != nil {
		m.from.held += cost
	}
	if m.to != nil {
		m.to.held += cost
	}
	c.budget.add(cost)
}

// free gives back all that is held for m.
func (c *Chan) free(m *message) {
	n := m.data.len
	m.data.free()
	c.count(m, -m.cost, -n)
}

// settle tells m's sender the outcome, if it waits for it; nil is acceptance.
func (c *Chan) settle(m *message, err error) {
	if err == nil && !m.accepted {
		m.accepted = true
		c.sent++
	}
	if m.from != nil {
		m.from.outcome(m, err)
	}
}

// drop gives up m, which is not in the queue.
func (c *Chan) drop(m *message, err error) {
	if m.dropped {
		return
	}
	m.dropped = true
	if m.to != nil {
		c.inHand--
	}
	c.free(m)
	c.settle(m, err)
}

// unqueue takes m out of the queue.
func (c *Chan) unqueue(m *message) {
	if m.node.in == &c.front {
		if m.placed {
			m.placed = false
			c.places--
		} else {
			c.unplaced--
		}
	}
	m.node.remove()
}

// match gives places to messages, and messages to receivers, as far as there
// are some. Whoever adds a message, a receiver or room calls it.
func (c *Chan) match() {
	for c.place(); c.waiting.n > 0; c.place() {
		m := c.front.head()
		if m == nil {
			m = c.blocked.head()
		}
		if m == nil {
			return
		}
		c.unqueue(m)
		c.waiting.head().assign(m)
	}
}

// place gives free places to messages in order, as far as memory allows.
func (c *Chan) place() {
	for c.places < c.cap {
		m := c.nextUnplaced()
		if m == nil {
			return
		}
		if !c.budget.room(m.from) {
			return
		}
		if m.node.in == &c.front {
			c.unplaced--
		} else {
			m.node.remove()
			c.front.push(&m.node)
		}
		m.placed = true
		c.places++
		c.accept(m)
	}
}

// nextUnplaced returns the first message in the queue that holds no place. Those
// in front came back from receivers, and only such messages are before them.
func (c *Chan) nextUnplaced() *message {
	if c.unplaced > 0 {
		for n := c.front.first; n != nil; n = n.next {
			if !n.of.placed {
				return n.of
			}
		}
	}
	return c.blocked.head()
}

// accept accepts m if it is buffered whole, or in a receiver's hands already
// when it could be.
func (c *Chan) accept(m *message) {
	if m.ended && m.short() && (m.placed || m.to != nil && c.places < c.cap && !c.budget.full()) {
		c.settle(m, nil)
	}
}

// putBack returns m to the queue from a receiver that went away.
func (c *Chan) putBack(m *message) {
	switch {
	case m.from == nil: // accepted before, or nobody is left to accept it for
		m.placed = true
		c.places++
	case c.closed && !m.redelivered:
		c.drop(m, c.closedError())
		return
	default:
		c.unplaced++
	}
	at := c.front.first
	for at != nil && at.of.seq < m.seq {
		at = at.next
	}
	c.front.insert(&m.node, at)
}

// drained reports whether the channel is closed and nothing can be received
// from it any more.
func (c *Chan) drained() bool {
	return c.closed && c.front.n == 0 && c.blocked.n == 0 && c.inHand == 0
}

// tellDrained ends the receivers in line, if the channel is drained.
func (c *Chan) tellDrained() {
	if !c.drained() {
		return
	}
	for n := c.waiting.first; n != nil; n = n.next {
		n.of.wake()
	}
}

var errEnded = errors.New("the call has ended")
