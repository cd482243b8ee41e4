package overlay

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	now := time.Unix(1000, 0)
	var p pace
	for _, step := range []struct{ after, took, want time.Duration }{
		{0, 10 * time.Millisecond, 10 * time.Millisecond},
		{time.Second, 2 * time.Second, 2 * time.Second},
		{time.Second, 0, 1500 * time.Millisecond},
		{time.Second, 0, 1125 * time.Millisecond},
		{paceTime + 1, 5 * time.Millisecond, 5 * time.Millisecond},
	} {
		now = now.Add(step.after)
		p.succeeded(now, step.took)
		if got := p.now(now); got != step.want {
			t.Errorf("after a dial of %v: %v, want %v", step.took, got, step.want)
		}
	}
	if got := p.now(now.Add(paceTime + 1)); got != 0 {
		t.Errorf("it is still %v", got)
	}
}

// TestSlowDialsMakePatient: a server whose dials take long does not make it
// worse. It looks for others in the place of those that it is dialling, and dials
// new neighbours, later.
func TestSlowDialsMakePatient(t *testing.T) {
	const slow = 2 * time.Second
	dialsAfter := func(took time.Duration) uint64 {
		r := ringRig(t, 100)
		r.wait(0)
		slowest := r.after(0)[0]
		r.wait(took)
		r.answer(slowest) // all but one link are up, after so long
		before := r.lastDial
		r.wait(4 * slow)
		return r.lastDial - before
	}
	if n := dialsAfter(time.Millisecond); n < 8 {
		t.Errorf("%d dials in the place of one that is not answered", n)
	}
	if n := dialsAfter(slow); n != 0 {
		t.Errorf("%d dials, although all dials take %v", n, slow)
	}
}
