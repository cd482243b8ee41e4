package membership

import (
	"slices"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

func TestCompare(t *testing.T) {
	life := func(incarnation, instance uint64, s directory.State) *directory.Record {
		e := with(rec(1), incarnation, s)
		e.Instance = instance
		return &e.Record
	}
	order := []*directory.Record{ // each prevails over those before it
		life(1, 5, alive), life(1, 5, suspect), life(1, 5, dead), life(1, 5, left),
		life(1, 6, alive), life(2, 5, alive), life(2, 5, dead), life(3, 1, alive),
	}
	for i := range order {
		for j := range order {
			if got, want := compare(order[i], order[j]), max(-1, min(1, i-j)); got != want {
				t.Errorf("%d against %d: %d, want %d", i, j, got, want)
			}
		}
	}
}

// learned lets a rig learn what an event of another server, or a batch, says.
func (r *rig) learned(e entry, byEvent bool) bool {
	if byEvent {
		return r.learn(&e, &event{origin: 99})
	}
	return r.learn(&e, nil)
}

// TestLearn is about what a record does to what is known already.
func TestLearn(t *testing.T) {
	next := with(rec(60), 2, alive)
	next.Instance = 61
	nextDead := with(next, 2, dead)
	suspected, died := with(rec(60), 1, suspect), with(rec(60), 1, dead)
	gone, again := with(rec(60), 1, left), with(rec(60), 2, alive)
	for _, c := range []struct {
		name    string
		have    []entry // told before, as events
		told    entry
		said    string // by an event
		byBatch string // by a batch, where that differs
		state   directory.State
	}{
		{"a newcomer", nil, rec(60), "Joined 60@1", "", alive},
		{"a suspect newcomer", nil, suspected, "Joined 60@1", "", suspect},
		{"one that was before our time", nil, died, "", "", dead},
		{"again", []entry{rec(60)}, rec(60), "", "", alive},
		{"a suspicion", []entry{rec(60)}, suspected, "", "", suspect},
		{"a refutation", []entry{suspected}, again, "", "", alive},
		{"an old suspicion", []entry{again}, suspected, "", "", alive},
		{"a departure", []entry{rec(60)}, gone, "Left 60@1 left", "", left},
		{"a death", []entry{rec(60)}, died, "Left 60@1 dead", "none", dead},
		{"a death of a suspect", []entry{suspected}, died, "Left 60@1 dead", "none", dead},
		{"an old death", []entry{again}, died, "", "", alive},
		{"death after departure", []entry{gone}, died, "", "", left},
		{"a return", []entry{rec(60), died}, again, "Joined 60@2", "", alive},
		{"a return under suspicion", []entry{rec(60), died}, with(rec(60), 2, suspect), "Joined 60@2", "", suspect},
		{"a new life", []entry{rec(60)}, next, "Left 60@1 dead, Joined 60@2", "", alive},
		{"a new life after death", []entry{rec(60), died}, next, "Joined 60@2", "", alive},
		{"the death of a new life", []entry{rec(60)}, nextDead, "Left 60@1 dead", "", dead},
		{"nonsense", []entry{rec(60)}, with(rec(60), 9, 77), "", "", alive},
	} {
		for _, byEvent := range []bool{true, false} {
			r := newRig(t)
			for _, e := range c.have {
				r.learned(e, true)
			}
			r.out = nil
			news := r.learned(c.told, byEvent)
			want, state := c.said, c.state
			if !byEvent && c.byBatch == "none" {
				want, state = "", c.have[len(c.have)-1].State
			}
			if got := brief(r.out); got != want {
				t.Errorf("%s (event: %v): said %q, want %q", c.name, byEvent, got, want)
			}
			s, _ := r.Lookup(60)
			if s.State != state {
				t.Errorf("%s (event: %v): state %d, want %d", c.name, byEvent, s.State, state)
			}
			if r.learned(c.told, byEvent) && news {
				t.Errorf("%s (event: %v): it is news twice", c.name, byEvent)
			}
			inView := slices.ContainsFunc(slices.Collect(r.Members()), func(m *directory.Record) bool { return m.ID == 60 })
			if inView != (state == alive || state == suspect) {
				t.Errorf("%s (event: %v): in the view: %v", c.name, byEvent, inView)
			}
			if got, want := r.suspects, map[bool]int{true: 1}[state == suspect]; got != want {
				t.Errorf("%s (event: %v): %d suspects", c.name, byEvent, got)
			}
		}
	}
}

// TestDoom: a death that a batch tells of waits for a refutation.
func TestDoom(t *testing.T) {
	died, again := with(rec(60), 1, dead), with(rec(60), 2, alive)
	t.Run("refuted", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.want(r.tell(70, died), "60:news(60@1 dead)") // the doomed one, too, hears it
		r.want(r.tell(70, died), "")
		r.want(r.says(60, again), "70:event(60@2 alive)")
		r.want(r.wait(4*time.Second), "")
		if r.dooms != 0 {
			t.Errorf("%d are doomed", r.dooms)
		}
	})
	t.Run("not refuted", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.tell(70, died)
		r.want(r.wait(doomTime-time.Millisecond), "")
		r.want(r.wait(time.Millisecond), "Left 60@1 dead")
	})
	t.Run("an event follows", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.tell(70, died)
		r.want(r.says(70, died), "60:event(60@1 dead), Left 60@1 dead")
		if r.dooms != 0 {
			t.Errorf("%d are doomed", r.dooms)
		}
	})
	t.Run("told to a new neighbour", func(t *testing.T) {
		r := circle(t, 60, 70)
		r.tell(70, died)
		r.want(r.link(80), "80:root(2), 80:synced")
		r.want(r.receive(80, message{kind: kindAsk, prefixes: []directory.Prefix{{}}}), "80:records(* 50@1 alive 70@1 alive 60@1 dead)")
	})
}

// TestLearnSelf is about what others say of this server.
func TestLearnSelf(t *testing.T) {
	other := with(rec(me), 5, alive)
	other.Instance = 99
	elsewhere := other
	elsewhere.Address = "elsewhere:1"
	for _, c := range []struct {
		name string
		rec  entry
		want string
	}{
		{"alive", with(rec(me), 1, alive), ""},
		{"suspect", with(rec(me), 1, suspect), "Persist 2, 60:event(50@2 alive)"},
		{"dead", with(rec(me), 3, dead), "Persist 4, 60:event(50@4 alive)"},
		{"left, and back", with(rec(me), 1, left), "Persist 2, 60:event(50@2 alive)"},
		{"an earlier life, restored from a backup", other, "Persist 6, 60:event(50@6 alive)"},
		{"an earlier life elsewhere, dead", with(elsewhere, 5, dead), "Persist 6, 60:event(50@6 alive)"},
		{"another process, alive", elsewhere, "Taken elsewhere:1"},
		{"an earlier life", with(other, 0, alive), ""},
		{"the last of all", with(rec(me), maxIncarnation, dead), ""},
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

// TestEventsOfAnEarlierLife: a server that was restored from a backup goes on
// with its numbers where the circuit thinks it is.
func TestEventsOfAnEarlierLife(t *testing.T) {
	r := circle(t, 60)
	old := with(rec(me), 3, dead)
	old.Events = 3<<epochBits + 4
	for _, o := range r.tell(60, old) {
		if s, ok := o.(Send); ok {
			if msg, _ := decode(s.Data); msg.event.number != 3<<epochBits+5 {
				t.Errorf("number %x", msg.event.number)
			}
			return
		}
	}
	t.Error("not refuted")
}

func TestFlapIsHeldDown(t *testing.T) {
	r := circle(t, 60)
	for i := range uint64(flapDeaths) {
		if got := brief(r.tell(60, with(rec(me), 1+i, dead))); got == "" {
			t.Fatalf("the refutation of death %d was held back", i+1)
		}
	}
	r.pulse(60, time.Hour)
	wait := flapHold
	for i := uint64(flapDeaths); i < 6; i++ {
		r.want(r.tell(60, with(rec(me), 1+i, dead)), "")
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
	r := circle(t, 60)
	for i := range MaxDeparted + 100 {
		r.tell(60, with(rec(circuit.ServerID(1000+i)), 1, dead))
	}
	if n := r.dir.Departed(); n != MaxDeparted {
		t.Errorf("%d departed", n)
	}
	if _, ok := r.Lookup(1000); ok {
		t.Error("the first departure is remembered")
	}
	last := circuit.ServerID(1000 + MaxDeparted + 99)
	if _, ok := r.Lookup(last); !ok {
		t.Error("the last departure is forgotten")
	}
	for i := range uint64(3 * MaxDeparted) { // one that comes and goes
		r.tell(60, with(rec(last), 2+i, alive))
		r.tell(60, with(rec(last), 2+i, left))
	}
	if n := len(r.departures); n > 2*MaxDeparted {
		t.Errorf("%d departures are noted", n)
	}
	r.at = r.at.Add(KeepDeparted + time.Second)
	if r.now = r.at; r.expired(r.dir.Get(last)) != true {
		t.Error("a departure is remembered for more than a day")
	}
	r.Step(r.at, Tick{})
	if _, ok := r.Lookup(last); ok || r.dir.Departed() != 0 {
		t.Errorf("%d are remembered for more than a day", r.dir.Departed())
	}
	old := with(rec(5), 1, left)
	old.ago = uint64(KeepDeparted / time.Second)
	if r.learned(old, false) || r.dir.Get(5) != nil {
		t.Error("a departure a day ago is news")
	}
}

func TestServersAreBounded(t *testing.T) {
	var list []*directory.Record
	for id := range circuit.ServerID(MaxServers) {
		list = append(list, &directory.Record{ID: 1000 + id, State: alive})
	}
	r := newRig(t)
	r.dir = directory.Of(list)
	if r.learned(rec(60), true) || r.dir.Len() != MaxServers {
		t.Errorf("%d servers", r.dir.Len())
	}
	r.link(70)
	r.number[60] = 1 << epochBits
	r.link(80)
	r.want(r.hears(70, 60, rec(60), false), "") // nor does its event go round in circles
}

func TestDepartureTime(t *testing.T) {
	r := newRig(t)
	e := with(rec(5), 1, left)
	e.ago = 90
	r.learned(e, false)
	if got, _ := r.Lookup(5); r.at.Sub(got.Since) != 90*time.Second {
		t.Errorf("left %v ago", r.at.Sub(got.Since))
	}
	if e := r.entryOf(r.dir.Get(5)); e.ago != 90 {
		t.Errorf("it is said to have left %d s ago", e.ago)
	}
}

func TestReplaced(t *testing.T) {
	r := circle(t, 60, 70)
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 7}), "")
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 60}), "Left 60@1 dead, 60 70:news(60@1 dead)")
	r.want(r.Step(r.at, Replaced{ID: 60, Old: 60}), "")
	next := with(rec(60), 2, alive)
	next.Instance = 61
	r.want(r.tell(70, next), "Joined 60@2, 60:news(60@2 alive)")
}

// TestSnapshot: what outputs of a Step say of the directory is so after it.
func TestSnapshot(t *testing.T) {
	r := circle(t, 60, 70)
	outs := r.tell(60, with(rec(70), 1, left), rec(80), rec(90))
	for _, o := range outs {
		var d directory.Directory
		switch o := o.(type) {
		case Joined:
			d = o.Directory
		case Left:
			d = o.Directory
		default:
			continue
		}
		if d.Digest() != r.Directory().Digest() || d.Len() != 4 {
			t.Errorf("%+v with a directory of %d", o, d.Len())
		}
	}
	r.want(outs, "Left 70@1 left, Joined 80@1, Joined 90@1, 70:news(70@1 left 80@1 alive 90@1 alive)")
}
