package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit/internal/directory"
)

// learnSelf takes what others say about this server (rules M8, M10 and M11).
func (m *Machine) learnSelf(r *directory.Record) {
	if r.Events > m.self.Events {
		m.raise(m.self.ID, r.Events)
	}
	another := r.Instance != m.self.Instance
	if r.State == directory.Dead && !another {
		m.died(r.Incarnation) // of an earlier one, too: its refutation came too late
	}
	switch {
	case r.Incarnation < m.self.Incarnation || r.Incarnation >= maxIncarnation || !m.departBy.IsZero():
	case !another && r.State == directory.Alive:
	case another && compare(r, m.self) <= 0:
	case another && r.In() && r.Address != m.self.Address:
		if !m.taken {
			m.taken = true
			m.emit(Taken{Address: r.Address})
		}
	default:
		m.refuteLater(r)
	}
}

// died counts a death of this server, once for each incarnation.
func (m *Machine) died(incarnation uint64) {
	if incarnation > m.mourned {
		m.mourned = incarnation
		m.deaths = append(m.deaths, m.now)
	}
}

// refuteLater refutes what r says of this server: at once, unless it has come
// back from the dead too often. Whoever was late and hears of a suspicion will
// hear of its death next, so that counts as one.
func (m *Machine) refuteLater(r *directory.Record) {
	if m.claim == nil || compare(r, m.claim) > 0 {
		claim := *r
		claim.Since = m.now
		m.claim = &claim
	}
	if !m.refuteAt.IsZero() {
		return
	}
	m.refuteAt = m.now
	if r.State == directory.Suspect && m.now.Before(m.lateUntil) {
		m.died(r.Incarnation)
	}
	m.deaths = slices.DeleteFunc(m.deaths, func(t time.Time) bool { return m.now.Sub(t) > flapWindow })
	if extra := len(m.deaths) - flapDeaths - 1; extra >= 0 {
		m.refuteAt = m.now.Add(min(flapHold<<min(extra, 8), flapMost))
	}
}

// refute raises this server's incarnation above what is said about it.
func (m *Machine) refute() {
	m.refuteAt = time.Time{}
	if m.claim.Incarnation < m.self.Incarnation {
		return
	}
	self := *m.self
	self.Incarnation = m.claim.Incarnation + 1
	m.put(&self)
	m.emit(Persist{Incarnation: self.Incarnation})
	m.born = true
	m.originate(event{record: &entry{Record: self}})
}
