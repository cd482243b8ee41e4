package membership

import (
	"container/heap"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// watch is what is going on about a server: one that is observed, suspect or
// doomed, or that could not be reached.
type watch struct {
	id circuit.ServerID

	// Observed: there is a link, or there was one, and what became of the server
	// is not known.
	link   *link
	lost   bool
	expect time.Time // when its pulse is overdue
	heard  time.Time // when anything last came from it
	lossy  int       // pulses that must come in time before one fewer probe will do
	failed int       // dials in a row that came to nothing

	checking bool
	overdue  bool      // for a pulse that did not come
	probes   int       // sent in this check
	next     time.Time // the next probe, or the end of the check

	verdict verdict   // this server's own
	found   time.Time // when it was
	act     time.Time // when this server acts on it

	// Suspect.
	suspected time.Time        // when that was learnt; zero: it is not
	mine      bool             // this server accused it
	others    bool             // another did
	proof     bool             // and has proof
	accuser   circuit.ServerID // the last other that did; 0: it is not known who

	peace   time.Time // until then this server does not accuse it
	refuted int       // how often it refuted this server's accusations
	keep    time.Time // until then that, and how many dials failed, is remembered

	doom   *directory.Record // its death, which may still be refuted
	doomed time.Time         // when that time is over

	due   time.Time // when it is to be attended to; zero: never
	index int       // in timers; -1: not in it
}

// watch returns the watch on a server, made if need be.
func (m *Machine) watch(id circuit.ServerID) *watch {
	w := m.watches[id]
	if w == nil {
		w = &watch{id: id, index: -1}
		m.watches[id] = w
	}
	return w
}

// isObserved reports whether this server is responsible for noticing the end of
// that one (rule M13).
func (w *watch) isObserved() bool { return w.link != nil || w.lost }

// plan sets when a watch is to be attended to, after any change of it, and drops
// it if nothing goes on any more.
func (m *Machine) plan(w *watch) {
	w.due = earliest(w.act, w.doomed)
	switch {
	case w.checking || w.verdict != none:
		w.due = earliest(w.due, w.next)
	case w.isObserved():
		w.due = earliest(w.due, w.expect)
	case w.due.IsZero() && w.suspected.IsZero():
		if w.due = w.keep; !w.due.After(m.now) {
			delete(m.watches, w.id)
			w.due = time.Time{}
		}
	}
	switch {
	case w.due.IsZero() && w.index >= 0:
		heap.Remove(&m.timers, w.index)
	case w.due.IsZero():
	case w.index >= 0:
		heap.Fix(&m.timers, w.index)
	default:
		heap.Push(&m.timers, w)
	}
}

// attend does what is due about a server.
func (m *Machine) attend(w *watch) {
	if m.reached(w.doomed) {
		e := entry{Record: *m.told(w.id)}
		m.apply(m.dir.Get(w.id), &e, nil)
		return
	}
	if w.isObserved() && !w.checking && w.verdict == none && m.reached(w.expect) {
		m.overdue(w)
	}
	if m.reached(w.next) {
		m.probe(w)
	}
	if m.reached(w.act) {
		m.decide(w)
	}
	if m.watches[w.id] == w {
		m.plan(w)
	}
}

// entered begins the watch on a server that came into the circuit, if there is a
// link to it.
func (m *Machine) entered(r *directory.Record) {
	if l := m.linkTo(r.ID); l != nil {
		m.observe(l)
	}
}

// exited ends all that goes on about a server.
func (m *Machine) exited(id circuit.ServerID) {
	w := m.watches[id]
	if w == nil {
		return
	}
	if w.doom != nil {
		m.dooms--
	}
	if w.index >= 0 {
		heap.Remove(&m.timers, w.index)
	}
	m.observed = remove(m.observed, w)
	delete(m.watches, id)
}

// observe begins to watch the server at the other end of a link, if it is in the
// circuit.
func (m *Machine) observe(l *link) {
	r := m.get(l.id)
	if r == nil || !r.In() || r.Instance != l.instance || r == m.self {
		return
	}
	w := m.watch(l.id)
	if !w.isObserved() {
		m.observed = append(m.observed, w)
	}
	w.link, w.lost, w.failed = l, false, 0
	w.expect = m.now.Add(firstPulse)
	m.heard(l)
	m.plan(w)
}

// unobserve ends the watch on a server whose link is no more; if it was lost,
// after a check.
func (m *Machine) unobserve(w *watch, lost bool) {
	w.link, w.lost = nil, lost
	if lost {
		w.peace = time.Time{}
		w.checking = false
		m.check(w)
		return
	}
	m.observed = remove(m.observed, w)
	w.acquit()
	m.plan(w)
}

// acquit takes back what this server thought of another.
func (w *watch) acquit() {
	w.checking, w.overdue, w.verdict = false, false, none
	w.next, w.act = time.Time{}, time.Time{}
}

// heard takes note of a sign of life.
func (m *Machine) heard(l *link) {
	w := m.watches[l.id]
	if w == nil || w.link != l {
		return
	}
	w.heard = m.now
	if !w.checking && w.verdict == none {
		return
	}
	if w.overdue {
		w.lossy = moreProbes
		m.missed(1)
	}
	w.acquit()
	w.expect = latest(w.expect, m.now.Add(firstPulse))
	m.plan(w)
	if l.missed >= maxMissed {
		m.tellDatagrams(l, false)
	}
}

// missed takes note that a pulse came in time (0) or did not, although its sender
// lives (1).
func (m *Machine) missed(pulse float64) { m.loss += (pulse - m.loss) / lossOf }

// overdue is for an observed server whose pulse did not come (rule M15).
func (m *Machine) overdue(w *watch) {
	if m.now.Before(m.lateUntil) {
		w.expect = m.lateUntil
		return
	}
	if w.link != nil && w.link.told {
		w.link.missed++
	}
	m.check(w)
	w.overdue = w.checking
}

// check begins to probe a server, unless that is under way.
func (m *Machine) check(w *watch) {
	if w.checking || w.verdict != none {
		return
	}
	w.checking, w.overdue, w.probes, w.next = true, false, 0, m.now
	if w.link == nil {
		w.next = m.now.Add(lostTime)
	}
	m.plan(w)
}

// probe goes on with a check, or with trying to hear one who is silent.
func (m *Machine) probe(w *watch) {
	switch most := probeTimes + w.lossy; {
	case w.verdict != none && w.link != nil:
		m.sendProbe(w)
		m.emit(Redial{ID: w.id})
		w.next = m.now.Add(reprobe)
	case !w.checking:
		w.next = time.Time{}
	case w.link != nil && w.probes < most:
		m.sendProbe(w)
		w.next = m.now.Add(probeEvery)
		if w.probes++; w.probes == most {
			m.emit(Redial{ID: w.id})
		}
	case m.now.Before(m.lateUntil):
		w.acquit()
		w.expect = m.lateUntil
	default:
		m.find(w, silent)
	}
}

// sendProbe asks for a sign of life, both ways: the stream is a second opinion
// where datagrams are lost, and slow where its own packets are. All neighbours of
// a suspect ask it at the same time, and it may be slow: they begin with one way.
func (m *Machine) sendProbe(w *watch) {
	one := w.checking && w.probes == 0 && !w.suspected.IsZero()
	if w.link.direct || !one {
		m.sendDatagram(w.link, sigProbe)
	}
	if !w.link.direct || !one {
		m.send(w.link, message{kind: kindSignal, signal: m.signal(w.link, sigProbe)})
	}
}

// timers is a heap of watches, in order of when they are due.
type timers []*watch

func (t timers) Len() int { return len(t) }

func (t timers) Less(i, j int) bool {
	return t[i].due.Before(t[j].due) || t[i].due.Equal(t[j].due) && t[i].id < t[j].id
}

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push is for package heap.
func (t *timers) Push(w any) {
	w.(*watch).index = len(*t)
	*t = append(*t, w.(*watch))
}

// Pop is for package heap.
func (t *timers) Pop() any {
	old := *t
	w := old[len(old)-1]
	old[len(old)-1] = nil
	w.index = -1
	*t = old[:len(old)-1]
	return w
}
