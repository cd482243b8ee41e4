package membership

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// link is a link that is in use.
type link struct {
	num      uint64
	id       circuit.ServerID
	instance uint64
	broken   bool // Reset was said; what still comes is ignored

	// What the peer takes from this server.
	offer  *offer    // nil: it has all of it
	rooted time.Time // when it was last made

	// What this server takes from the peer.
	pull  *pull     // under way; nil: what comes is taken in as it comes
	news  batch     // parts of a batch that is not complete yet
	asked time.Time // when a Root was last asked for, or due anyway

	pulse  time.Time // when the next pulse to the peer is due
	pulses int       // sent while datagrams do not get through
	direct bool      // the peer says that datagrams get through to it
	told   bool      // this server said so to the peer
	missed int       // pulses in a row that should have come as datagrams, and did not
}

func (m *Machine) send(l *link, msg message) {
	m.emit(Send{Link: l.num, Data: msg.encode()})
}

// sendAll sends on all links but one, which may be nil.
func (m *Machine) sendAll(but *link, data []byte) {
	for _, l := range m.links {
		if l != but {
			m.emit(Send{Link: l.num, Data: data})
		}
	}
}

// linkTo returns the link to a server, or nil.
func (m *Machine) linkTo(id circuit.ServerID) *link {
	if i := slices.IndexFunc(m.links, func(l *link) bool { return l.id == id }); i >= 0 {
		return m.links[i]
	}
	return nil
}

// numbered returns the link with a number, or nil.
func (m *Machine) numbered(num uint64) *link {
	if i := slices.IndexFunc(m.links, func(l *link) bool { return l.num == num }); i >= 0 {
		return m.links[i]
	}
	return nil
}

func (m *Machine) linkUp(in LinkUp) {
	if old := m.linkTo(in.ID); old != nil {
		m.unlink(old, false)
	}
	l := &link{num: in.Link, id: in.ID, instance: in.Instance, pulse: m.now, asked: m.now}
	l.pull = &pull{until: m.now.Add(syncTime)}
	m.links = append(m.links, l)
	m.sendRoot(l)
	m.observe(l)
}

func (m *Machine) linkDown(in LinkDown) {
	if l := m.numbered(in.Link); l != nil {
		m.unlink(l, in.Lost)
		if m.departBy.IsZero() {
			m.takeOver(l.pulse)
		}
	}
}

// unlink forgets a link.
func (m *Machine) unlink(l *link, lost bool) {
	m.links = remove(m.links, l)
	if w := m.watches[l.id]; w != nil && w.link == l {
		m.unobserve(w, lost)
	}
}

// reset gives a link up.
func (m *Machine) reset(l *link) {
	l.broken, l.pull, l.offer, l.news = true, nil, nil, batch{}
	m.emit(Reset{Link: l.num})
}

func (m *Machine) receive(in Receive) {
	l := m.numbered(in.Link)
	if l == nil || l.broken {
		return
	}
	msg, err := decode(in.Data)
	if err != nil {
		return
	}
	m.heard(l)
	switch msg.kind {
	case kindRoot:
		m.receiveRoot(l, msg)
	case kindAsk:
		m.receiveAsk(l, msg)
	case kindChildren, kindRecords, kindPast:
		m.receiveAnswer(l, msg)
	case kindSynced:
		l.offer = nil
	case kindResync:
		if m.now.Sub(l.rooted) >= resyncTime/2 {
			m.sendRoot(l)
		}
	case kindNews, kindEvent:
		if l.pull != nil {
			m.hold(l, in.Data)
		} else {
			m.takeNext(l, msg)
		}
	case kindSignal:
		m.receiveSignal(l, msg.signal, false)
	case kindDatagrams:
		l.direct, l.pulses = msg.on, 0
	}
}

// takeNext takes in what the peer tells as it learns it, in that order.
func (m *Machine) takeNext(l *link, msg message) {
	switch msg.kind {
	case kindNews:
		m.receiveNews(l, msg)
	case kindEvent:
		m.receiveEvent(l, msg.event)
	}
}
