package subscription

import (
	"cmp"
	"slices"

	"github.com/gocircuit/circuit"
)

// item is what a receiver gets: an event, or a gap in their row.
type item struct {
	seq         uint64         // its place in the row
	event       *circuit.Event // nil for a gap; other subscriptions have the same
	lost        int            // of a gap: how many events are missing
	redelivered bool
}

// told returns the item as its receiver is told it.
func (i *item) told() circuit.Event {
	e := circuit.Event{Change: circuit.Overflowed, Lost: i.lost}
	if i.event != nil {
		e = *i.event
	}
	e.Redelivered = i.redelivered
	return e
}

// queue is the items of a subscription that no receiver has, in order, and the
// account of all. It is guarded by the Subscription's lock.
type queue struct {
	limit int
	items []item

	seq      uint64 // of the last event; so, how many there were
	pending  int    // events that are not acknowledged, those of receivers included; at most limit
	overflow int    // events given up
	received int    // events acknowledged
}

// push adds an event at the end.
func (q *queue) push(e *circuit.Event) {
	q.seq++
	q.pending++
	q.items = append(q.items, item{seq: q.seq, event: e})
	for q.pending > q.limit {
		q.giveUp()
	}
}

// giveUp makes the first item a gap, or a gap that is first longer by what
// follows it.
func (q *queue) giveUp() {
	gap := item{}
	if q.items[0].event == nil {
		gap = q.items[0]
		q.items = q.items[1:]
	}
	next := &q.items[0]
	if next.event != nil {
		next.lost = 1
		q.pending--
		q.overflow++
	}
	*next = item{seq: next.seq, lost: gap.lost + next.lost, redelivered: gap.redelivered || next.event == nil && next.redelivered}
}

// pop takes the first item; there must be one.
func (q *queue) pop() item {
	first := q.items[0]
	q.items[0] = item{}
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	}
	return first
}

// putBack takes items back from a receiver, to where they were.
func (q *queue) putBack(items []item) {
	if len(items) == 0 {
		return
	}
	q.items = append(slices.Clone(items), q.items...)
	slices.SortStableFunc(q.items, func(a, b item) int { return cmp.Compare(a.seq, b.seq) })
}

// acknowledge counts an item that its receiver has used.
func (q *queue) acknowledge(i item) {
	if i.event != nil {
		q.pending--
		q.received++
	}
}
