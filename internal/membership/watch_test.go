package membership

import (
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

func TestObservers(t *testing.T) {
	r := newRig(t)
	for id := circuit.ServerID(10); id <= 200; id += 10 {
		if id != me {
			r.learn(rec(id), true)
		}
		for _, s := range r.ring { // it is mutual
			for _, o := range r.observers(s.ID) {
				if o == s || !slices.Contains(r.observers(o.ID), s) {
					t.Fatalf("%d observes %d, and not the other way round", o.ID, s.ID)
				}
			}
			if got, want := len(r.observers(s.ID)), min(len(r.ring)-1, 2*span); got != want {
				t.Fatalf("%d observers of %d in a circuit of %d", got, s.ID, len(r.ring))
			}
			if s != r.self && s.watched != slices.Contains(r.observers(me), s) {
				t.Fatalf("%d is observed: %v", s.ID, s.watched)
			}
		}
	}
	var ids []circuit.ServerID
	for _, o := range r.observers(10) {
		ids = append(ids, o.ID)
	}
	if want := []circuit.ServerID{20, 30, 40, 50, 170, 180, 190, 200}; !slices.Equal(ids, want) {
		t.Errorf("observers of 10: %v", ids)
	}
}

// TestPulses: in a second each, one observer after the other hears from us, and
// when it will again.
func TestPulses(t *testing.T) {
	ids := []circuit.ServerID{10, 20, 30, 40}
	r := circle(t, ids...)
	promised := make(map[uint64]time.Time)
	var times []time.Time
	for end := r.at.Add(60 * time.Second); r.at.Before(end); {
		r.at = r.Deadline()
		for _, id := range ids {
			r.all[id].expect = r.at.Add(time.Hour) // they are well
		}
		for _, o := range r.Step(r.at, Tick{}) {
			s, ok := o.(Send)
			if !ok {
				continue
			}
			msg, _ := decode(s.Data)
			if due := promised[s.Link]; !due.IsZero() && r.at.After(due.Add(5*time.Millisecond)) {
				t.Errorf("the pulse for %d came %v late", s.Link, r.at.Sub(due))
			}
			promised[s.Link] = r.at.Add(time.Duration(msg.next) * time.Millisecond)
			times = append(times, r.at)
		}
	}
	for i := 8; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < 900*time.Millisecond || gap > 1100*time.Millisecond {
			t.Errorf("%v between pulses %d and %d", gap, i-1, i)
		}
	}
}

// TestSilence follows the end of a host, as one of its three observers sees it.
func TestSilence(t *testing.T) {
	r := circle(t, 10, 60, 70)
	r.pulse(10, time.Hour)
	r.pulse(70, time.Hour)
	r.pulse(60, 2*time.Second)
	r.want(r.wait(2*time.Second+pulseGrace-time.Millisecond), "")
	r.want(r.wait(time.Millisecond), "10 70:alarm(60), 60:probe")
	r.want(r.wait(probeEvery), "60:probe, Redial 60")
	r.want(r.wait(probeEvery), "60:probe")
	r.pulse(10, time.Hour)
	r.pulse(70, time.Hour)
	r.want(r.wait(probeEvery), "10 70:vote(60@1 silent)")
	// Two of three are not enough; the last makes it suspect.
	r.want(r.receive(10, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent}), "")
	outs := r.receive(70, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent})
	if len(outs) == 0 {
		outs = r.wait(turnTime)
	}
	r.want(outs, "10 60 70:event(60@1 suspect)")
	for range 2 { // the votes stand as long as they are repeated
		r.receive(10, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent})
		r.receive(70, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent})
	}
	r.want(r.wait(refuteTime), "60:probe, Redial 60, 10 70:vote(60@1 silent)")
	r.want(r.wait(turnTime), "Left 60@1 dead, 10 60 70:event(60@1 dead)")
}

// TestHeardInTime: any word of a server ends the suspicion.
func TestHeardInTime(t *testing.T) {
	r := circle(t, 60, 70)
	r.pulse(70, time.Hour)
	r.pulse(60, time.Second)
	r.wait(time.Second + pulseGrace + 2*probeEvery)
	r.receive(60, message{kind: kindAck})
	r.want(r.wait(probeEvery), "")
	// Also after this server voted: it takes its vote back.
	r.pulse(60, 0)
	r.pulse(70, time.Hour)
	r.want(r.wait(pulseGrace+3*probeEvery), "70:alarm(60), 60 60 60:probe, Redial 60, 70:vote(60@1 silent)")
	r.want(r.receive(60, message{kind: kindAck}), "70:vote(60@1 none)")
}

func TestAlarm(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.receive(70, message{kind: kindAlarm, subject: 60}), "60:probe")
	r.want(r.receive(70, message{kind: kindAlarm, subject: 60}), "")
	r.want(r.receive(70, message{kind: kindAlarm, subject: 70}), "")
	r.want(r.receive(70, message{kind: kindAlarm, subject: me}), "")
	r.want(r.receive(70, message{kind: kindAlarm, subject: 999}), "")
	r.want(r.receive(60, message{kind: kindProbe}), "60:ack")
}

// TestCrash: a link breaks, and nobody listens any more. That needs no patience.
func TestCrash(t *testing.T) {
	r := circle(t, 60, 70, 80)
	r.want(r.Step(r.at, LinkDown{Link: 60, Lost: true}), "")
	r.want(r.Step(r.at, Unreached{ID: 60}), "")
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "70 80:vote(60@1 gone)")
	r.want(r.receive(70, message{kind: kindVote, subject: 60, incarnation: 1, verdict: gone}), "")
	r.want(r.receive(80, message{kind: kindVote, subject: 60, incarnation: 1, verdict: gone}), "Left 60@1 dead, 70 80:event(60@1 dead)")

	// One who is refused, but has a link that works, has been lied to.
	r = circle(t, 60, 70)
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "")
	// A link that this server ended itself is no sign of anything.
	r.want(r.Step(r.at, LinkDown{Link: 60}), "")
	r.pulse(70, time.Hour)
	r.want(r.wait(time.Second), "")
}

// TestAlone: with two servers there is one observer.
func TestAlone(t *testing.T) {
	r := circle(t, 60)
	r.Step(r.at, LinkDown{Link: 60, Lost: true})
	r.want(r.Step(r.at, Unreached{ID: 60, Gone: true}), "Left 60@1 dead")
}

// TestTally is about how many observers must agree.
func TestTally(t *testing.T) {
	ids := []circuit.ServerID{10, 20, 30, 40, 60, 70, 80, 90}
	for others := 1; others <= len(ids); others++ {
		for votes := 0; votes < others; votes++ {
			r := circle(t, ids[:others]...)
			s := r.all[10]
			r.find(s, silent)
			for _, id := range ids[1 : 1+votes] {
				r.receive(id, message{kind: kindVote, subject: 10, incarnation: 1, verdict: silent})
			}
			need := [...]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 6, 8: 6}[others]
			if _, agreed, sure := r.tally(s); agreed != (votes+1 >= need) || sure {
				t.Errorf("%d of %d observers: agreed %v, sure %v", votes+1, others, agreed, sure)
			}
		}
	}
	// Who is suspect, silent or out of reach does not count; who may be is asked.
	r := circle(t, 10, 20, 30, 40, 60)
	s := r.all[10]
	r.find(s, silent)
	r.learn(with(rec(20), 1, StateSuspect), true)
	r.find(r.all[30], silent)
	r.Step(r.at, LinkDown{Link: 40})
	r.at = r.at.Add(lookAround + time.Millisecond)
	r.now, r.deadline = r.at, time.Time{}
	if _, agreed, _ := r.tally(s); agreed || !r.all[60].checking {
		t.Errorf("one of two agreed: %v; the other is asked: %v", agreed, r.all[60].checking)
	}
	// A vote is for one incarnation, and for a time.
	r.receive(60, message{kind: kindVote, subject: 10, incarnation: 0, verdict: silent})
	if _, agreed, _ := r.tally(s); agreed {
		t.Error("a vote on an earlier incarnation counts")
	}
	r.receive(60, message{kind: kindVote, subject: 10, incarnation: 1, verdict: gone})
	if _, agreed, sure := r.tally(s); !agreed || sure {
		t.Errorf("two of two: agreed %v, sure %v", agreed, sure)
	}
	r.now = r.now.Add(voteTime)
	if _, agreed, _ := r.tally(s); agreed {
		t.Error("a vote counts for ever")
	}
}

func TestTurns(t *testing.T) {
	r := circle(t, 10, 20, 70)
	r.Step(r.at, LinkDown{Link: 70, Lost: true})
	r.Step(r.at, Unreached{ID: 70, Gone: true})
	r.receive(10, message{kind: kindVote, subject: 70, incarnation: 1, verdict: gone})
	r.want(r.receive(20, message{kind: kindVote, subject: 70, incarnation: 1, verdict: gone}), "") // 10 and 20 first
	r.want(r.wait(2*turnTime-time.Millisecond), "")
	r.want(r.wait(time.Millisecond), "Left 70@1 dead, 10 20:event(70@1 dead)")
}

// TestSelfDoubt: who hears nobody waits longer before it says that all others
// are dead.
func TestSelfDoubt(t *testing.T) {
	r := circle(t, 60, 70, 80)
	for _, id := range []circuit.ServerID{60, 70, 80} {
		r.pulse(id, 0)
	}
	r.wait(pulseGrace + 3*probeEvery + refuteTime + 200*time.Millisecond)
	if n := len(r.Members()); n != 4 {
		t.Fatalf("%d of 4 are left", n)
	}
	r.wait(doubtTime)
	if n := len(r.Members()); n != 1 {
		t.Fatalf("%d of 4 are left", n)
	}
}

// TestLate: a server that was frozen accuses nobody for a while.
func TestLate(t *testing.T) {
	r := circle(t, 60, 70)
	r.pulse(60, 5*time.Second)
	r.pulse(70, 5*time.Second)
	r.at = r.at.Add(time.Minute)
	r.want(r.Step(r.at, Tick{}), "")
	r.want(r.wait(lateTime-time.Millisecond), "")
	r.want(r.wait(2*time.Millisecond), "70:alarm(60), 60 70:probe, 60:alarm(70)")
	// What it thought before counts no more.
	r = circle(t, 60, 70)
	r.find(r.all[60], silent)
	r.receive(70, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent})
	r.at = r.at.Add(time.Minute)
	r.want(r.Step(r.at, Tick{}), "70:vote(60@1 none)")
	if r.all[60].verdict != none || len(r.all[60].votes) != 0 {
		t.Error("it still suspects")
	}
}

func TestStrayInputs(t *testing.T) {
	r := circle(t, 60)
	for _, in := range []Input{
		LinkDown{Link: 9}, LinkDown{Link: 9, Lost: true}, Unreached{ID: 9, Gone: true}, Unreached{ID: me, Gone: true},
		Replaced{ID: 9}, Replaced{ID: me, Old: uint64(me)}, Receive{Link: 9}, Receive{Link: 60}, Receive{Link: 60, Data: []byte{0xff}}, Tick{},
	} {
		r.want(r.Step(r.at, in), "")
	}
	for i := range 100 { // votes are bounded
		id := circuit.ServerID(1000 + i)
		r.Step(r.at, LinkUp{Link: uint64(id), ID: id})
		r.receive(id, message{kind: kindVote, subject: 60, incarnation: 1, verdict: silent})
	}
	if n := len(r.all[60].votes); n > 4*span {
		t.Errorf("%d votes are kept", n)
	}
}
