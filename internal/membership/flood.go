package membership

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
)

// announce says that this server is in the circuit, once it knows what its first
// neighbour knew (rule M6).
func (m *Machine) announce() {
	if !m.born && m.met && m.refuteAt.IsZero() {
		m.born = true
		m.originate(event{record: &entry{Record: *m.self}})
	}
}

// originate spreads a change, or a broadcast, that this server is the origin of.
func (m *Machine) originate(e event) {
	self := *m.self
	self.Events++
	m.put(&self)
	e.origin, e.number = self.ID, self.Events
	if e.record != nil {
		e.record.Events = 0 // the number says it
	}
	e.encode()
	m.forward(nil, &e)
	m.keep(e)
}

// forward sends an event on all links but the one it came from.
func (m *Machine) forward(from *link, e *event) {
	if len(m.links) > 0 {
		msg := message{kind: kindEvent, event: e}
		m.sendAll(from, msg.encode())
	}
}

// broadcast spreads data for whoever uses the circuit (rule M19).
func (m *Machine) broadcast(in Broadcast) {
	if m.born && m.departBy.IsZero() && len(in.Data) <= MaxData {
		m.originate(event{data: append([]byte{}, in.Data...)})
	}
}

// receiveEvent passes an event on if it is the next of its origin, and takes it
// in (rule M5).
func (m *Machine) receiveEvent(l *link, e *event) {
	o := m.get(e.origin)
	switch {
	case o == nil && e.record != nil && e.record.ID == e.origin && e.record.In():
		// It introduces itself. If it is not taken in, it is not passed on either,
		// or it would go round in circles.
		e.record.Events = e.number
		if m.learn(e.record, e) {
			m.forward(l, e)
		}
	case o == nil || e.number > o.Events+1 && e.number != e.number>>epochBits<<epochBits+1:
		m.gaps++
		m.resync(l)
	case e.number > o.Events:
		m.raise(e.origin, e.number)
		m.forward(l, e)
		m.deliver(e)
	case e.record != nil && e.origin != m.self.ID && m.learn(e.record, e):
		// Known by a batch, whose word about a death is not final; or overtaken by
		// the origin's next life.
		m.forward(l, e)
	}
}

// deliver takes in what an event says. A server that has yet to join passes on
// what is broadcast, but it is not meant for it.
func (m *Machine) deliver(e *event) {
	if e.record != nil {
		m.learn(e.record, e)
		return
	}
	m.keep(*e)
	if e.data != nil && m.born {
		m.emit(Deliver{Origin: e.origin, Number: e.number, Data: append([]byte{}, e.data...)})
	}
}

// batch is what is taken in as a whole: records, and events that are none.
type batch struct {
	records []entry
	events  []event
}

// receiveNews gathers the parts of a batch that is news to a neighbour.
func (m *Machine) receiveNews(l *link, msg message) {
	l.news.records = append(l.news.records, msg.records...)
	l.news.events = append(l.news.events, msg.events...)
	if len(l.news.records) > maxBatch || len(l.news.events) > maxRecent {
		m.reset(l)
		return
	}
	if !msg.more {
		b := l.news
		l.news = batch{}
		m.takeIn(l, b)
	}
}

// takeIn takes in a batch, and passes on what of it was news, as one (rule M6).
func (m *Machine) takeIn(from *link, b batch) {
	fresh := m.unheard(b.events)
	var news []circuit.ServerID
	m.stage(len(b.records))
	for i := range b.records {
		e := &b.records[i]
		claim := m.claim
		isNews := m.learn(e, nil)
		r := m.get(e.ID)
		switch {
		case r == nil:
			continue
		case r == m.self: // what is claimed of it is a part of the whole; it is refuted after that
			isNews = m.claim != claim && !m.refuteAt.IsZero()
		case e.Events > r.Events:
			m.raise(e.ID, e.Events)
			isNews = true
		}
		if isNews {
			news = append(news, e.ID)
		}
	}
	m.commit()
	var passed []event
	for i := range fresh {
		if o := m.dir.Get(fresh[i].origin); o != nil && fresh[i].number <= o.Events {
			m.deliver(&fresh[i])
			passed = append(passed, fresh[i])
		}
	}
	m.tellNews(from, news, passed)
}

// unheard returns those of the events of a batch that this server has not
// received.
func (m *Machine) unheard(events []event) []event {
	var fresh []event
	last := make(map[circuit.ServerID]uint64)
	for _, e := range events {
		known, ok := last[e.origin]
		if o := m.dir.Get(e.origin); !ok && o != nil {
			known = o.Events
		}
		if e.number > known && e.record == nil {
			last[e.origin] = e.number
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// tellNews passes news on, as a whole, on all links but the one they came from.
func (m *Machine) tellNews(from *link, news []circuit.ServerID, events []event) {
	if len(news)+len(events) == 0 || len(m.links) == 0 || len(m.links) == 1 && m.links[0] == from {
		return
	}
	list := make([]entry, len(news))
	for i, id := range news {
		list[i] = m.entryOf(m.told(id))
	}
	for _, msg := range parts(kindNews, list, events) {
		m.sendAll(from, msg.encode())
	}
}

// parts returns messages of bounded size that say all this together; at least one.
func parts(kind protowire.Number, records []entry, events []event) []message {
	list := []message{{kind: kind}}
	last, size := &list[0], 0
	next := func() {
		last.more = true
		list = append(list, message{kind: kind})
		last, size = &list[len(list)-1], 0
	}
	for _, e := range records {
		if len(last.records) == partRecords {
			next()
		}
		last.records = append(last.records, e)
	}
	for _, e := range events {
		if size+len(e.raw) > partBytes || len(last.records) > 0 {
			next()
		}
		last.events = append(last.events, e)
		size += len(e.raw)
	}
	return list
}

// recent are the latest events that are no records: whoever was cut off for a
// short time can still be told of them.
type recent struct {
	list  []recentEvent // in the order in which they came
	bytes int
}

type recentEvent struct {
	event
	at time.Time
}

// keep keeps an event for those who were cut off (rule M19); not records, for the directory
// keeps them.
func (m *Machine) keep(e event) {
	if e.record != nil {
		return
	}
	e.data = nil // raw has it
	m.recent.list = append(m.recent.list, recentEvent{event: e, at: m.now})
	m.recent.bytes += len(e.raw)
	m.recent.count(m.now)
}

// count returns how many events are kept, after dropping what is too much, or
// too old.
func (r *recent) count(now time.Time) int {
	n := 0
	for ; n < len(r.list) && (len(r.list)-n > maxRecent || r.bytes > recentBytes || now.Sub(r.list[n].at) > recentTime); n++ {
		r.bytes -= len(r.list[n].raw)
	}
	clear(r.list[:n])
	r.list = r.list[n:]
	return len(r.list)
}
