package channel

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Limits of one Send call.
const (
	maxSizes    = 4096 // messages in one frame
	maxOutcomes = 4096 // outcomes that the client has not read, before no more frames are read
)

// outcome is what became of count messages in a row, from message on.
type outcome struct {
	message, count uint64
	err            error // nil for accepted
}

// sender is one Send call. One goroutine calls put, await and finish, another
// next and leave.
type sender struct {
	c        *Chan
	inBudget node[sender]  // guarded by the Budget
	news     chan struct{} // for next; holds one
	room     chan struct{} // for await; holds one

	// Of the goroutine that calls put.
	nextNum uint64
	offset  uint64

	// Guarded by c.mu.
	cur     *message   // the one whose end is to come
	pending []*message // without an outcome, in no order
	held    int64      // their cost
	done    []outcome  // for next
	parked  bool       // await sleeps
	ended   bool       // finish was called
	left    bool       // leave was called
	failed  error      // what put found wrong
}

// newSender opens a Send call.
func (c *Chan) newSender() (*sender, error) {
	s := &sender{c: c, news: make(chan struct{}, 1), room: make(chan struct{}, 1), nextNum: 1}
	s.inBudget.of = s
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.open(); err != nil {
		return nil, err
	}
	c.senders[s] = struct{}{}
	return s, nil
}

// put takes a frame from the client. It does not block and keeps no reference
// to the frame. An error is the end of the call.
func (s *sender) put(f *rpc.Frame) error {
	err := s.check(f)
	var batch []*message
	if err == nil && len(f.Sizes) > 0 {
		batch = s.split(f)
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.left:
		return errEnded
	case err != nil:
		s.failed = err
		s.wake()
		return err
	case batch != nil:
		s.nextNum += uint64(len(batch))
		for _, m := range batch {
			c.offer(m)
		}
		c.match()
	default:
		s.piece(f)
	}
	return nil
}

// check reports what is wrong with a frame, as an error of kind Invalid.
func (s *sender) check(f *rpc.Frame) error {
	cur := s.cur // only this goroutine writes it
	invalid := func(format string, args ...any) error {
		return circuit.Errorf(circuit.Invalid, "bad frame: "+fmt.Sprintf(format, args...))
	}
	switch n := uint64(f.Data.Len()); {
	case cur != nil && len(f.Sizes) > 0:
		return invalid("whole messages before the end of message %d", cur.num)
	case cur != nil && f.Message != cur.num:
		return invalid("message %d before the end of message %d", f.Message, cur.num)
	case cur == nil && f.Message != s.nextNum:
		return invalid("message %d where message %d was expected", f.Message, s.nextNum)
	case f.Offset != s.offset:
		return invalid("offset %d of message %d where offset %d was expected", f.Offset, f.Message, s.offset)
	case len(f.Sizes) > maxSizes:
		return invalid("%d messages in one frame; %d are the most", len(f.Sizes), maxSizes)
	case len(f.Sizes) > 0 && sum(f.Sizes) != n:
		return invalid("%d messages of %d bytes together, in %d bytes of data", len(f.Sizes), sum(f.Sizes), n)
	case s.offset+n < n:
		return invalid("message %d is too long", f.Message)
	}
	return nil
}

func sum(sizes []uint32) (n uint64) {
	for _, s := range sizes {
		n += uint64(s)
	}
	return n
}

// split returns the whole messages in a frame.
func (s *sender) split(f *rpc.Frame) []*message {
	batch := make([]*message, len(f.Sizes))
	from := cursor{bufs: f.Data}
	for i, size := range f.Sizes {
		m := newMessage(s, f.Message+uint64(i))
		m.size, m.ended = uint64(size), true
		from.copyTo(&m.data, int(size))
		batch[i] = m
	}
	return batch
}

// piece takes a frame with a part of one message.
func (s *sender) piece(f *rpc.Frame) {
	c, m := s.c, s.cur
	if m == nil {
		m = newMessage(s, f.Message)
		s.nextNum++
		c.offer(m)
	}
	s.cur, s.offset = m, s.offset+uint64(f.Data.Len())
	if f.End {
		s.cur, s.offset = nil, 0
	}
	if m.dropped {
		return
	}
	m.size += uint64(f.Data.Len())
	m.ended = f.End
	c.grow(m, func(b *store) { b.add(f.Data) })
	if c.accept(m); m.to != nil {
		m.to.more(m)
	}
	c.match()
}

// await returns when another frame should be read.
func (s *sender) await(ctx context.Context) error {
	for {
		s.c.mu.Lock()
		ok := s.hasRoom()
		s.parked = !ok
		s.c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hasRoom reports whether another frame can be taken in. Where it is memory
// that is missing, s stands in line for it then.
func (s *sender) hasRoom() bool {
	m := s.cur
	switch {
	case s.left:
		return true // to find out
	case len(s.done) >= maxOutcomes:
		return false
	case m != nil && m.dropped:
		return true
	case m != nil && m.to != nil:
		return m.data.pinned < streamWindow
	case m != nil && !m.short():
		return false
	}
	return s.held < sendWindow && s.c.budget.room(s)
}

// unpark wakes await if there is room now.
func (s *sender) unpark() {
	if s.parked && s.hasRoom() {
		s.parked = false
		s.room <- struct{}{}
	}
}

// wake lets next look again.
func (s *sender) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// expect notes that m waits for an outcome.
func (s *sender) expect(m *message) {
	m.slot = len(s.pending)
	s.pending = append(s.pending, m)
	if m.slot == 0 {
		s.c.sending++
	}
}

// outcome notes the outcome of m, for next.
func (s *sender) outcome(m *message, err error) {
	last := len(s.pending) - 1
	s.pending[m.slot] = s.pending[last]
	s.pending[m.slot].slot = m.slot
	s.pending[last] = nil
	if s.pending = s.pending[:last]; last == 0 {
		s.c.sending--
	}
	m.from = nil
	s.held -= m.cost
	if s.left {
		return
	}
	if n := len(s.done); n > 0 && err == nil && s.done[n-1].err == nil && s.done[n-1].message+s.done[n-1].count == m.num {
		s.done[n-1].count++
	} else {
		s.done = append(s.done, outcome{message: m.num, count: 1, err: err})
	}
	s.unpark()
	s.wake()
}

// finish notes that no more frames come. A message without an end is cut off.
func (s *sender) finish() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := s.cur; m != nil && !s.left {
		s.cur = nil
		s.withdraw(m, circuit.Errorf(circuit.Invalid, "the message was cut off: its send ended before it did"))
		c.match()
	}
	s.ended = true
	s.wake()
}

// fail ends the call with an error.
func (s *sender) fail(err error) {
	s.c.mu.Lock()
	s.failed = err
	s.wake()
	s.c.mu.Unlock()
}

// next returns the outcomes that are new, in place of those in old, and waits
// for some. The end of the call is io.EOF after finish; or what put found
// wrong; or, once the channel is closed and all outcomes were returned, Closed.
func (s *sender) next(ctx context.Context, old []outcome) ([]outcome, error) {
	c := s.c
	for {
		c.mu.Lock()
		c.place()
		var err error
		switch {
		case len(s.done) > 0:
			news := s.done
			s.done = old[:0]
			s.unpark()
			c.mu.Unlock()
			return news, nil
		case s.failed != nil:
			err = s.failed
		case len(s.pending) == 0 && s.ended:
			err = io.EOF
		case len(s.pending) == 0 && c.closed:
			err = c.closedError()
		}
		s.unpark()
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// leave ends the call: what no receiver began is withdrawn.
func (s *sender) leave() {
	c := s.c
	c.mu.Lock()
	s.left, s.done = true, nil
	delete(c.senders, s)
	// The last first, so that receivers come back into line in their old order.
	all := slices.Clone(s.pending)
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(b.num, a.num) })
	for _, m := range all {
		s.withdraw(m, errEnded)
	}
	s.unpark()
	c.match()
	c.tellDrained()
	c.mu.Unlock()
	c.budget.forget(s)
}

// withdraw takes back a message whose sender is gone, or ended in its middle.
func (s *sender) withdraw(m *message, why error) {
	c := s.c
	switch r := m.to; {
	case m.dropped:
	case m.ended && (m.begun || m.redelivered):
		c.settle(m, why) // a receiver may have used it: it stays
		if m.node.in == &c.front && !m.placed {
			m.placed = true
			c.places++
			c.unplaced--
		}
	case m.begun:
		m.broken = circuit.Errorf(circuit.Lost, "the message broke off: its sender went away")
		c.drop(m, why)
		r.more(m)
	case r != nil:
		r.unassign(m)
		c.drop(m, why)
	default:
		c.unqueue(m)
		c.drop(m, why)
	}
}
