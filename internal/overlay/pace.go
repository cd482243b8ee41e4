package overlay

import "time"

// pace is how long dials take that succeed, of late: milliseconds as a rule, and
// seconds where many servers start at once on one machine. Who waits for a dial
// waits that much longer before doing more of the same (rule O14): otherwise all
// dial so much that no dial ends in time, and it never ends.
type pace struct {
	took time.Duration
	when time.Time // of the last dial that succeeded
}

// succeeded takes in how long a dial took. That dials take longer is learnt at
// once, that they take less over the next few.
func (p *pace) succeeded(now time.Time, took time.Duration) {
	before := p.now(now)
	p.took, p.when = max(took, before-(before-took)/4), now
}

// now returns how long dials take.
func (p *pace) now(now time.Time) time.Duration {
	if now.Sub(p.when) > paceTime {
		return 0
	}
	return p.took
}
