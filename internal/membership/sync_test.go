package membership

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// pair is two machines with one link, numbered 1 at both ends.
type pair struct {
	t     *testing.T
	now   time.Time
	ends  [2]*Machine
	queue [2][][]byte // to each
	msgs  [2]int      // sent to each
	bytes [2]int
	kinds map[string]int
}

// circuitOf returns a directory of many servers, an ID among them.
func circuitOf(n int, id circuit.ServerID, seed uint64) directory.Directory {
	rng := rand.New(rand.NewPCG(seed, 1))
	list := []*directory.Record{{ID: id, Address: "10.0.0.1:11022", Instance: uint64(id), Incarnation: 1, State: alive, Version: "v1.0.0", Events: 1 << epochBits}}
	for len(list) < n {
		list = append(list, &directory.Record{
			ID: circuit.ServerID(rng.Uint64()), Address: "10.0.0.2:11022", Instance: rng.Uint64(), Incarnation: 1, State: alive, Version: "v1.0.0",
			Events: 1 << epochBits,
		})
	}
	return directory.Of(list)
}

func newPair(t *testing.T, a, b directory.Directory) *pair {
	p := &pair{t: t, now: time.Unix(1000, 0), kinds: make(map[string]int)}
	for i, d := range []directory.Directory{a, b} {
		self := directory.Record{ID: circuit.ServerID(i + 1), Instance: uint64(i + 1), Incarnation: 1, Version: "v1.0.0"}
		p.ends[i] = New(p.now, Config{Self: self, Directory: d, Rand: rand.New(rand.NewPCG(1, uint64(i)))})
	}
	return p
}

func (p *pair) step(i int, in Input) []Output {
	outs := p.ends[i].Step(p.now, in)
	for _, out := range outs {
		switch out := out.(type) {
		case Send:
			msg, err := decode(out.Data)
			if err != nil {
				p.t.Fatal(err)
			}
			p.kinds[strings.Split(briefMessage(msg), "(")[0]]++
			p.queue[1-i] = append(p.queue[1-i], out.Data)
			p.msgs[1-i]++
			p.bytes[1-i] += len(out.Data)
			if len(out.Data) > maxMessage {
				p.t.Errorf("a message of %d bytes", len(out.Data))
			}
		case Reset:
			p.t.Fatal("a link is given up")
		}
	}
	return outs
}

func (p *pair) link() {
	p.step(0, LinkUp{Link: 1, ID: 2, Instance: 2})
	p.step(1, LinkUp{Link: 1, ID: 1, Instance: 1})
	p.run()
}

func (p *pair) run() {
	for len(p.queue[0])+len(p.queue[1]) > 0 {
		for i := range 2 {
			if len(p.queue[i]) > 0 {
				data := p.queue[i][0]
				p.queue[i] = p.queue[i][1:]
				p.step(i, Receive{Link: 1, Data: data})
			}
		}
	}
}

func (p *pair) equal() {
	p.t.Helper()
	a, b := p.ends[0].Directory(), p.ends[1].Directory()
	if a.Digest() != b.Digest() || a.Len() != b.Len() {
		p.t.Errorf("%d and %d servers", a.Len(), b.Len())
	}
}

// TestNewcomer: who knows nobody gets all, compressed, and is known by one event.
func TestNewcomer(t *testing.T) {
	for _, n := range []int{1, 2, 10, 500, 20000} {
		p := newPair(t, circuitOf(n, 1, 1), directory.Directory{})
		p.link()
		p.equal()
		if got := p.ends[1].Directory().Len(); got != n+1 {
			t.Errorf("it knows %d of %d", got, n+1)
		}
		if p.kinds["children"] > 0 || p.kinds["event"] != 1 || p.kinds["news"] > 0 {
			t.Errorf("%d servers: %v", n, p.kinds)
		}
		if each := p.bytes[1] / n; n > 100 && each > 40 {
			t.Errorf("%d bytes a server", each)
		}
	}
}

// TestDifference: of two large directories only what differs travels.
func TestDifference(t *testing.T) {
	const n = 20000
	base := circuitOf(n, 1, 1)
	b := base.With(&directory.Record{ID: 2, Instance: 2, Incarnation: 1, State: alive, Events: 1 << epochBits})
	p := newPair(t, b, b)
	p.link()
	if p.kinds["ask"] > 0 || p.msgs[0]+p.msgs[1] != 6 { // a Root, Synced and pulse each
		t.Errorf("of two that are equal: %v", p.kinds)
	}
	a := b
	for i := range 5 {
		a = a.With(&directory.Record{ID: circuit.ServerID(1000 + i), Instance: 9, Incarnation: 1, State: alive})
	}
	r := *b.Get(1)
	for only := range b.After(1, 77) {
		r = *only
		break
	}
	r.Incarnation, r.State, r.Since = 2, left, time.Unix(900, 0)
	p = newPair(t, a, b.With(&r))
	p.link()
	p.equal()
	if total := p.bytes[0] + p.bytes[1]; total > 50_000 {
		t.Errorf("%d bytes for 6 differences: %v", total, p.kinds)
	}
	if _, ok := p.ends[0].Lookup(r.ID); !ok || p.ends[0].Directory().Len() != n+1+5-1 {
		t.Errorf("%d servers", p.ends[0].Directory().Len())
	}
}

// TestHalves: the two sides of a partition learn all of each other.
func TestHalves(t *testing.T) {
	p := newPair(t, circuitOf(3000, 1, 1), circuitOf(2000, 2, 2))
	p.link()
	p.equal()
	if n := p.ends[0].Directory().Len(); n != 5000 {
		t.Errorf("%d servers", n)
	}
}

// TestHeld: what a neighbour says while its directory is being taken in comes
// after it.
func TestHeld(t *testing.T) {
	r := circle(t, 60)
	r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 70})
	r.number[70] = 1 << epochBits
	r.want(r.says(70, rec(70)), "")
	r.want(r.tell(70, with(rec(60), 1, left)), "")
	r.want(r.receive(70, message{kind: kindRoot, count: 3, digest: 9}), "70:ask(*)")
	r.want(r.says(70, with(rec(80), 1, left)), "")
	answer := message{kind: kindRecords, prefixes: []directory.Prefix{{}}, records: []entry{rec(80)}, more: true}
	r.want(r.receive(70, answer), "")
	answer.more, answer.records = false, []entry{rec(90)}
	r.want(r.receive(70, answer), "70:synced, Joined 80@1, Joined 90@1, 60:news(80@1 alive 90@1 alive), "+
		"Joined 70@1, 60:event(70@1 alive), Left 60@1 left, 60:news(60@1 left), 60:event(80@1 left), Left 80@1 left")
	if r.Gaps() != 0 {
		t.Errorf("%d gaps", r.Gaps())
	}
}

// TestCutOff: a link that breaks in the middle of a synchronisation changes
// nothing.
func TestCutOff(t *testing.T) {
	r := circle(t, 60)
	before := r.Directory().Digest()
	r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 70})
	r.receive(70, message{kind: kindRoot, count: 3, digest: 9})
	r.receive(70, message{kind: kindRecords, prefixes: []directory.Prefix{{}}, records: []entry{rec(80)}, more: true})
	r.says(70, rec(70))
	r.Step(r.at, LinkDown{Link: 70, Lost: true})
	r.want(r.wait(syncTime), "")
	if r.Directory().Digest() != before {
		t.Error("half a directory was taken in")
	}
}

// TestMissedBroadcast: who learns from a new neighbour of events that are under
// way to it gets those that are no records, and nothing twice.
func TestMissedBroadcast(t *testing.T) {
	r := circle(t, 60, 70)
	r.link(80)
	r.number[80] = 1 << epochBits
	r.says(80, rec(80))
	e := event{origin: 60, number: r.number[60] + 1, data: []byte("hear")}
	known := rec(60)
	known.Events = e.number
	r.want(r.Step(r.at, LinkUp{Link: 90, ID: 90, Instance: 90}), "90:root(4)")
	r.want(r.receive(90, message{kind: kindRoot, count: 4, digest: 9, recent: 1}), "90:ask(*)")
	r.want(r.receive(90, message{kind: kindRecords, prefixes: []directory.Prefix{{}}, records: []entry{known}}), "90:ask(past)")
	r.want(r.receive(90, message{kind: kindPast, events: []event{e, e}}),
		`90:synced, Deliver 60 "hear", 60 70 80:news(60@1 alive)more, 60 70 80:news("hear")`)
	r.want(r.receive(60, message{kind: kindEvent, event: &e}), "")
	// It can tell of it as well.
	r.Step(r.at, LinkUp{Link: 100, ID: 100, Instance: 100})
	r.want(r.receive(100, message{kind: kindAsk, past: true}), `100:past("hear")`)
	r.want(r.receive(100, message{kind: kindAsk, past: true}), "") // once
	r.receive(100, message{kind: kindSynced})
	r.want(r.receive(100, message{kind: kindAsk, past: true}), "")
}

func TestDigestsThatDiffer(t *testing.T) {
	r := circle(t, 60)
	differs := signal{kind: sigPulse, next: time.Minute, digest: 7, quiet: 20 * time.Second}
	pulse := func(s signal) []Output { return r.Step(r.at, ReceiveDatagram{Link: 60, Data: s.encode()}) }
	r.want(pulse(differs), "") // ours has just changed
	r.wait(resyncTime)
	early := differs
	early.quiet = 100 * time.Millisecond
	r.want(pulse(early), "") // theirs has just changed
	r.want(pulse(differs), "60:resync")
	r.want(pulse(differs), "") // not again so soon
	r.wait(resyncTime)
	r.want(r.pulse(60, time.Minute), "") // they are the same
	r.want(pulse(differs), "60:resync")
	r.want(r.receive(60, message{kind: kindRoot, count: 3, digest: 7}), "60:ask(*)")
	r.wait(resyncTime)
	r.want(pulse(differs), "") // it is being asked
	// And the other way round: a Root is sent again, but not as often as one likes.
	r.want(r.receive(60, message{kind: kindResync}), "60:root(2)")
	r.want(r.receive(60, message{kind: kindResync}), "")
}

// TestStall: a neighbour that does not answer is given up.
func TestStall(t *testing.T) {
	for name, last := range map[string]message{
		"no Root":    {kind: kindSynced},
		"no answer":  {kind: kindRoot, count: 3, digest: 9},
		"no records": {kind: kindRoot, count: 300, digest: 9},
	} {
		r := circle(t, 60)
		r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 70})
		r.receive(70, last)
		if got := brief(r.wait(syncTime)); got != "Reset 70" {
			t.Errorf("%s: %q", name, got)
		}
		r.want(r.receive(70, message{kind: kindSignal, signal: signal{kind: sigProbe}}), "")
		r.want(r.wait(time.Minute/2), "")
	}
}

// TestHostileSync: a neighbour that does not keep to the protocol is given up
// before it takes much.
func TestHostileSync(t *testing.T) {
	begin := func() *rig {
		r := circle(t, 60)
		r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 70})
		return r
	}
	root := message{kind: kindRoot, count: 1 << 60, digest: 9}
	gives := func(r *rig, outs []Output) bool { return strings.Contains(brief(outs), "Reset 70") }
	t.Run("holds without end", func(t *testing.T) {
		r := begin()
		for i := range maxHeld + 1 {
			if gives(r, r.tell(70, rec(70))) != (i == maxHeld) {
				t.Fatalf("after %d messages", i)
			}
		}
		r = begin()
		big := message{kind: kindEvent, event: &event{origin: 70, number: 1, data: make([]byte, MaxData)}}
		for i := 0; !gives(r, r.receive(70, big)); i++ {
			if i > maxHeldBytes/MaxData {
				t.Fatal("too much is held")
			}
		}
	})
	t.Run("digests without end", func(t *testing.T) {
		r := begin()
		r.learned(rec(80), true) // so that not all is asked for
		r.out = nil
		root := root
		root.count = 9
		outs := r.receive(70, root)
		for n := 0; !gives(r, outs); n++ {
			if n > maxAsks {
				t.Fatal("it asks on and on")
			}
			var next []directory.Prefix
			for _, o := range outs {
				if msg, _ := decode(o.(Send).Data); msg.kind == kindAsk {
					next = msg.prefixes
				}
			}
			outs = nil
			for _, p := range next {
				answer := message{kind: kindChildren, prefixes: []directory.Prefix{p}}
				for i := range answer.children {
					answer.children[i] = directory.Digest(n*16 + i + 1)
				}
				outs = append(outs, r.receive(70, answer)...)
			}
		}
	})
	t.Run("records without end", func(t *testing.T) {
		r := begin()
		r.receive(70, root)
		answer := message{kind: kindRecords, prefixes: []directory.Prefix{r.linkTo(70).pull.first()}, more: true}
		for i := range maxRecords {
			answer.records = append(answer.records, rec(circuit.ServerID(i)))
		}
		for n := 0; !gives(r, r.receive(70, answer)); n++ {
			if n > maxBatch/maxRecords {
				t.Fatal("all is taken")
			}
		}
		if l := r.linkTo(70); l.pull != nil || r.Directory().Len() != 2 {
			t.Error("something is kept")
		}
	})
	t.Run("news without end", func(t *testing.T) {
		r := circle(t, 60, 70)
		news := message{kind: kindNews, more: true}
		for i := range maxRecords {
			news.records = append(news.records, rec(circuit.ServerID(i)))
		}
		for n := 0; !gives(r, r.receive(70, news)); n++ {
			if n > maxBatch/maxRecords {
				t.Fatal("all is taken")
			}
		}
	})
	t.Run("what was not asked for", func(t *testing.T) {
		for _, msg := range []message{
			{kind: kindRecords, prefixes: []directory.Prefix{{Depth: 3}}}, {kind: kindRecords}, {kind: kindChildren}, {kind: kindPast}, root,
		} {
			r := begin()
			r.receive(70, root)
			if outs := r.receive(70, msg); !gives(r, outs) {
				t.Errorf("%s: %q", briefMessage(msg), brief(outs))
			}
		}
	})
	t.Run("asks without end", func(t *testing.T) {
		r := begin()
		r.receive(70, message{kind: kindRoot})
		ask := message{kind: kindAsk, whole: true, prefixes: make([]directory.Prefix, maxPrefixes)}
		for n := 0; !gives(r, r.receive(70, ask)); n++ {
			if n > 3 {
				t.Fatal("it answers on and on")
			}
		}
	})
}

// first returns one of the prefixes that were asked for.
func (p *pull) first() directory.Prefix {
	for prefix := range p.asked {
		return prefix
	}
	return directory.Prefix{}
}

// TestMemory: what is kept of a server, with all that belongs to it.
func TestMemory(t *testing.T) {
	const n = 20000
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	p := newPair(t, circuitOf(n, 1, 1), directory.Directory{})
	before := heap()
	p.link()
	each := float64(heap()-before) / n
	t.Logf("%.0f bytes a server", each)
	if each > 200 {
		t.Errorf("%.0f bytes are kept of a server", each)
	}
	runtime.KeepAlive(p)
}

// TestDepartedAreCompared: how far the events of the departed are known is
// knowledge, too: one of them may have more to say.
func TestDepartedAreCompared(t *testing.T) {
	base := circuitOf(100, 1, 1).With(&directory.Record{ID: 2, Instance: 2, Incarnation: 1, State: alive, Events: 1 << epochBits})
	gone := directory.Record{ID: 9, Instance: 9, Incarnation: 1, State: dead, Events: 5, Since: time.Unix(900, 0)}
	more := gone
	more.Events = 7
	p := newPair(t, base.With(&gone), base.With(&more))
	p.link()
	if r, _ := p.ends[0].Lookup(9); r.Events != 7 || p.ends[0].Directory().Len() != 101 {
		t.Errorf("%+v", r)
	}
	next := message{kind: kindEvent, event: &event{origin: 9, number: 8, data: []byte("hear")}}
	if outs := p.step(0, Receive{Link: 1, Data: next.encode()}); p.ends[0].Gaps() != 0 || len(outs) != 1 {
		t.Errorf("%d gaps, %v", p.ends[0].Gaps(), outs)
	}
}

// TestNewcomerBetween: a server that has not joined yet passes on the broadcasts
// that come with what it learns, although they are not meant for it: for its
// other neighbours they are.
func TestNewcomerBetween(t *testing.T) {
	r := newRig(t)
	r.Step(r.at, LinkUp{Link: 60, ID: 60, Instance: 60})
	r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 70})
	r.receive(60, message{kind: kindRoot, count: 9, digest: 9, recent: 1})
	known := rec(60)
	known.Events = 1<<epochBits + 2
	said := event{origin: 60, number: known.Events, data: []byte("hear")}
	r.want(r.receive(60, message{kind: kindRecords, prefixes: make([]prefix, 1), records: []entry{known}}), "60:ask(past)")
	r.want(r.receive(60, message{kind: kindPast, events: []event{said}}),
		`60:synced, Joined 60@1, 70:news(60@1 alive)more, 70:news("hear"), 60 70:event(50@1 alive)`)
}
