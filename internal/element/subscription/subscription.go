package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/anchor"
)

// Limits of what is under way.
const (
	maxReceivers = 1024 // open receives of one subscription
	maxUnacked   = 1024 // events that one receiver holds; it gets no more until it acknowledges some
)

// Subscription is a subscription element. Its methods may be called
// concurrently.
type Subscription struct {
	kind circuit.Kind
	gone func(*Subscription) // called once, when scrubbed

	mu          sync.Mutex
	queue       queue
	receivers   map[*receiver]struct{} // all that are open
	waiting     []*receiver            // those that an item can be given to, in line
	redelivered int
	scrubbed    bool
}

var _ anchor.Element = (*Subscription)(nil)

func newSubscription(kind circuit.Kind, limit int, gone func(*Subscription)) *Subscription {
	return &Subscription{kind: kind, gone: gone, queue: queue{limit: limit}, receivers: make(map[*receiver]struct{})}
}

// Kind returns what the subscription tells of.
func (s *Subscription) Kind() circuit.Kind { return s.kind }

// State returns how many events wait, and how many were given up.
func (s *Subscription) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := fmt.Sprintf("%d pending", s.queue.pending)
	if s.queue.overflow > 0 {
		state += fmt.Sprintf(", %d lost", s.queue.overflow)
	}
	return state
}

// Stat returns the state of the subscription.
func (s *Subscription) Stat() circuit.SubscriptionStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	return circuit.SubscriptionStat{
		Kind: s.kind, Pending: q.pending, Overflow: q.overflow, Limit: q.limit, NumEvents: int(q.seq),
		NumRecv: q.received, Receivers: len(s.receivers), Redelivered: s.redelivered,
	}
}

// Scrub ends the subscription. Its receivers fail with Closed.
func (s *Subscription) Scrub(context.Context, anchor.Scrub) error {
	s.mu.Lock()
	again := s.scrubbed
	s.scrubbed = true
	s.queue.items = nil
	for r := range s.receivers {
		r.wake()
	}
	s.mu.Unlock()
	if !again {
		s.gone(s)
	}
	return nil
}

// tell adds an event, which is not changed any more. It does not block.
func (s *Subscription) tell(e *circuit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scrubbed {
		return
	}
	s.queue.push(e)
	s.match()
}

var (
	errScrubbed = circuit.Errorf(circuit.Closed, "the subscription was scrubbed")
	errEnded    = errors.New("the call has ended")
)

// open admits one more receive.
func (s *Subscription) open() (*receiver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.scrubbed:
		return nil, errScrubbed
	case len(s.receivers) >= maxReceivers:
		return nil, circuit.Errorf(circuit.Exhausted, fmt.Sprintf("the subscription has its limit of %d receives at once; end some", maxReceivers))
	}
	r := &receiver{s: s, news: make(chan struct{}, 1)}
	s.receivers[r] = struct{}{}
	return r, nil
}

// All that follows is called under the lock.

// line puts r into the line, at its end, if it can take an item and is not in
// it.
func (s *Subscription) line(r *receiver) {
	if r.ready() && !slices.Contains(s.waiting, r) {
		s.waiting = append(s.waiting, r)
	}
}

// unline takes r out of the line.
func (s *Subscription) unline(r *receiver) {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *receiver) bool { return w == r })
}

// match gives items to receivers, as far as there are some.
func (s *Subscription) match() {
	for len(s.queue.items) > 0 && len(s.waiting) > 0 {
		r := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		r.assign(s.queue.pop())
		s.line(r)
	}
}
