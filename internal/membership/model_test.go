package membership

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// world is some machines with links between them, on which messages wait until
// they are delivered: in order on each way of a link, in any order otherwise.
type world struct {
	t     *rapid.T
	now   time.Time
	nodes []*node
	wires []*wire
	links uint64
}

// node is a machine and what it said.
type node struct {
	*Machine
	id   circuit.ServerID
	view map[circuit.ServerID]bool
	got  map[circuit.ServerID][]int // the broadcasts delivered, by origin
	seen map[circuit.ServerID]int   // how many there must have been, by what others say who had them
	owed map[circuit.ServerID]int   // from which on it must get them
	sent int
}

// wire is one way of a link.
type wire struct {
	num      uint64
	from, to *node
	queue    [][]byte
	back     *wire
}

// word is what is broadcast: who says it, and what it knew.
type word struct {
	By    int // its place among nodes
	N     int
	Heard map[string]int // broadcasts delivered, by origin
	Told  map[string][2]uint64
}

func newWorld(t *rapid.T) *world {
	return &world{t: t, now: time.Unix(1000, 0)}
}

func (w *world) add() *node {
	id := circuit.ServerID(len(w.nodes)+1) * 0x1111111111111111
	n := &node{id: id, view: make(map[circuit.ServerID]bool), got: make(map[circuit.ServerID][]int),
		seen: make(map[circuit.ServerID]int), owed: make(map[circuit.ServerID]int)}
	n.Machine = New(w.now, Config{
		Self: directory.Record{ID: id, Address: fmt.Sprintf("host%d:1", len(w.nodes)), Instance: uint64(id), Incarnation: 1},
		Rand: rand.New(rand.NewPCG(uint64(id), 7)),
	})
	w.nodes = append(w.nodes, n)
	return n
}

// step steps a machine, and checks what it says.
func (w *world) step(n *node, in Input) {
	w.do(n, n.Step(w.now, in))
	if n.Gaps() > 0 {
		w.t.Fatalf("a gap at %x", n.id)
	}
}

// do does what a machine says.
func (w *world) do(n *node, outs []Output) {
	for _, out := range outs {
		switch out := out.(type) {
		case Send:
			if i := slices.IndexFunc(w.wires, func(o *wire) bool { return o.num == out.Link && o.from == n }); i >= 0 {
				w.wires[i].queue = append(w.wires[i].queue, out.Data)
			}
		case Joined:
			if n.view[out.Record.ID] {
				w.t.Fatalf("%x joined twice at %x", out.Record.ID, n.id)
			}
			n.view[out.Record.ID] = true
		case Left:
			if !n.view[out.Record.ID] {
				w.t.Fatalf("%x left twice at %x", out.Record.ID, n.id)
			}
			delete(n.view, out.Record.ID)
		case Deliver:
			w.delivered(n, out)
		case Reset:
			w.t.Fatalf("%x gives a link up", n.id)
		}
	}
}

// delivered checks that a broadcast comes once, in order, and after all that its
// sender knew.
func (w *world) delivered(n *node, out Deliver) {
	var said word
	if err := json.Unmarshal(out.Data, &said); err != nil {
		w.t.Fatal(err)
	}
	if slices.Contains(n.got[out.Origin], said.N) {
		w.t.Fatalf("broadcast %d of %x came twice to %x", said.N, out.Origin, n.id)
	}
	if said.N < n.seen[out.Origin] {
		w.t.Fatalf("broadcast %d of %x came to %x after one that knew it", said.N, out.Origin, n.id)
	}
	for id, count := range said.Heard {
		n.seen[w.named(id).id] = max(n.seen[w.named(id).id], count)
	}
	told := n.Told()
	for id, rank := range said.Told {
		r := told.Get(w.named(id).id)
		if w.named(id) != n && (r == nil || r.Incarnation < rank[0] || r.Incarnation == rank[0] && uint64(r.State)/3 < rank[1]) {
			w.t.Fatalf("broadcast %d of %x came to %x before what it knew of %s: %v, %+v", said.N, out.Origin, n.id, id, rank, r)
		}
	}
	n.got[out.Origin] = append(n.got[out.Origin], said.N)
}

func (w *world) named(id string) *node {
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.id.String() == id })
	return w.nodes[i]
}

// broadcast lets a node broadcast what it knows.
func (w *world) broadcast(n *node) {
	said := word{N: n.sent, Heard: make(map[string]int), Told: make(map[string][2]uint64)}
	for id, list := range n.got {
		said.Heard[id.String()] = slices.Max(list) + 1
	}
	said.Heard[n.id.String()] = n.sent
	for r := range n.Told().Under(directory.Prefix{}) {
		said.Told[r.ID.String()] = [2]uint64{r.Incarnation, uint64(r.State) / 3}
	}
	data, err := json.Marshal(said)
	if err != nil {
		w.t.Fatal(err)
	}
	n.sent++
	w.step(n, Broadcast{Data: data})
}

// accuse lets a node say of another that it is suspect, or dead.
func (w *world) accuse(n, about *node, state directory.State) {
	r := n.dir.Get(about.id)
	if n == about || !n.born || r == nil || !r.In() || r.State >= state {
		return
	}
	said := event{record: &entry{Record: *r}, origin: n.id}
	said.record.State = state
	n.out = nil
	n.apply(r, said.record, &said)
	n.originate(said)
	w.do(n, n.complete())
	w.step(n, Tick{})
}

// linked returns the wire from a to b, or nil.
func (w *world) linked(a, b *node) *wire {
	if i := slices.IndexFunc(w.wires, func(o *wire) bool { return o.from == a && o.to == b }); i >= 0 {
		return w.wires[i]
	}
	return nil
}

func (w *world) link(a, b *node) {
	if a == b || w.linked(a, b) != nil {
		return
	}
	w.links++
	there, back := &wire{num: w.links, from: a, to: b}, &wire{num: w.links, from: b, to: a}
	there.back, back.back = back, there
	w.wires = append(w.wires, there, back)
	w.step(a, LinkUp{Link: w.links, ID: b.id, Instance: uint64(b.id)})
	w.step(b, LinkUp{Link: w.links, ID: a.id, Instance: uint64(a.id)})
}

// cut breaks a link, and what is under way on it is lost.
func (w *world) cut(o *wire) {
	w.wires = slices.DeleteFunc(w.wires, func(x *wire) bool { return x == o || x == o.back })
	w.step(o.from, LinkDown{Link: o.num})
	w.step(o.to, LinkDown{Link: o.num})
}

// deliver delivers the first message of one of the wires on which one waits.
func (w *world) deliver(choose func(n int) int) bool {
	var busy []*wire
	for _, o := range w.wires {
		if len(o.queue) > 0 {
			busy = append(busy, o)
		}
	}
	if len(busy) == 0 {
		return false
	}
	w.receive(busy[choose(len(busy))])
	return true
}

// receive delivers the first message that waits on a wire.
func (w *world) receive(o *wire) {
	data := o.queue[0]
	o.queue = o.queue[1:]
	w.step(o.to, Receive{Link: o.num, Data: data})
}

// drain delivers all that is said on a link, both ways.
func (w *world) drain(o *wire) {
	for len(o.queue)+len(o.back.queue) > 0 {
		if len(o.queue) == 0 {
			o = o.back
		}
		w.receive(o)
	}
}

// flush delivers all that waits, the longest wire first.
func (w *world) flush() {
	for n := 0; w.deliver(func(n int) int { return 0 }); n++ {
		if n > 1_000_000 {
			w.t.Fatal("it never ends")
		}
	}
}

// wait lets time pass, with Ticks when they are due, and all messages delivered.
func (w *world) wait(d time.Duration) {
	end := w.now.Add(d)
	for {
		w.flush()
		var next *node
		for _, n := range w.nodes {
			if t := n.Deadline(); !t.IsZero() && (next == nil || t.Before(next.Deadline())) {
				next = n
			}
		}
		if next == nil || next.Deadline().After(end) {
			w.now = end
			return
		}
		w.now = latest(w.now, next.Deadline())
		w.step(next, Tick{})
	}
}

// equal checks that all know the same.
func (w *world) equal() {
	var first *node
	for _, n := range w.nodes {
		switch {
		case first == nil:
			first = n
		case n.Directory().Digest() != first.Directory().Digest():
			w.t.Fatalf("%x and %x know different servers:\n%s\n%s", first.id, n.id, summary(first), summary(n))
		}
	}
}

func summary(n *node) string {
	text := ""
	for r := range n.Directory().Under(directory.Prefix{}) {
		text += fmt.Sprintf("%x@%d state %d events %x; ", r.ID, r.Incarnation, r.State, r.Events)
	}
	return text
}

// TestConverge: whatever is said, and in whatever order it comes, on links that
// come and go, all know the same in the end, and every broadcast has come to
// everybody who was there, once, in causal order.
func TestConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		any := func(name string) *node { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, name)] }
		trunk := make(map[*wire]bool) // links that stay: everybody is connected at all times
		join := func() {
			if len(w.nodes) < 7 {
				at := any("at")
				n := w.add()
				w.link(n, at)
				trunk[w.linked(n, at)] = true
			}
		}
		w.add()
		for range rapid.IntRange(1, 5).Draw(t, "servers") {
			join()
			w.flush()
		}
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			switch rapid.IntRange(0, 20).Draw(t, "what") {
			case 0:
				join()
			case 1, 2:
				w.link(any("from"), any("to"))
			case 3:
				if len(w.wires) > 0 {
					o := w.wires[rapid.IntRange(0, len(w.wires)-1).Draw(t, "cut")]
					if !trunk[o] && !trunk[o.back] {
						w.cut(o)
					}
				}
			case 4, 5, 6:
				if n := any("broadcaster"); n.born {
					w.broadcast(n)
				}
			case 7: // one wire is much faster than the others
				if len(w.wires) > 0 {
					o := w.wires[rapid.IntRange(0, len(w.wires)-1).Draw(t, "fast")]
					w.drain(o)
				}
			case 10:
				w.now = w.now.Add(10 * time.Millisecond)
			case 8, 11: // an accusation, or condemnation, which is refuted
				state := rapid.SampledFrom([]directory.State{suspect, dead}).Draw(t, "state")
				w.accuse(any("accuser"), any("accused"), state)
			case 9:
				w.flush()
				if !slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.refuteAt.IsZero() }) {
					w.equal() // unless somebody flaps
				}
				for _, n := range w.nodes {
					for _, o := range w.nodes {
						n.owed[o.id] = o.sent
					}
				}
			default:
				w.deliver(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "wire") })
			}
		}
		w.wait(3 * time.Minute)
		w.equal()
		for _, n := range w.nodes {
			if n.Directory().Len() != len(w.nodes) {
				t.Fatalf("%x knows %d of %d", n.id, n.Directory().Len(), len(w.nodes))
			}
			for _, o := range w.nodes {
				list := n.got[o.id] // must be the last ones, all that are owed among them
				first := o.sent - len(list)
				from, owed := n.owed[o.id]
				if o != n && (len(list) > 0 && (list[0] != first || !slices.IsSorted(list)) || owed && first > from) {
					t.Fatalf("%x got %v of the %d broadcasts of %x, and should from %d on", n.id, list, o.sent, o.id, from)
				}
			}
		}
	})
}
