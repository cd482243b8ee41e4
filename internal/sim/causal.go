package sim

import (
	"cmp"
	"fmt"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Causal order: whoever takes in an event knows all that its origin knew when it
// originated it. A directory tells how many events of each server have been
// taken in, so it is the vector clock to compare with.

// origin is an event: of a server, by its number.
type origin struct {
	id     circuit.ServerID
	number uint64
}

// told is what the origins of events knew at the time: of the last maxTold
// events.
type told struct {
	by    map[origin]directory.Directory
	order []origin // a ring, oldest at next
	next  int
}

const (
	maxTold = 1 << 12
	allUpTo = 32 // in worlds of more servers, about this many are looked at
)

// add notes what a server knew when it originated its latest event.
func (t *told) add(id circuit.ServerID, number uint64, dir directory.Directory) {
	o := origin{id, number}
	if len(t.order) < maxTold {
		t.order = append(t.order, o)
	} else {
		delete(t.by, t.order[t.next])
		t.order[t.next] = o
		t.next = (t.next + 1) % maxTold
	}
	t.by[o] = dir
}

// learnt checks what a server knows after a step that taught it something.
func (c *checker) learnt(p *process, before, now directory.Directory) {
	self := p.host.ID
	if was, is := before.Get(self), now.Get(self); is != nil && (was == nil || is.Events > was.Events) {
		// Of several events in one step, only of the last is it certain what was
		// known.
		c.told.add(self, is.Events, now)
	}
	if p.host.index%(1+len(c.sim.servers)/allUpTo) != 0 {
		return
	}
	differ(before, now, directory.Prefix{}, func(under directory.Prefix) bool {
		for is := range now.Under(under) {
			was := before.Get(is.ID)
			if is == was || is.ID == self || was != nil && was.Events >= is.Events {
				continue
			}
			then, ok := c.told.by[origin{is.ID, is.Events}]
			if !ok {
				continue
			}
			if lacks := c.lacks(p, now, then); lacks != nil {
				c.fail("causality: %s took in event %d of %s, and does not know yet of %s as it did: it has %s, and not %s",
					p.host.Name, is.Events, c.sim.name(is.ID), c.sim.name(lacks.ID), brief(now.Get(lacks.ID)), brief(lacks))
				return false
			}
		}
		return true
	})
}

// lacks returns a record of then that now falls behind, or nil.
func (c *checker) lacks(p *process, now, then directory.Directory) *directory.Record {
	lacks := c.lacksIn(p, now, then)
	if lacks != nil {
		lacks = c.lacksIn(p, p.mem.Told(), then) // a death that it waits with is known
	}
	return lacks
}

func (c *checker) lacksIn(p *process, now, then directory.Directory) *directory.Record {
	var lacks *directory.Record
	differ(then, now, directory.Prefix{}, func(under directory.Prefix) bool {
		for r := range then.Under(under) {
			if r.ID != p.host.ID && c.behind(p, now.Get(r.ID), r) {
				lacks = r
				return false
			}
		}
		return true
	})
	return lacks
}

// brief says what matters of a record.
func brief(r *directory.Record) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("instance %04x incarnation %d state %d events %x since %.3fs",
		r.Instance&0xffff, r.Incarnation, r.State, r.Events, r.Since.Sub(began()).Seconds())
}

// behind reports whether what a server has of another falls behind what somebody
// knew.
func (c *checker) behind(p *process, have, then *directory.Record) bool {
	if have == nil { // whose life is over need not be known to those who never met it
		return c.sim.runs(then)
	}
	out := func(r *directory.Record) int {
		if r.In() {
			return 0
		}
		return 1
	}
	switch order := cmp.Or(
		cmp.Compare(have.Incarnation, then.Incarnation),
		cmp.Compare(have.Instance, then.Instance),
		cmp.Compare(out(have), out(then))); {
	case order < 0: // nor how often the departed refuted their deaths
		return have.In() || c.sim.runs(then)
	case order == 0 && then.In(): // the departed have nothing more to say, unless they return
		return have.Events < then.Events
	}
	return false
}

// differ calls do with prefixes of few servers that hold all in which two
// directories differ, but for the departed, until it returns false.
func differ(a, b directory.Directory, under directory.Prefix, do func(directory.Prefix) bool) bool {
	const few = 32
	if under.Depth == 0 && a.Digest() == b.Digest() {
		return true
	}
	if under.Depth == 16 || max(a.Count(under), b.Count(under)) <= few {
		return do(under)
	}
	ofB := b.Children(under)
	for i, ofA := range a.Children(under) {
		if ofA != ofB[i] && !differ(a, b, under.Child(i), do) {
			return false
		}
	}
	return true
}
