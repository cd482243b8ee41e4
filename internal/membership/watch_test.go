package membership

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// TestPulses: one neighbour after the other hears from us, evenly spread, and
// when it will again; as a datagram, and nothing else is sent.
func TestPulses(t *testing.T) {
	ids := []circuit.ServerID{10, 20, 30, 40}
	r := circle(t, ids...)
	r.wait(10 * time.Second)
	for _, id := range ids {
		r.pulse(id, 2*time.Minute)
	}
	promised := make(map[uint64]time.Time)
	var times []time.Time
	steps := 0
	for end := r.at.Add(60 * time.Second); r.at.Before(end); steps++ {
		r.at = r.Deadline()
		for _, o := range r.Step(r.at, Tick{}) {
			out, ok := o.(SendDatagram)
			if !ok {
				t.Fatalf("%+v", o)
			}
			s, _ := decodeSignal(out.Data)
			if due := promised[out.Link]; !due.IsZero() && (r.at.After(due) || due.Sub(r.at) > nextUnit) {
				t.Errorf("the pulse for %d came %v late", out.Link, r.at.Sub(due))
			}
			promised[out.Link] = r.at.Add(s.next)
			times = append(times, r.at)
		}
	}
	if len(times) < 48 || len(times) > 53 || steps != len(times) {
		t.Errorf("%d pulses in 60 s, %d wake-ups", len(times), steps)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < 1100*time.Millisecond || gap > 1300*time.Millisecond {
			t.Errorf("%v between pulses %d and %d", gap, i-1, i)
		}
	}
}

// TestDatagrams: pulses go over the stream until the other end says that
// datagrams get through, and again when they do not any more.
func TestDatagrams(t *testing.T) {
	sent := func(outs []Output) (stream, datagrams int) {
		for _, o := range outs {
			switch o := o.(type) {
			case Send:
				if msg, _ := decode(o.Data); msg.kind == kindSignal && msg.signal.kind == sigPulse {
					stream++
				}
			case SendDatagram:
				datagrams++
			}
		}
		return stream, datagrams
	}
	r := newRig(t)
	if s, d := sent(r.link(60)); s != 1 || d != 1 {
		t.Errorf("at first: %d on the stream, %d datagrams", s, d)
	}
	r.number[60] = 1 << epochBits
	r.says(60, rec(60))
	for range 60 {
		r.receive(60, message{kind: kindSignal, signal: signal{kind: sigPulse, next: time.Minute}})
		if s, d := sent(r.wait(time.Second)); s < d {
			t.Fatalf("%d on the stream, %d datagrams", s, d)
		}
	}
	stream, datagrams := 0, 0
	for range 60 {
		r.receive(60, message{kind: kindSignal, signal: signal{kind: sigPulse, next: time.Minute}})
		s, d := sent(r.wait(time.Second))
		stream, datagrams = stream+s, datagrams+d
	}
	if stream < 48 || datagrams < 5 || datagrams > 8 {
		t.Errorf("while it says nothing: %d on the stream, %d datagrams", stream, datagrams)
	}
	r.receive(60, message{kind: kindDatagrams, on: true})
	r.receive(60, message{kind: kindSignal, signal: signal{kind: sigPulse, next: time.Minute}})
	if s, d := sent(r.wait(10 * time.Second)); s != 0 || d < 8 {
		t.Errorf("when they get through: %d on the stream, %d datagrams", s, d)
	}
	// The other way round, we are the one who says so.
	r.want(r.pulse(60, time.Second), "60:datagrams(true)")
	r.want(r.pulse(60, time.Second), "")
	for n := 1; n <= maxMissed; n++ {
		r.wait(time.Second + pulseGrace)
		want := ""
		if n == maxMissed {
			want = "60:datagrams(false)"
		}
		if got := brief(r.receive(60, message{kind: kindSignal, signal: signal{kind: sigAck, next: time.Second}})); got != want {
			t.Errorf("after %d lost: %q", n, got)
		}
	}
	r.want(r.datagram(60, sigProbe, time.Second), "60:datagrams(true), 60:~ack")
}

// TestTurnIsTakenOver: when a link ends, another neighbour looks at this server at
// the time at which its own would have.
func TestTurnIsTakenOver(t *testing.T) {
	ids := []circuit.ServerID{10, 60, 70, 80, 90, 100, 110, 120}
	r := circle(t, ids...)
	looks := make(map[uint64]time.Time) // when a neighbour expects to be told again
	see := func(outs []Output) {
		for _, out := range outs {
			if d, ok := out.(SendDatagram); ok {
				if s, err := decodeSignal(d.Data); err == nil && s.kind == sigPulse {
					looks[d.Link] = r.at.Add(s.next)
				}
			}
		}
	}
	pass := func(d time.Duration) { // the rig tells no times within a wait
		for end := r.at.Add(d); r.at.Before(end); {
			for _, id := range ids {
				r.pulse(id, time.Minute)
			}
			see(r.wait(10 * time.Millisecond))
		}
	}
	pass(30 * time.Second)
	for len(ids) > 3 {
		slices.SortFunc(ids, func(a, b circuit.ServerID) int { return looks[uint64(a)].Compare(looks[uint64(b)]) })
		gone := ids[1]
		ids = slices.Delete(ids, 1, 2)
		delete(looks, uint64(gone))
		see(r.Step(r.at, LinkDown{Link: uint64(gone)}))
		last := r.at
		for _, at := range slices.SortedFunc(maps.Values(looks), time.Time.Compare) {
			if gap := at.Sub(last); gap > pulseEvery*11/10 {
				t.Errorf("%d links: nobody looks at it for %v", len(ids), gap)
			}
			last = at
		}
		pass(3 * time.Second)
	}
}

// TestSilence follows the end of a host, as the first of its observers sees it.
func TestSilence(t *testing.T) {
	r := circle(t, 10, 60, 70)
	r.pulse(60, 2*time.Second)
	r.want(r.wait(2*time.Second+pulseGrace-time.Millisecond), "")
	r.want(r.wait(time.Millisecond), "60:~probe, 60:probe")
	r.want(r.wait(probeEvery), "60:~probe, 60:probe")
	r.pulse(10, time.Minute)
	r.pulse(70, time.Minute)
	r.want(r.wait(probeEvery), "60:~probe, 60:probe, Redial 60")
	r.want(r.wait(probeEvery), "10 60 70:event(60@1 suspect)")
	// Another must agree; if nobody does, this server decides after all.
	r.pulse(10, time.Minute)
	r.pulse(70, time.Minute)
	r.want(r.wait(refuteTime+aloneTime-time.Millisecond), "60:~probe, 60:probe, Redial 60")
	r.want(r.wait(lastTurn), "Left 60@1 dead, 10 60 70:event(60@1 dead)")
	if len(r.watches) != 2 || len(r.observed) != 2 || len(r.timers) != 2 {
		t.Errorf("%d watches, %d observed, %d timers", len(r.watches), len(r.observed), len(r.timers))
	}
}

// TestSecondObserver follows the end of a host, as another of its observers
// sees it.
func TestSecondObserver(t *testing.T) {
	r := circle(t, 10, 60, 70)
	r.want(r.hears(10, 10, with(rec(60), 1, suspect), false), "60 70:event(60@1 suspect), 60:~probe")
	r.pulse(10, time.Minute)
	r.pulse(70, time.Minute)
	r.want(r.wait(refuteTime-time.Millisecond), "60 60:~probe, 60 60:probe, Redial 60")
	r.want(r.wait(lastTurn+time.Millisecond), "Left 60@1 dead, 10 60 70:event(60@1 dead)")

	// If it hears the suspect, it says nothing.
	r = circle(t, 10, 60, 70)
	r.hears(10, 10, with(rec(60), 1, suspect), false)
	r.want(r.datagram(60, sigAck, time.Minute), "")
	r.want(r.wait(10*time.Second), "")

	// If it has no link, it has no opinion.
	r = circle(t, 10, 70)
	r.tell(10, rec(60))
	r.want(r.hears(10, 10, with(rec(60), 1, suspect), false), "70:event(60@1 suspect)")
	r.want(r.wait(10*time.Second), "")
}

// TestHeardInTime: any word of a server ends the check, and whoever was taken
// for silent for a moment gets more probes the next time.
func TestHeardInTime(t *testing.T) {
	r := circle(t, 60, 70)
	r.pulse(60, time.Second)
	r.wait(time.Second + pulseGrace + 2*probeEvery)
	r.want(r.says(60, with(rec(60), 1, alive)), "70:event(60@1 alive)")
	r.pulse(60, time.Second)
	r.want(r.wait(time.Second+pulseGrace+(probeTimes+moreProbes-2)*probeEvery), "60 60 60 60 60:~probe, 60 60 60 60 60:probe, Redial 60")
	r.receive(60, message{kind: kindSignal, signal: signal{kind: sigAck, next: time.Minute}})
	r.want(r.wait(10*time.Second), "")
	for range moreProbes { // it is forgotten after a few pulses in time
		r.pulse(60, time.Minute)
	}
	if got := r.watches[60].lossy; got != 0 {
		t.Errorf("still %d", got)
	}
}

// TestLookAround: when one server falls silent, those that have not been heard
// lately are checked, for they may have gone with it.
func TestLookAround(t *testing.T) {
	r := circle(t, 60, 70, 80)
	r.pulse(60, time.Second)
	r.wait(time.Second + pulseGrace + 2*probeEvery)
	r.pulse(80, time.Minute)
	r.want(r.wait(probeEvery), "60 70 80:event(60@1 suspect), 70:~probe, 70:probe")
}

func TestProbe(t *testing.T) {
	r := circle(t, 60)
	r.want(r.datagram(60, sigProbe, time.Minute), "60:~ack")
	r.want(r.receive(60, message{kind: kindSignal, signal: signal{kind: sigProbe, next: time.Minute}}), "60:ack")
	r.want(r.datagram(60, sigAck, time.Minute), "")
}

// TestLostLink: the check that follows when a link breaks leaves time for a
// fresh connection, and ends with it.
func TestLostLink(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.want(r.wait(lostTime-time.Millisecond), "")
	r.Step(r.at, LinkUp{Link: 61, ID: 60, Instance: 60})
	r.want(r.Step(r.at, Receive{Link: 61, Data: (&message{kind: kindRoot}).encode()}), "61:synced")
	r.want(r.wait(firstPulse-time.Millisecond), "")

	r = circle(t, 60, 70)
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.want(r.Step(r.at, Unreached{ID: 60}), "") // that was to be expected
	r.wait(lostTime - time.Millisecond)
	r.pulse(70, time.Minute)
	r.want(r.wait(lastTurn+time.Millisecond), "70:event(60@1 suspect)")

	// A link that somebody ended is no sign of anything.
	r = circle(t, 60, 70)
	r.want(r.Step(r.at, LinkDown{Link: 60}), "")
	r.pulse(70, time.Minute)
	r.want(r.wait(10*time.Second), "")
	if len(r.watches) != 1 {
		t.Errorf("%d watches", len(r.watches))
	}
}

// TestGuest: who is not in the circuit is not watched, until it is.
func TestGuest(t *testing.T) {
	r := circle(t, 60)
	r.link(70)
	r.want(r.wait(firstPulse+time.Second), "")
	if len(r.watches) != 1 {
		t.Errorf("%d watches", len(r.watches))
	}
	r.number[70] = 1 << epochBits
	r.says(70, rec(70))
	if w := r.watches[70]; w == nil || w.link == nil {
		t.Error("who has joined is not watched")
	}
	r.want(r.wait(firstPulse), "70:~probe, 70:probe")
	// A link to another instance than that in the circuit says nothing about it.
	r = circle(t, 60)
	r.tell(60, rec(70))
	r.Step(r.at, LinkUp{Link: 70, ID: 70, Instance: 71})
	if len(r.watches) != 1 {
		t.Errorf("%d watches", len(r.watches))
	}
}

// TestNoWakeUps: a pulse that comes in time moves the deadline on.
func TestNoWakeUps(t *testing.T) {
	r := circle(t, 60)
	for range 20 {
		r.pulse(60, time.Second)
		for r.Deadline().Sub(r.at) < time.Second {
			outs := r.Step(r.Deadline(), Tick{})
			if r.at = latest(r.at, r.now); len(outs) == 0 {
				t.Fatal("it woke up for nothing")
			}
			r.pulse(60, time.Second)
		}
		r.at = r.at.Add(time.Second)
	}
}

func TestStrayInputs(t *testing.T) {
	r := circle(t, 60)
	for _, in := range []Input{
		LinkDown{Link: 9}, LinkDown{Link: 9, Lost: true}, Unreached{ID: 9, Gone: true}, Unreached{ID: me, Gone: true},
		Replaced{ID: 9}, Replaced{ID: me, Old: uint64(me)}, Receive{Link: 9}, Receive{Link: 60}, Receive{Link: 60, Data: []byte{0xff}},
		ReceiveDatagram{Link: 9}, ReceiveDatagram{Link: 60}, ReceiveDatagram{Link: 60, Data: make([]byte, DatagramSize)}, Tick{},
	} {
		r.want(r.Step(r.at, in), "")
	}
}

// TestSize: what a Step costs, and what it keeps, does not depend on the size of
// the circuit.
func TestSize(t *testing.T) {
	steps := func(n int) float64 {
		d := circuitOf(n, me, 3)
		now := time.Unix(1000, 0)
		m := New(now, Config{Self: *d.Get(me), Directory: d, Rand: rand.New(rand.NewPCG(1, 2))})
		if m.Directory().Digest() != d.Digest() {
			t.Fatal("it is not as it was")
		}
		var near []*directory.Record
		for r := range d.After(0, me) {
			if near = append(near, r); len(near) == 8 {
				break
			}
		}
		for i, r := range near {
			m.Step(now, LinkUp{Link: uint64(i), ID: r.ID, Instance: r.Instance})
			m.Step(now, Receive{Link: uint64(i), Data: (&message{kind: kindRoot, digest: d.Digest(), count: uint64(n)}).encode()})
		}
		return testing.AllocsPerRun(100, func() {
			now = now.Add(time.Second)
			for i := range near {
				s := signal{kind: sigPulse, next: time.Minute, digest: d.Digest()}
				m.Step(now, ReceiveDatagram{Link: uint64(i), Data: s.encode()})
			}
			m.Step(now, Tick{})
		})
	}
	if few, many := steps(10), steps(10_000); many > few+8 {
		t.Errorf("%v allocations in a circuit of 10, %v in one of 10,000", few, many)
	}
}
