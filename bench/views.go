package main

import (
	"context"
	"sync"
	"time"
)

// views is who each server says is there. All its methods may be called by many
// goroutines at once.
type views struct {
	mu      sync.Mutex
	of      map[string]map[string]sight // by who sees and who is seen
	changed chan struct{}               // holds one if something changed since await looked
}

// sight is the last that one server said of another.
type sight struct {
	present bool
	at      time.Time
}

func newViews() *views {
	return &views{of: make(map[string]map[string]sight), changed: make(chan struct{}, 1)}
}

// tell notes that the observer saw, at a time, the subject come or go. What is
// older than what it said before changes nothing.
func (v *views) tell(observer, subject string, present bool, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	view := v.of[observer]
	if view == nil {
		view = make(map[string]sight)
		v.of[observer] = view
	}
	if last, ok := view[subject]; ok && (last.present == present || at.Before(last.at)) {
		return
	}
	view[subject] = sight{present, at}
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// forget drops what an observer said.
func (v *views) forget(observer string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, observer)
}

// known returns when the last of the observers learnt that the subject came, or
// went, and false if one does not see it so.
func (v *views) known(subject string, present bool, by []string) (last time.Time, all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, observer := range by {
		if observer == subject {
			continue
		}
		s := v.of[observer][subject]
		if s.present != present {
			return last, false
		}
		if s.at.After(last) {
			last = s.at
		}
	}
	return last, true
}

// exact returns how many of the servers see each other and nobody else, and when
// the last of those learnt of the last.
func (v *views) exact(servers []string) (last time.Time, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	there := make(map[string]bool)
	for _, s := range servers {
		there[s] = true
	}
	for _, observer := range servers {
		seen, wrong := 0, false
		newest := last
		for subject, s := range v.of[observer] {
			switch {
			case !s.present || subject == observer:
				continue
			case !there[subject]:
				wrong = true
			}
			seen++
			if s.at.After(newest) {
				newest = s.at
			}
		}
		if !wrong && seen == len(servers)-1 {
			last = newest
			n++
		}
	}
	return last, n
}

// await waits until what done says of the views is true, for as long as patience
// lasts, and reports whether it came to be.
func (v *views) await(ctx context.Context, patience time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		select {
		case <-v.changed:
		case <-ctx.Done():
			return done()
		}
	}
	return true
}
