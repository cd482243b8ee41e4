package mesh

import (
	"sync"
	"time"
)

// Alarm rings at a time that may change: the clock of a Mesh. Set may be called
// from any goroutine, one call after the other; Wait is called by one.
type Alarm interface {
	// Set lets it ring once, at that time, and not when it was to ring before; the
	// zero time: never.
	Set(at time.Time)
	// Wait returns true when it has rung, and false once it is closed.
	Wait() bool
	Close()
}

// goAlarm is an Alarm by Go's timers, and so works in simulated time.
type goAlarm struct {
	timer  *time.Timer
	closed chan struct{}
	once   sync.Once
}

func newGoAlarm() *goAlarm {
	a := &goAlarm{timer: time.NewTimer(time.Hour), closed: make(chan struct{})}
	a.timer.Stop()
	return a
}

// Set implements Alarm.
func (a *goAlarm) Set(at time.Time) {
	if at.IsZero() {
		a.timer.Stop()
	} else {
		a.timer.Reset(time.Until(at))
	}
}

// Wait implements Alarm.
func (a *goAlarm) Wait() bool {
	select {
	case <-a.timer.C:
		return true
	case <-a.closed:
		return false
	}
}

// Close implements Alarm.
func (a *goAlarm) Close() {
	a.once.Do(func() {
		a.timer.Stop()
		close(a.closed)
	})
}
