package overlay

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// world is a network of machines under a virtual clock, and an oracle in place
// of the membership: it tells all servers who is there, in one order, each after
// a while of its own.
type world struct {
	fail  func(format string, args ...any)
	rng   *rand.Rand
	now   time.Time
	queue events
	seq   int
	nodes []*node // by number; those that are no more stay
	log   []change
	dir   directory.Directory // after the last change
	// declare is how long after its end a server is declared dead; never if 0.
	declare time.Duration
	onLink  func() // called whenever links change
}

// change is a step of the oracle's story.
type change struct {
	record directory.Record
	dir    directory.Directory // after it
}

// node is a process.
type node struct {
	*Machine
	w       *world
	self    Peer
	running bool
	off     bool // its host is: nothing gets in or out, and nobody is told
	known   int  // how much of the log it knows
	member  bool
	links   map[uint64]*wire
	last    uint64
	dialled int       // Connects so far
	wakes   int       // Ticks at the same instant
	woken   time.Time // that instant
}

// wire is one end of a connection.
type wire struct {
	node   *node
	peer   *wire
	link   uint64
	closed bool
	free   time.Time // when what is sent next may arrive
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].seq, h[j].seq)) < 0
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newWorld(t *testing.T, seed uint64) *world {
	fail := func(format string, args ...any) { t.Helper(); t.Fatalf(format, args...) }
	return &world{fail: fail, rng: rand.New(rand.NewPCG(seed, 3)), now: time.Unix(1000, 0), declare: time.Second}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(d), w.seq, do})
}

// delay is how long a message takes.
func (w *world) delay() time.Duration {
	return jitter(w.rng, 100*time.Microsecond, 2*time.Millisecond)
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		w.now = latest(w.now, e.at)
		e.do()
	}
	w.now = end
}

// start starts a process that knows some addresses.
func (w *world) start(self Peer, seeds []Peer, remembered ...Peer) *node {
	n := &node{w: w, self: self, running: true, links: make(map[uint64]*wire)}
	n.Machine = New(w.now, Config{Self: self, Remembered: remembered, Rand: rand.New(rand.NewPCG(uint64(self.ID), self.Instance))})
	w.nodes = append(w.nodes, n)
	if w.dir.Len() == 0 && len(seeds)+len(remembered) == 0 {
		w.admit(n)
	}
	for _, s := range seeds {
		n.step(Seed{Address: s.Address})
	}
	n.wake()
	return n
}

// add starts a server with a random ID that knows some addresses.
func (w *world) add(seeds ...Peer) *node {
	id := circuit.ServerID(w.rng.Uint64())
	return w.start(Peer{ID: id, Address: fmt.Sprintf("host%d:1", id), Instance: w.rng.Uint64()}, seeds)
}

func (w *world) alive() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return !n.running || n.off })
}

// members leaves out those that are alive and have not met anybody.
func (w *world) members() []*node {
	return slices.DeleteFunc(w.alive(), func(n *node) bool { return !n.member })
}

func (w *world) at(address string) *node {
	var last *node
	for _, n := range w.nodes {
		if n.self.Address == address {
			last = n
		}
	}
	return last
}

// step steps the machine and does what it says.
func (n *node) step(in Input) {
	if !n.running || n.off {
		return
	}
	outs := n.Step(n.w.now, in)
	if len(outs) > 600 {
		n.w.fail("one step makes a machine say %d things", len(outs))
	}
	for _, out := range outs {
		n.do(out)
	}
	n.wake()
}

// wake has the next Tick come in time.
func (n *node) wake() {
	at := n.Deadline()
	if at.IsZero() {
		return
	}
	n.w.after(max(0, at.Sub(n.w.now)), func() {
		if d := n.Deadline(); !n.running || n.off || d.IsZero() || d.After(n.w.now) {
			return
		}
		if n.woken.Equal(n.w.now) {
			n.wakes++
		} else {
			n.woken, n.wakes = n.w.now, 0
		}
		if n.wakes > 20 {
			n.w.fail("the deadline does not move on")
		}
		n.step(Tick{})
	})
}

func (n *node) do(out Output) {
	w := n.w
	switch out := out.(type) {
	case Connect:
		n.dialled++
		w.connect(n, out)
	case Disconnect:
		if e := n.links[out.Link]; e != nil {
			n.shut(e)
		}
	case Send:
		if e := n.links[out.Link]; e != nil {
			e.send(func(to *wire) { to.node.step(Receive{Link: to.link, Data: out.Data}) })
		}
	case Up:
		w.linked(n, out)
	case Down:
		w.changed()
	case Replaced:
		if r := w.dir.Get(out.ID); r != nil && r.In() && r.Instance == out.Old {
			w.tell(*r, directory.Dead)
		}
	case Taken:
		w.fail("%v was told that its ID is taken", n.self.ID)
	}
}

// open makes an end of a connection.
func (n *node) open() *wire {
	n.last++
	e := &wire{node: n, link: n.last}
	n.links[n.last] = e
	return e
}

// send sends something to the other end, in order.
func (e *wire) send(arrive func(to *wire)) {
	w := e.node.w
	e.free = latest(e.free, w.now.Add(w.delay()))
	w.after(e.free.Sub(w.now), func() {
		if to := e.peer; !e.node.off && !to.node.off && to.node.running && !to.closed {
			arrive(to)
		}
	})
}

// shut closes an end; the other hears of it.
func (n *node) shut(e *wire) {
	e.closed = true
	delete(n.links, e.link)
	e.send(func(to *wire) {
		to.closed = true
		delete(to.node.links, to.link)
		to.node.step(LinkDown{Link: to.link})
	})
}

func (w *world) connect(n *node, c Connect) {
	over := false
	end := func(in Input) {
		if !over {
			over = true
			n.step(in)
		}
	}
	fails := func(after time.Duration, why Failure) {
		w.after(after, func() { end(ConnectFailed{Dial: c.Dial, Failure: why}) })
	}
	fails(5*time.Second, Unreachable)
	to := w.at(c.Address)
	if to == nil {
		return
	}
	w.after(w.delay(), func() {
		switch {
		case to.off || n.off:
		case !to.running:
			fails(w.delay(), Refused)
		case c.Want != 0 && c.Want != to.self.ID:
			fails(w.delay(), WrongServer)
		default:
			theirs, ours := to.open(), n.open()
			theirs.peer, ours.peer = ours, theirs
			theirs.send(func(e *wire) { end(LinkUp{Link: e.link, Dial: c.Dial, Peer: to.self}) })
			to.step(LinkUp{Link: theirs.link, Peer: n.self})
		}
	})
}

// linked is what the membership does with a new link.
func (w *world) linked(n *node, up Up) {
	w.changed()
	w.meet(n, w.at(up.Peer.Address))
}

// meet lets one of two servers with a link be a member if the other is.
func (w *world) meet(a, b *node) {
	if a.member == b.member {
		return
	}
	w.after(2*w.delay(), func() {
		for _, n := range []*node{a, b} {
			if a.member != b.member && !n.member && n.running && !n.off && !n.leaving && slices.Contains(n.Neighbours(), a.self.ID+b.self.ID-n.self.ID) {
				w.admit(n)
			}
		}
	})
}

// admit lets a server be in the circuit: it learns who is there, and they learn
// of it.
func (w *world) admit(n *node) {
	if r := w.dir.Get(n.self.ID); r != nil && r.In() {
		w.tell(*r, directory.Dead) // its earlier life
	}
	n.member = true
	w.tell(directory.Record{ID: n.self.ID, Address: n.self.Address, Instance: n.self.Instance}, directory.Alive)
	n.known = len(w.log)
	for r := range w.dir.All() {
		n.step(MemberUp{Peer: Peer{ID: r.ID, Address: r.Address, Instance: r.Instance}, Directory: w.dir})
	}
	for _, o := range w.alive() {
		if slices.Contains(n.Neighbours(), o.self.ID) {
			w.meet(n, o)
		}
	}
}

// tell has everybody know of a change, sooner or later.
func (w *world) tell(r directory.Record, state directory.State) {
	r.State = state
	w.dir = w.dir.With(&r)
	w.log = append(w.log, change{r, w.dir})
	upTo := len(w.log)
	for _, n := range w.nodes {
		if n.member {
			w.after(jitter(w.rng, time.Millisecond, 50*time.Millisecond), func() { n.learn(upTo) })
		}
	}
	w.changed()
}

// learn tells a server the story up to some point.
func (n *node) learn(upTo int) {
	for ; n.known < upTo; n.known++ {
		c := n.w.log[n.known]
		p := Peer{ID: c.record.ID, Address: c.record.Address, Instance: c.record.Instance}
		if c.record.In() {
			n.step(MemberUp{Peer: p, Directory: c.dir})
		} else {
			n.step(MemberDown{Peer: p, Failed: c.record.State == directory.Dead, Directory: c.dir})
		}
	}
}

// crash ends a process. Its connections break.
func (w *world) crash(n *node) {
	n.running = false
	for _, e := range n.sorted() {
		n.shut(e)
	}
	w.bury(n)
}

// vanish ends a host. Nobody is told; its neighbours' membership doubts it.
func (w *world) vanish(n *node) {
	n.off = true
	for _, e := range n.sorted() {
		w.after(jitter(w.rng, 500*time.Millisecond, time.Second), func() { e.peer.node.step(Redial{ID: n.self.ID}) })
	}
	w.bury(n)
}

func (n *node) sorted() []*wire {
	var ends []*wire
	for link := range n.last {
		if e := n.links[link+1]; e != nil {
			ends = append(ends, e)
		}
	}
	return ends
}

// bury declares a server dead.
func (w *world) bury(n *node) {
	w.changed()
	if w.declare == 0 {
		return
	}
	w.after(jitter(w.rng, w.declare/2, w.declare), func() {
		if r := w.dir.Get(n.self.ID); r != nil && r.In() && r.Instance == n.self.Instance {
			w.tell(*r, directory.Dead)
		}
	})
}

// leave has a server leave as it should.
func (w *world) leave(n *node) {
	n.step(Leave{})
	if r := w.dir.Get(n.self.ID); r != nil && r.In() && r.Instance == n.self.Instance {
		w.tell(*r, directory.Left)
	}
	w.after(time.Second, func() { n.running = false })
}

func (w *world) changed() {
	if w.onLink != nil {
		w.onLink()
	}
}

// islands returns in how many parts the members that run are, by the links that
// at least one end uses.
func (w *world) islands() int {
	edges := make(map[circuit.ServerID][]circuit.ServerID)
	for _, n := range w.members() {
		for _, o := range n.Neighbours() {
			edges[n.self.ID] = append(edges[n.self.ID], o)
			edges[o] = append(edges[o], n.self.ID)
		}
	}
	seen := make(map[circuit.ServerID]bool)
	count := 0
	for _, n := range w.members() {
		if !seen[n.self.ID] {
			count++
		}
		for queue := []circuit.ServerID{n.self.ID}; len(queue) > 0; queue = queue[1:] {
			if id := queue[0]; !seen[id] && !w.ended(id) {
				seen[id] = true
				queue = append(queue, edges[id]...)
			}
		}
	}
	return count
}

// ended reports whether no process of a server is in the circuit any more.
func (w *world) ended(id circuit.ServerID) bool {
	return !slices.ContainsFunc(w.members(), func(n *node) bool { return n.self.ID == id })
}

// check compares the links of all servers with what their rings say.
func (w *world) check() {
	for _, n := range w.members() {
		want := ringNeighbours(w.dir, n.self.ID)
		if got := n.Neighbours(); !slices.Equal(got, want) {
			w.fail("%v has links to %v, and its rings say %v", n.self.ID, got, want)
		}
		if len(n.Machine.links) != len(want) || len(n.Machine.peers) != len(want) {
			w.fail("%v holds %d links and %d peers for %d neighbours", n.self.ID, len(n.Machine.links), len(n.Machine.peers), len(want))
		}
	}
	if n := w.islands(); n > 1 {
		w.fail("%d islands", n)
	}
}

// ringNeighbours returns with whom a server has links when all is quiet.
func ringNeighbours(dir directory.Directory, id circuit.ServerID) []circuit.ServerID {
	var list []circuit.ServerID
	if dir.Len() <= everybody+1 {
		for r := range dir.After(0, id) {
			list = append(list, r.ID)
		}
	} else {
		for ring := range directory.Rings {
			for r := range dir.After(ring, id) {
				list = append(list, r.ID)
				break
			}
			for r := range dir.Before(ring, id) {
				list = append(list, r.ID)
				break
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
