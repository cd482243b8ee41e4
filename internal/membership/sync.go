package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit/internal/directory"
)

// pull is what this server takes from a neighbour, from LinkUp, or a later Root,
// until it knows all that the neighbour knew when it sent the Root (rule M4).
type pull struct {
	rooted bool                // the Root has come
	own    directory.Directory // what this server told itself at that time
	recent bool                // the peer has recent events
	whole  bool                // this server lacks most: records are asked for, not digests
	todo   []directory.Prefix  // to ask for
	asked  map[directory.Prefix]bool
	asks   int       // prefixes so far, in asked and todo
	past   bool      // the recent events were asked for
	got    batch     // so far
	until  time.Time // when the next answer must have come
	held   [][]byte  // what came since, and must be taken in after it
	bytes  int       // in held
}

// offer is what a neighbour may ask for, from the Root until it says Synced.
type offer struct {
	told     directory.Directory // what this server told when it sent the Root
	answered int                 // prefixes and records so far
	past     bool                // the recent events were sent
}

// sendRoot begins a synchronisation for the peer: from now on, the link carries
// what this server learns, after what it knew.
func (m *Machine) sendRoot(l *link) {
	told := m.Told()
	l.offer, l.rooted = &offer{told: told}, m.now
	m.send(l, message{kind: kindRoot, digest: told.DigestOf(directory.Prefix{}), count: uint64(told.Len()), recent: uint64(m.recent.count(m.now))})
}

// resync asks the peer for a Root, for the two ends differ (rule M7).
func (m *Machine) resync(l *link) {
	if l.pull == nil && !l.broken && m.now.Sub(l.asked) >= resyncTime {
		l.asked = m.now
		m.send(l, message{kind: kindResync})
	}
}

func (m *Machine) receiveRoot(l *link, msg message) {
	switch {
	case l.pull == nil:
		l.pull = &pull{}
	case l.pull.rooted:
		m.reset(l) // another one is not due before the end of this
		return
	}
	p := l.pull
	p.rooted, p.own, p.recent, p.until = true, m.Told(), msg.recent > 0, m.now.Add(syncTime)
	known := uint64(p.own.Len())
	if msg.digest == 0 || msg.digest == p.own.DigestOf(directory.Prefix{}) { // it knows nobody, or the same
		m.synced(l)
		return
	}
	p.whole = known < msg.count/4
	p.asked = make(map[directory.Prefix]bool)
	p.todo = []directory.Prefix{{}}
	if p.whole {
		for n := min(msg.count, MaxServers); n > wholeRecords; n /= 16 {
			p.todo = longer(p.todo)
		}
	}
	p.asks = len(p.todo)
	m.pullOn(l)
}

// longer returns the prefixes that are one nibble longer, in order.
func longer(list []directory.Prefix) []directory.Prefix {
	var all []directory.Prefix
	for _, p := range list {
		for i := range 16 {
			all = append(all, p.Child(i))
		}
	}
	return all
}

// pullOn asks for what is still to be asked for, a window at a time, or takes in
// what has come, if that is all.
func (m *Machine) pullOn(l *link) {
	p := l.pull
	window := askWindow
	if p.whole {
		window = wholeWindow
	}
	switch {
	case len(p.todo) > 0 && len(p.asked) <= window/2:
		n := min(len(p.todo), window-len(p.asked))
		next := p.todo[len(p.todo)-n:]
		for _, prefix := range next {
			p.asked[prefix] = true
		}
		m.send(l, message{kind: kindAsk, prefixes: next, whole: p.whole})
		p.todo = p.todo[:len(p.todo)-n]
	case len(p.todo) > 0 || len(p.asked) > 0:
	case p.recent && !p.past:
		p.past = true
		m.send(l, message{kind: kindAsk, past: true})
	default:
		m.synced(l)
	}
}

// receiveAnswer takes an answer to an Ask.
func (m *Machine) receiveAnswer(l *link, msg message) {
	p := l.pull
	if p == nil || !p.take(msg) {
		m.reset(l)
		return
	}
	p.until = m.now.Add(syncTime)
	if msg.kind == kindPast && !msg.more {
		m.synced(l)
		return
	}
	if !msg.more {
		m.pullOn(l)
	}
}

// take takes what an answer says, and reports whether it was asked for, and is
// not too much.
func (p *pull) take(msg message) bool {
	if msg.kind == kindPast {
		p.got.events = append(p.got.events, msg.events...)
		return p.past && len(p.got.events) <= maxRecent
	}
	if len(msg.prefixes) != 1 || !p.asked[msg.prefixes[0]] {
		return false
	}
	prefix := msg.prefixes[0]
	if msg.kind == kindRecords {
		p.got.records = append(p.got.records, msg.records...)
		if !msg.more {
			delete(p.asked, prefix)
		}
		return len(p.got.records) <= maxBatch
	}
	delete(p.asked, prefix)
	if prefix.Depth >= maxDepth {
		return false
	}
	own := p.own.Children(prefix)
	for i, digest := range msg.children {
		if digest != own[i] {
			p.todo = append(p.todo, prefix.Child(i))
			p.asks++
		}
	}
	return p.asks <= maxAsks
}

// synced ends a synchronisation: what the peer knew is taken in as a whole, and
// then what it learnt meanwhile.
func (m *Machine) synced(l *link) {
	p := l.pull
	l.pull = nil
	m.met = true
	m.send(l, message{kind: kindSynced})
	m.takeIn(l, p.got)
	for _, data := range p.held {
		if msg, err := decode(data); err == nil && !l.broken {
			m.takeNext(l, msg)
		}
	}
}

// hold keeps a message that must be taken in after what is being asked for.
func (m *Machine) hold(l *link, data []byte) {
	p := l.pull
	p.bytes += len(data)
	if len(p.held) >= maxHeld || p.bytes > maxHeldBytes {
		m.reset(l)
		return
	}
	p.held = append(p.held, slices.Clone(data))
}

// receiveAsk answers from what this server knew when it sent the Root. Who asks
// for more than twice all there is is given up.
func (m *Machine) receiveAsk(l *link, msg message) {
	o := l.offer
	if o == nil {
		return
	}
	for _, prefix := range msg.prefixes {
		n := o.told.Count(prefix)
		records := msg.whole || n <= leafRecords || prefix.Depth >= maxDepth
		if o.answered++; records {
			o.answered += n
		}
		switch {
		case o.answered > 2*o.told.Count(directory.Prefix{})+maxPrefixes:
			m.reset(l)
			return
		case records:
			m.sendRecords(l, prefix)
		default:
			m.send(l, message{kind: kindChildren, prefixes: []directory.Prefix{prefix}, children: o.told.Children(prefix)})
		}
	}
	if msg.past && !o.past {
		o.past = true
		m.sendPast(l)
	}
}

func (m *Machine) sendRecords(l *link, prefix directory.Prefix) {
	var list []entry
	for r := range l.offer.told.Under(prefix) {
		if !m.expired(r) {
			list = append(list, m.entryOf(r))
		}
	}
	for _, msg := range parts(kindRecords, list, nil) {
		msg.prefixes = []directory.Prefix{prefix}
		m.send(l, msg)
	}
}

// sendPast sends the recent events that were known at the time of the Root.
func (m *Machine) sendPast(l *link) {
	var list []event
	for _, e := range m.recent.list {
		if r := l.offer.told.Get(e.origin); r != nil && e.number <= r.Events {
			list = append(list, e.event)
		}
	}
	for _, msg := range parts(kindPast, nil, list) {
		m.send(l, msg)
	}
}

// compareDigest looks whether the peer knows the same servers (rule M7).
func (m *Machine) compareDigest(l *link, s signal) {
	if s.digest != m.dir.Digest() && s.quiet >= settled && m.now.Sub(m.changed) >= settled {
		m.resync(l)
	}
}
