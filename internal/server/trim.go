package server

import "time"

// trimAfter is how long the circuit must not have changed before memory is given
// back to the system: longer than any story of joins takes.
const trimAfter = 10 * time.Second

// trimmer gives memory that is not in use back to the system once the circuit is
// quiet again: a circuit of hundreds passes some megabytes through each of its
// servers while it comes about, and a quiet one collects no garbage by itself
// for minutes. A quiet server is not woken by it.
type trimmer struct{ timer *time.Timer }

func newTrimmer(free func()) *trimmer { return &trimmer{timer: time.AfterFunc(trimAfter, free)} }

// later puts the next time off, after a change.
func (t *trimmer) later() { t.timer.Reset(trimAfter) }

// stop ends it, also where Start failed before there was one.
func (t *trimmer) stop() {
	if t != nil {
		t.timer.Stop()
	}
}
