package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// compare says which of two records of a server prevails (rule M2).
func compare(a, b *directory.Record) int {
	return cmp.Or(
		cmp.Compare(a.Incarnation, b.Incarnation),
		cmp.Compare(a.Instance, b.Instance),
		cmp.Compare(a.State, b.State))
}

// get returns what is known of a server, or nil.
func (m *Machine) get(id circuit.ServerID) *directory.Record {
	if r := m.staged[id]; r != nil {
		return r
	}
	return m.dir.Get(id)
}

// put makes r what is known of its server.
func (m *Machine) put(r *directory.Record) {
	old := m.get(r.ID)
	if r.ID == m.cfg.Self.ID {
		m.self = r
	} else {
		if old != nil && old.State == directory.Suspect {
			m.suspects--
		}
		if r.State == directory.Suspect {
			m.suspects++
		}
	}
	if r.In() || old != nil && old.In() {
		m.changed = m.now
	}
	if m.staged != nil {
		m.staged[r.ID] = r
	} else {
		m.dir = m.dir.With(r)
	}
}

// raise takes note of how far the events of a known server are known.
func (m *Machine) raise(id circuit.ServerID, events uint64) {
	r := *m.get(id)
	r.Events = events
	m.put(&r)
}

// stage begins to collect changes: many of them are cheaper to make together.
func (m *Machine) stage(records int) {
	if records > 1 {
		m.staged = make(map[circuit.ServerID]*directory.Record)
	}
}

// commit makes the collected changes.
func (m *Machine) commit() {
	staged := m.staged
	m.staged = nil
	if len(staged) == 0 {
		return
	}
	if size := m.dir.Len() + m.dir.Departed(); len(staged) < size/8 {
		for _, r := range staged {
			m.dir = m.dir.With(r)
		}
		return
	}
	var list []*directory.Record
	for r := range m.dir.Under(directory.Prefix{}) {
		list = append(list, r)
	}
	for _, r := range staged { // of two with the same ID the last counts
		list = append(list, r)
	}
	m.dir = directory.Of(list)
}

// learn takes a record from elsewhere and reports whether it is news that
// others should hear of. The word of an event is final; a death from a batch,
// which is no event, may be an old story, and waits for a refutation (rule M9).
func (m *Machine) learn(e *entry, by *event) bool {
	switch {
	case e.ID == 0 || e.State < directory.Alive || e.State > directory.Left:
		return false
	case e.ID == m.self.ID:
		m.learnSelf(&e.Record)
		return false
	}
	r := m.get(e.ID)
	if r == nil {
		return m.meet(e, by)
	}
	c := compare(&e.Record, r)
	if c <= 0 {
		if c == 0 && e.State == directory.Suspect && by != nil {
			m.accused(e, by)
		}
		return false
	}
	w := m.watches[e.ID]
	if r.In() && e.State == directory.Dead && by == nil && e.Instance == r.Instance {
		return m.doom(e)
	}
	if w != nil && w.doom != nil && compare(&e.Record, w.doom) > 0 {
		m.undoom(w)
	}
	m.apply(r, e, by)
	return true
}

// doom lets a death that a batch tells of wait for a refutation, and reports
// whether it is the first that was heard of.
func (m *Machine) doom(e *entry) bool {
	w := m.watch(e.ID)
	if w.doom != nil {
		if compare(&e.Record, w.doom) > 0 {
			w.doom = m.record(e)
			return true
		}
		return false
	}
	m.dooms++
	w.doom, w.doomed = m.record(e), m.now.Add(doomTime)
	m.plan(w)
	return true
}

func (m *Machine) undoom(w *watch) {
	m.dooms--
	w.doom, w.doomed = nil, time.Time{}
	m.plan(w)
}

// record returns a record to keep of what came over the wire. Most servers run
// the same version, which need not be kept for each.
func (m *Machine) record(e *entry) *directory.Record {
	r := e.Record
	r.Since = m.now
	if r.Version == m.cfg.Self.Version {
		r.Version = m.cfg.Self.Version
	}
	return &r
}

// meet takes the first record of a server.
func (m *Machine) meet(e *entry, by *event) bool {
	r := m.record(e)
	switch {
	case r.In() && m.dir.Len()+len(m.staged) < MaxServers:
		m.put(r)
		m.entered(r)
		m.emit(Joined{Record: *r})
		if r.State == directory.Suspect {
			m.accused(e, by)
		}
	case !r.In() && e.ago < uint64(KeepDeparted/time.Second):
		r.Since = m.now.Add(-time.Duration(e.ago) * time.Second)
		if m.dir.Departed() >= MaxDeparted && r.Since.Before(m.departures[0].since) {
			return false // it would be the first to be forgotten
		}
		m.put(r)
		m.departures = append(m.departures, departure{id: r.ID, since: r.Since})
	default:
		return false
	}
	return true
}

// apply makes e, which prevails, what is known of the server of old, and says
// what changed (rule M3). By is the event that says so, if one does.
func (m *Machine) apply(old *directory.Record, e *entry, by *event) {
	r := m.record(e)
	r.Events = max(r.Events, old.Events)
	was, is, restarted := old.In(), r.In(), old.Instance != e.Instance
	if was && (!is || restarted) {
		left := *old
		left.State, left.Since = directory.Dead, m.now
		if !is && !restarted {
			left.State, left.Incarnation = r.State, r.Incarnation
		}
		m.exited(old.ID)
		m.emit(Left{Record: left})
		was = false
	} else if was == is {
		r.Since = old.Since
	}
	m.put(r)
	switch {
	case was && r.Incarnation > old.Incarnation:
		m.refuted(r.ID)
		fallthrough
	case was:
		if r.State == directory.Suspect {
			m.accused(e, by)
		}
	case is:
		m.entered(r)
		m.emit(Joined{Record: *r})
		if r.State == directory.Suspect {
			m.accused(e, by)
		}
	case old.In():
		m.departures = append(m.departures, departure{id: r.ID, since: r.Since})
	}
}

// told returns what this server would tell of a server that it knows: a death
// that may still be refuted counts.
func (m *Machine) told(id circuit.ServerID) *directory.Record {
	r := m.get(id)
	said := r
	if w := m.watches[id]; w != nil && w.doom != nil {
		said = w.doom
	} else if r == m.self && !m.refuteAt.IsZero() {
		said = m.claim
	}
	if said != r {
		copied := *said
		copied.Events = r.Events
		return &copied
	}
	return r
}

// entryOf returns what the wire says of a record.
func (m *Machine) entryOf(r *directory.Record) entry {
	e := entry{Record: *r}
	switch w := m.watches[r.ID]; {
	case !r.In():
		e.ago = uint64(max(m.now.Sub(r.Since), 0) / time.Second)
	case r.State == directory.Suspect && w != nil:
		e.gone = w.proof || w.mine && w.verdict == gone
	}
	return e
}

// replaced takes note that the overlay met a server's next process: the one
// before is gone, without asking anybody (rule M11).
func (m *Machine) replaced(in Replaced) {
	if r := m.get(in.ID); r != nil && r != m.self && r.In() && r.Instance == in.Old {
		e := entry{Record: *r}
		e.State = directory.Dead
		m.apply(r, &e, nil)
		m.tellNews(nil, []circuit.ServerID{in.ID}, nil)
	}
}

// departure tells when a server left. If it came back meanwhile, it tells
// nothing.
type departure struct {
	id    circuit.ServerID
	since time.Time
}

// expired reports whether r departed too long ago to be remembered.
func (m *Machine) expired(r *directory.Record) bool {
	return !r.In() && m.now.Sub(r.Since) > KeepDeparted && r != m.self
}

// holds reports whether the departure is still what is known of its server.
func (m *Machine) holds(d departure) bool {
	r := m.dir.Get(d.id)
	return r != nil && !r.In() && r.Since.Equal(d.since)
}

// forgetDeparted drops the departed that are too old, or, above MaxDeparted,
// those that were learnt first (rule M18).
func (m *Machine) forgetDeparted() {
	for len(m.departures) > 0 {
		first := m.departures[0]
		if m.dir.Departed() <= MaxDeparted && m.now.Sub(first.since) <= KeepDeparted {
			break
		}
		if m.holds(first) {
			m.dir = m.dir.Without(first.id)
		}
		m.departures = m.departures[1:]
	}
	if len(m.departures) > 2*MaxDeparted { // most of them came back
		m.departures = slices.DeleteFunc(m.departures, func(d departure) bool { return !m.holds(d) })
	}
}
