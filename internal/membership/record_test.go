package membership

import (
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

func TestCompare(t *testing.T) {
	life := func(incarnation, instance uint64, s State) entry {
		e := with(rec(1), incarnation, s)
		e.Instance = instance
		return e
	}
	order := []entry{ // each prevails over those before it
		life(1, 5, StateAlive), life(1, 5, StateSuspect), life(1, 5, StateDead), life(1, 5, StateLeft),
		life(1, 6, StateAlive), life(2, 5, StateAlive), life(2, 5, StateDead), life(3, 1, StateAlive),
	}
	for i := range order {
		for j := range order {
			if got, want := compare(&order[i], &order[j]), max(-1, min(1, i-j)); got != want {
				t.Errorf("%d against %d: %d, want %d", i, j, got, want)
			}
		}
	}
}

// TestLearn is about what a record does to what is known already.
func TestLearn(t *testing.T) {
	next := with(rec(60), 2, StateAlive)
	next.Instance = 61
	suspect, dead := with(rec(60), 1, StateSuspect), with(rec(60), 1, StateDead)
	left, again := with(rec(60), 1, StateLeft), with(rec(60), 2, StateAlive)
	for _, c := range []struct {
		name   string
		have   []entry // told before, as events
		event  entry
		said   string // by an event
		byList string // by a directory, where that differs
		state  State  // afterwards
	}{
		{"a newcomer", nil, rec(60), "Joined 60@1", "", StateAlive},
		{"a suspect newcomer", nil, suspect, "Joined 60@1", "", StateSuspect},
		{"one that was before our time", nil, dead, "", "", StateDead},
		{"again", []entry{rec(60)}, rec(60), "", "", StateAlive},
		{"a suspicion", []entry{rec(60)}, suspect, "", "", StateSuspect},
		{"a refutation", []entry{suspect}, again, "", "", StateAlive},
		{"an old suspicion", []entry{again}, suspect, "", "", StateAlive},
		{"a departure", []entry{rec(60)}, left, "Left 60@1 left", "", StateLeft},
		{"a death", []entry{rec(60)}, dead, "Left 60@1 dead", "none", StateDead},
		{"a death of a suspect", []entry{suspect}, dead, "Left 60@1 dead", "none", StateDead},
		{"an old death", []entry{again}, dead, "", "", StateAlive},
		{"death after departure", []entry{left}, dead, "", "", StateLeft},
		{"a return", []entry{rec(60), dead}, again, "Joined 60@2", "", StateAlive},
		{"a new life", []entry{rec(60)}, next, "Left 60@1 dead, Joined 60@2", "", StateAlive},
		{"a new life after death", []entry{rec(60), dead}, next, "Joined 60@2", "", StateAlive},
		{"the death of a new life", []entry{rec(60)}, func() entry { e := next; e.State = StateDead; return e }(), "Left 60@1 dead", "", StateDead},
		{"nonsense", []entry{rec(60)}, with(rec(60), 9, 77), "", "", StateAlive},
	} {
		for _, event := range []bool{true, false} {
			r := newRig(t)
			for _, e := range c.have {
				r.learn(e, true)
			}
			r.out = nil
			news := r.learn(c.event, event)
			want, state := c.said, c.state
			if !event && c.byList == "none" {
				want, state = "", c.have[len(c.have)-1].State
			}
			if got := brief(r.out); got != want {
				t.Errorf("%s (event: %v): said %q, want %q", c.name, event, got, want)
			}
			s, _ := r.Lookup(60)
			if s.State != state {
				t.Errorf("%s (event: %v): state %d, want %d", c.name, event, s.State, state)
			}
			if r.learn(c.event, event) && news {
				t.Errorf("%s (event: %v): it is news twice", c.name, event)
			}
			inView := slices.ContainsFunc(r.Members(), func(m Record) bool { return m.ID == 60 })
			if inView != (state == StateAlive || state == StateSuspect) {
				t.Errorf("%s (event: %v): in the view: %v", c.name, event, inView)
			}
		}
	}
}

// TestDoom: a death that a directory tells of waits for a refutation.
func TestDoom(t *testing.T) {
	dead, again := with(rec(60), 1, StateDead), with(rec(60), 2, StateAlive)
	t.Run("refuted", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.want(r.tell(70, dead), "60:dir(60@1 dead)") // the doomed one, too, hears it
		r.want(r.tell(60, again), "70:dir(60@2 alive)")
		r.pulse(60, time.Minute)
		r.pulse(70, time.Minute)
		r.want(r.wait(4*time.Second), "")
	})
	t.Run("not refuted", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.pulse(60, time.Minute)
		r.pulse(70, time.Minute)
		r.tell(70, dead)
		r.want(r.wait(doomTime-time.Millisecond), "")
		r.want(r.wait(time.Millisecond), "Left 60@1 dead")
	})
	t.Run("an event follows", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.tell(70, dead)
		r.want(r.receive(70, message{kind: kindEvent, origin: 70, seq: 1, record: &dead}), "60:event(60@1 dead), Left 60@1 dead")
	})
}

// TestLearnSelf is about what others say of this server.
func TestLearnSelf(t *testing.T) {
	other := with(rec(me), 5, StateAlive)
	other.Instance = 99
	elsewhere := other
	elsewhere.Address = "elsewhere:1"
	old := with(other, 0, StateAlive)
	for _, c := range []struct {
		name string
		rec  entry
		want string
	}{
		{"alive", with(rec(me), 1, StateAlive), ""},
		{"suspect", with(rec(me), 1, StateSuspect), "Persist 2, 60:event(50@2 alive)"},
		{"dead", with(rec(me), 3, StateDead), "Persist 4, 60:event(50@4 alive)"},
		{"left, and back", with(rec(me), 1, StateLeft), "Persist 2, 60:event(50@2 alive)"},
		{"an earlier life, restored from a backup", other, "Persist 6, 60:event(50@6 alive)"},
		{"an earlier life elsewhere, dead", with(elsewhere, 5, StateDead), "Persist 6, 60:event(50@6 alive)"},
		{"another process, alive", elsewhere, "Taken elsewhere:1"},
		{"an earlier life", old, ""},
	} {
		r := circle(t, 60)
		if got := brief(r.tell(60, c.rec)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := brief(r.tell(60, c.rec)); got != "" {
			t.Errorf("%s, again: %q", c.name, got)
		}
	}
}

func TestFlapIsHeldDown(t *testing.T) {
	r := circle(t, 60)
	for i := range uint64(flapDeaths) {
		if got := brief(r.tell(60, with(rec(me), 1+i, StateDead))); got == "" {
			t.Fatalf("the refutation of death %d was held back", i+1)
		}
	}
	r.pulse(60, time.Hour)
	wait := flapHold
	for i := uint64(flapDeaths); i < 6; i++ {
		r.want(r.tell(60, with(rec(me), 1+i, StateDead)), "")
		if got := r.refuteAt.Sub(r.at); got != min(wait, flapMost) {
			t.Errorf("death %d: held back for %v", i+1, got)
		}
		r.pulse(60, time.Hour)
		r.wait(wait)
		if r.self.Incarnation != 2+i {
			t.Errorf("death %d was not refuted: incarnation %d", i+1, r.self.Incarnation)
		}
		wait *= 2
	}
}

func TestDepartedAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range MaxDeparted + 100 {
		r.learn(with(rec(circuit.ServerID(1000+i)), 1, StateDead), false)
	}
	if n := len(r.all); n != MaxDeparted+1 {
		t.Errorf("%d records", n)
	}
	if _, ok := r.Lookup(1000); ok {
		t.Error("the first departure is remembered")
	}
	if _, ok := r.Lookup(1000 + MaxDeparted + 99); !ok {
		t.Error("the last departure is forgotten")
	}
	r.at = r.at.Add(KeepDeparted + time.Second)
	r.Step(r.at, Tick{})
	if _, ok := r.Lookup(1000 + MaxDeparted + 99); ok {
		t.Error("a departure is remembered for more than a day")
	}
	if n := len(r.Directory()); n != 1 {
		t.Errorf("%d are told of", n)
	}
	old := with(rec(5), 1, StateLeft)
	old.ago = uint64(KeepDeparted / time.Second)
	if r.learn(old, false); r.all[5] != nil {
		t.Error("a departure a day ago is news")
	}
}

func TestDepartureTime(t *testing.T) {
	r := newRig(t)
	e := with(rec(5), 1, StateLeft)
	e.ago = 90
	r.tell(60) // no such link: nothing happens
	r.learn(e, false)
	if got, _ := r.Lookup(5); r.at.Sub(got.Since) != 90*time.Second {
		t.Errorf("left %v ago", r.at.Sub(got.Since))
	}
}

func TestDigest(t *testing.T) {
	a, b, c := newRig(t), newRig(t), newRig(t)
	ids := []circuit.ServerID{3, 9, 60, 70, 1 << 63}
	for i, id := range ids {
		a.learn(rec(id), true)
		b.learn(rec(ids[len(ids)-1-i]), true)
		c.learn(with(rec(id), 2, StateAlive), true)
	}
	if a.digest != b.digest {
		t.Error("the digest depends on the order")
	}
	if a.digest == c.digest {
		t.Error("the digest does not depend on incarnations")
	}
	before := a.digest
	a.learn(with(rec(9), 1, StateSuspect), true)
	if a.digest != before {
		t.Error("a suspicion changes the digest")
	}
	a.learn(with(rec(9), 1, StateDead), true)
	if a.digest == before {
		t.Error("a death does not change the digest")
	}
	a.learn(with(rec(9), 2, StateAlive), true)
	b.learn(with(rec(9), 2, StateAlive), true)
	if a.digest != b.digest {
		t.Error("the digest depends on the story")
	}
}

func TestReplaced(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 7}), "")
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 60}), "Left 60@1 dead, 60 70:dir(60@1 dead)")
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 60}), "")
	next := with(rec(60), 2, StateAlive)
	next.Instance = 61
	r.want(r.tell(70, next), "Joined 60@2, 60:dir(60@2 alive)")
}
