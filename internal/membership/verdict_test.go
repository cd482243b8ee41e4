package membership

import (
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// silence lets a check of a server come to its end, and returns what it said
// then.
func (r *rig) silence(id circuit.ServerID) []Output {
	r.t.Helper()
	w := r.watches[id]
	r.check(w)
	r.Step(r.at, Tick{})
	r.wait(time.Duration(probeTimes+w.lossy)*probeEvery - time.Nanosecond)
	said := r.wait(time.Nanosecond)
	if r.watches[id].verdict != silent {
		r.t.Fatalf("%d is not silent", id)
	}
	return said
}

// TestTurns: of those that observe a server, each waits for those before it, in
// an order that all know, but not for who has done its part, or is suspect.
func TestTurns(t *testing.T) {
	const subject = circuit.ServerID(60)
	ids := make([]circuit.ServerID, 40)
	for i := range ids {
		ids[i] = circuit.ServerID(100 + i)
	}
	r := circle(t, append(ids, subject)...)
	turns := make(map[time.Duration]circuit.ServerID)
	turn := func(self, accuser circuit.ServerID) time.Duration { // of another server, by what this one knows
		m := &Machine{self: r.dir.Get(self), dir: r.dir}
		return m.turn(&watch{id: subject, accuser: accuser})
	}
	observers := 0
	for id := range r.dir.All() {
		d := turn(id.ID, 0)
		if other, taken := turns[d]; taken && d < lastTurn && !observes(r.dir, id.ID, subject) {
			continue // they act last, together, if ever
		} else if taken && id.ID != subject {
			t.Errorf("%v and %v act at the same time, after %v", id.ID, other, d)
		}
		if observes(r.dir, id.ID, subject) {
			turns[d] = id.ID
			observers++
		}
	}
	if observers < 6 {
		t.Fatalf("%d observers", observers)
	}
	for n := range observers {
		if turns[time.Duration(n)*turnEvery] == 0 {
			t.Fatalf("nobody acts as number %d", n)
		}
	}
	first, second := turns[0], turns[turnEvery]
	if got := turn(second, first); got != 0 {
		t.Errorf("the second waits %v after the first has accused", got)
	}
	r.says(first, with(rec(first), 1, suspect))
	r.hears(second, second, with(rec(first), 1, suspect), false)
	if got := turn(second, 0); got != 0 {
		t.Errorf("the second waits %v for a suspect", got)
	}
}

// observes reports whether a server is next to another on a ring.
func observes(d directory.Directory, id, subject circuit.ServerID) bool {
	for ring := range directory.Rings {
		for r := range d.After(ring, subject) {
			if r.ID == id {
				return true
			}
			break
		}
		for r := range d.Before(ring, subject) {
			if r.ID == id {
				return true
			}
			break
		}
	}
	return false
}

// TestCrash: a link breaks, and nobody listens any more. That needs no patience,
// but two who say so.
func TestCrash(t *testing.T) {
	r := circle(t, 60, 70, 80)
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "70 80:event(60@1 suspect, gone)")
	r.want(r.wait(refuteTime/2), "") // not by itself
	r.want(r.hears(80, 80, with(rec(60), 1, suspect), true), "70:event(60@1 suspect, gone), Left 60@1 dead, 70 80:event(60@1 dead, gone)")

	// The other way round.
	r = circle(t, 60, 70, 80)
	r.want(r.hears(70, 70, with(rec(60), 1, suspect), true), "60 80:event(60@1 suspect, gone), 60:~probe")
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "Left 60@1 dead, 70 80:event(60@1 dead, gone)")

	// The same, told by a batch, and passed on as it was told.
	r = circle(t, 60, 70, 80)
	said := with(rec(60), 1, suspect)
	said.gone = true
	for _, data := range sent(r.tell(70, said), 80) {
		if msg, err := decode(data); err != nil || msg.kind == kindNews && !msg.records[0].gone {
			t.Errorf("the proof is not passed on: %v, %v", msg, err)
		}
	}
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "Left 60@1 dead, 70 80:event(60@1 dead, gone)")

	// One who has proof, and one who has not: that takes patience.
	r = circle(t, 60, 70, 80)
	r.hears(70, 70, with(rec(60), 1, suspect), false)
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.Step(r.at, Unreached{ID: 60, Gone: true})
	r.want(r.wait(refuteTime-time.Millisecond), "")
	r.want(r.wait(lastTurn+time.Millisecond), "Left 60@1 dead, 70 80:event(60@1 dead, gone)")

	// One who is refused, but has a link that works, has been lied to.
	r = circle(t, 60, 70)
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "")
	r.want(r.wait(time.Second), "")
}

// TestUnreached: to whom there is no link, and cannot be, that one is silent.
func TestUnreached(t *testing.T) {
	r := circle(t, 70, 80)
	r.tell(70, rec(60))
	r.want(r.Step(r.at, Unreached{ID: 60}), "70 80:event(60@1 suspect)")
	r.want(r.hears(70, 60, with(rec(60), 2, alive), false), "80:event(60@2 alive)")
	r.want(r.Step(r.at, Unreached{ID: 60}), "")
	r.want(r.wait(peaceFirst-time.Second), "")
	r = circle(t, 70, 80)
	r.tell(70, rec(60))
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "70 80:event(60@1 suspect)")
}

// TestTwo: with two servers, the one that is left decides.
func TestTwo(t *testing.T) {
	r := circle(t, 60)
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "Left 60@1 dead")

	r = circle(t, 60)
	r.want(r.silence(60), "60:event(60@1 suspect)")
	r.want(r.wait(refuteTime+lastTurn), "Left 60@1 dead, 60:event(60@1 dead)")
	r.want(r.wait(time.Minute), "")
}

// TestThree: of three servers two are gone; the one that is left decides once
// it has accused both.
func TestThree(t *testing.T) {
	r := circle(t, 60, 70)
	for _, id := range []circuit.ServerID{60, 70} {
		r.Step(r.at, LinkDown{Link: uint64(id), Lost: true})
	}
	r.Step(r.at, Unreached{ID: 60, Gone: true})
	r.want(r.wait(time.Second), "")
	if r.members() != 3 {
		t.Fatalf("%d of 3 are left", r.members())
	}
	r.Step(r.at, Unreached{ID: 70, Gone: true})
	r.wait(2 * lastTurn)
	if r.members() != 1 {
		t.Errorf("%d of 3 are left", r.members())
	}
}

// TestRefuted: a server that has refuted is left in peace by whoever accused it,
// longer each time, unless its link breaks, and unless nobody else could tell.
func TestRefuted(t *testing.T) {
	r := circle(t, 60, 70)
	accused := func() time.Time { // once nobody hears 60 any more
		r.silence(60)
		for r.watches[60].suspected.IsZero() {
			r.pulse(70, time.Minute)
			r.wait(20 * time.Millisecond)
		}
		return r.at
	}
	accused()
	for n, peace := range []time.Duration{peaceFirst, 2 * peaceFirst, 4 * peaceFirst, peaceMost, peaceMost} {
		r.says(60, with(rec(60), uint64(n)+2, alive))
		began := r.at
		if got := accused().Sub(began); got < peace || got > peace+time.Second {
			t.Errorf("after %d refutations it was left in peace for %v, want %v", n+1, got, peace)
		}
	}
	r.says(60, with(rec(60), 9, alive))
	for range 2*peaceMost/time.Second + 1 { // all is well for long enough
		r.pulse(60, time.Minute)
		r.pulse(70, time.Minute)
		r.wait(time.Second)
	}
	accused()
	r.says(60, with(rec(60), 10, alive))
	if got := r.watches[60].peace.Sub(r.at); got != peaceFirst {
		t.Errorf("it is left in peace for %v", got)
	}

	r = circle(t, 60, 70)
	r.silence(60)
	r.wait(lastTurn)
	r.says(60, with(rec(60), 2, alive))
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.pulse(70, time.Minute)
	r.want(r.wait(lostTime+lastTurn), "70:event(60@2 suspect), 70:~probe, 70:probe")

	r = circle(t, 60)
	r.silence(60)
	r.wait(lastTurn)
	r.says(60, with(rec(60), 2, alive))
	r.want(r.silence(60), "60:event(60@2 suspect)")
}

// TestAccusedOnce: an observer that agrees with an accusation does not repeat
// it; but two that accused at the same time may both condemn.
func TestAccusedOnce(t *testing.T) {
	r := circle(t, 60, 70, 80)
	r.silence(60)
	r.hears(70, 70, with(rec(60), 1, suspect), false)
	for _, id := range []circuit.ServerID{70, 80} {
		r.pulse(id, time.Minute)
	}
	r.want(r.wait(lastTurn), "")
	r = circle(t, 60, 70, 80)
	r.want(r.silence(60), "60 70 80:event(60@1 suspect)")
	for _, id := range []circuit.ServerID{70, 80} {
		r.pulse(id, time.Minute)
	}
	r.want(r.hears(70, 70, with(rec(60), 1, suspect), false), "60 80:event(60@1 suspect)")
	r.want(r.wait(refuteTime+lastTurn), "Left 60@1 dead, 60 70 80:event(60@1 dead)")
}

// TestSelfDoubt: who hears nobody waits longer before it says that all others
// are dead; so does who hears badly.
func TestSelfDoubt(t *testing.T) {
	r := circle(t, 60, 70, 80)
	for _, id := range []circuit.ServerID{60, 70, 80} {
		r.pulse(id, 0)
	}
	r.wait(pulseGrace + probeTimes*probeEvery + lastTurn + refuteTime + lastTurn + 100*time.Millisecond)
	if r.members() != 4 {
		t.Fatalf("%d of 4 are left", r.members())
	}
	r.wait(doubtTime)
	if r.members() != 1 {
		t.Fatalf("%d of 4 are left", r.members())
	}
	r = circle(t, 60)
	r.loss = .25
	r.silence(60)
	r.wait(lastTurn + refuteTime + lastTurn)
	if r.members() != 2 {
		t.Error("it trusts a network that loses much")
	}
	r.wait(2 * refuteTime)
	if r.members() != 1 {
		t.Error("it waits for ever")
	}
}

// TestLossy: who misses many pulses of servers that live does not take one dial
// that comes to nothing for silence.
func TestLossy(t *testing.T) {
	r := circle(t, 60, 70)
	for range 100 {
		for range 3 {
			r.pulse(70, time.Minute)
			r.pulse(60, time.Minute)
		}
		r.pulse(60, 0)
		r.wait(pulseGrace + probeEvery)
		r.datagram(60, sigAck, time.Minute)
	}
	if r.loss < .1 || r.loss > .25 {
		t.Errorf("a loss of %.3f", r.loss)
	}
	r.tell(70, rec(80))
	r.want(r.Step(r.at, Unreached{ID: 80}), "")
	r.want(r.wait(lastTurn), "")
	r.Step(r.at, Unreached{ID: 80})
	r.want(r.wait(lastTurn), "60 70:event(80@1 suspect)")
}

// TestLate: a server that was frozen accuses nobody for a while.
func TestLate(t *testing.T) {
	r := circle(t, 60, 70)
	r.at = r.at.Add(2 * time.Minute)
	r.want(r.Step(r.at, Tick{}), "")
	r.want(r.wait(lateTime-time.Millisecond), "")
	r.want(r.wait(2*time.Millisecond), "60 70:~probe, 60 70:probe")
	// What it thought before counts no more.
	r = circle(t, 60, 70)
	r.silence(60)
	r.wait(lastTurn)
	r.at = r.at.Add(2 * time.Minute)
	r.want(r.Step(r.at, Tick{}), "")
	if w := r.watches[60]; w.verdict != none || r.members() != 3 {
		t.Error("it still suspects")
	}
	// A check that was asked for comes to nothing, but for proof.
	r = circle(t, 60, 70)
	r.at = r.at.Add(2 * time.Minute)
	r.Step(r.at, Tick{})
	r.hears(70, 70, with(rec(60), 1, suspect), true)
	r.wait(2 * time.Second)
	if r.watches[60].verdict != none {
		t.Error("it accuses")
	}
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "Left 60@1 dead, 70:event(60@1 dead, gone)")
	// Nor do links that broke while it was frozen say anything before.
	r = circle(t, 60, 70)
	r.at = r.at.Add(2 * time.Minute)
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.pulse(70, time.Minute)
	r.want(r.wait(lateTime-time.Millisecond), "")
}

// TestThaw: a server that was frozen hears what was said of it, and refutes.
func TestThaw(t *testing.T) {
	r := circle(t, 60, 70)
	r.at = r.at.Add(20 * time.Second)
	r.number[60]++
	said := with(rec(me), 1, suspect)
	r.want(r.receive(60, message{kind: kindEvent, event: &event{origin: 60, number: r.number[60], record: &said}}),
		"70:event(50@1 suspect), Persist 2, 60 70:event(50@2 alive)")
	if len(r.deaths) != 1 {
		t.Errorf("%d deaths are counted", len(r.deaths))
	}
	r.want(r.says(70, with(rec(me), 1, dead)), "60:event(50@1 dead)")
}

// sent returns what is sent on a link.
func sent(outs []Output, link uint64) [][]byte {
	var list [][]byte
	for _, out := range outs {
		if s, ok := out.(Send); ok && s.Link == link {
			list = append(list, s.Data)
		}
	}
	return list
}
