package overlay

import (
	"math/rand/v2"
	"time"
)

// retry says when to dial again for one wish.
type retry struct {
	began time.Time // when the wish arose
	wait  time.Duration
	next  time.Time
}

// start begins a wish whose first dial is due at first.
func (r *retry) start(now, first time.Time) { *r = retry{began: now, next: first} }

// failed puts the next dial off.
func (r *retry) failed(now time.Time, rng *rand.Rand) {
	longest := lateRetry
	if now.Sub(r.began) < early {
		longest = earlyRetry
	}
	r.wait = min(max(2*r.wait, firstRetry), longest)
	r.next = now.Add(jitter(rng, r.wait/2, r.wait))
}

// jitter returns a random duration from lo up to hi.
func jitter(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(rng.Int64N(int64(hi-lo)))
}

// earliest returns the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
