package sim

import "time"

// happening is something that is due at a time.
type happening interface{ happen(s *Sim) }

// call is a happening of its own kind.
type call func()

func (c call) happen(*Sim) { c() }

// event is a happening and its time. Of those at the same time, the first that
// was scheduled comes first.
type event struct {
	at   time.Duration // since the beginning
	seq  uint64
	what happening
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a heap of events: each node has four kids, which costs half the depth
// of two, and kids that lie side by side.
type queue []event

const kids = 4

func (q *queue) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / kids
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
	*q = h
}

// pop returns the earliest event of a queue that is not empty.
func (q *queue) pop() event {
	h := *q
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		least := kids*i + 1
		if least >= len(h) {
			break
		}
		for k := least + 1; k < min(kids*i+1+kids, len(h)); k++ {
			if h[k].before(&h[least]) {
				least = k
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return first
}
