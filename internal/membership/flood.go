package membership

import (
	"cmp"
	"slices"
	"time"
)

// The times and sizes of directories (rules M4 and M7).
const (
	partRecords = 512             // records in one part of a directory
	maxParts    = 1 << 17         // records of a directory that is not complete yet
	settled     = 2 * time.Second // digests that differ this long after their last change differ for good
	resyncTime  = 5 * time.Second // at most one directory on a link in this time, after the first
)

// originate spreads a change that this server is the origin of.
func (m *Machine) originate(e entry) {
	m.self.seq++
	e.seq = 0
	msg := message{kind: kindEvent, origin: m.self.ID, seq: m.self.seq, record: &e}
	m.sendAll(nil, msg.encode())
}

// receiveEvent passes an event on if it is the next of its origin, and takes it
// in (rule M5).
func (m *Machine) receiveEvent(l *link, msg message, data []byte) {
	o := m.all[msg.origin]
	switch {
	case o == nil || msg.seq > o.seq+1 && msg.seq != msg.seq>>epochBits<<epochBits+1:
		m.gaps++
		m.resync(l)
	case msg.seq <= o.seq:
		// Known, perhaps by a directory, whose word about a death is not final.
		if msg.record != nil && o != m.self {
			m.learn(*msg.record, true)
		}
	default:
		o.seq = msg.seq
		m.sendAll(l, slices.Clone(data))
		if msg.record != nil {
			m.learn(*msg.record, true)
		}
	}
}

// sendDirectory sends all that is known, in the order in which it was learnt,
// so that whoever takes it in learns effects after their causes. From then on
// the link carries events: its end is then as far as this server was (rule M4).
func (m *Machine) sendDirectory(l *link, reply bool) {
	l.synced = m.now
	msg := message{kind: kindDirectory}
	for _, s := range m.learnt() {
		msg.records = append(msg.records, m.told(s))
		if len(msg.records) == partRecords {
			msg.more = true
			m.send(l, msg)
			msg = message{kind: kindDirectory}
		}
	}
	msg.reply = reply
	m.send(l, msg)
}

// learnt returns all that is known in the order in which it was.
func (m *Machine) learnt() []*member {
	list := make([]*member, 0, len(m.all))
	for _, s := range m.all {
		if !m.expired(s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	return list
}

// told returns what a directory says of s.
func (m *Machine) told(s *member) entry {
	e := s.entry
	switch {
	case s.doom != nil:
		e = *s.doom
	case s == m.self && !m.refuteAt.IsZero():
		e = m.claim
	}
	e.seq = s.seq
	e.ago = 0
	if !s.in() && s != m.self {
		e.ago = uint64(max(m.now.Sub(s.Since), 0) / time.Second)
	}
	return e
}

// receiveDirectory takes a directory in once it is whole, and passes on what of
// it was news (rule M6).
func (m *Machine) receiveDirectory(l *link, msg message) {
	l.parts = append(l.parts, msg.records...)
	if len(l.parts) > maxParts {
		l.parts = nil
		return
	}
	if msg.more {
		return
	}
	parts := l.parts
	l.parts = nil
	var news []entry
	for _, e := range parts {
		claimed := !m.refuteAt.IsZero()
		isNews := m.learn(e, false)
		s := m.all[e.ID]
		if s == nil {
			continue
		}
		if s == m.self { // what is claimed of it is a part of the whole; it is refuted after that
			isNews = !claimed && !m.refuteAt.IsZero()
		}
		if e.seq > s.seq {
			s.seq = e.seq
			isNews = true
		}
		if isNews {
			news = append(news, m.told(s))
		}
	}
	m.tellNews(l, news)
	if msg.reply {
		m.sendDirectory(l, false)
	}
}

// tellNews passes news on, in parts, on all links but the one they came from.
func (m *Machine) tellNews(from *link, news []entry) {
	for part := range slices.Chunk(news, partRecords) {
		msg := message{kind: kindDirectory, records: part}
		m.sendAll(from, msg.encode())
	}
}

// resync exchanges directories on a link, for the two ends differ.
func (m *Machine) resync(l *link) {
	if m.now.Sub(l.synced) >= resyncTime {
		m.sendDirectory(l, true)
	}
}

// compareDigest looks whether the peer knows the same servers (rule M7).
func (m *Machine) compareDigest(l *link, msg message) {
	quiet := time.Duration(min(msg.quiet, 1<<30)) * time.Millisecond
	if msg.digest != m.digest && quiet >= settled && m.now.Sub(m.changed) >= settled {
		m.resync(l)
	}
}
