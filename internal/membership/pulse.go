package membership

import (
	"slices"
	"time"
)

// sendPulses tells those neighbours whose turn it is that this server lives. The
// turns are spread evenly: each pulse says when its neighbour's next turn is, an
// interval after the one promised last (rule M14).
func (m *Machine) sendPulses() {
	const least, most = pulseEvery * 19 / 20, pulseEvery * 21 / 20
	for _, l := range m.links {
		if !m.reached(l.pulse) {
			continue
		}
		m.slot = latest(m.slot, m.now).Add(least + m.within(most-least))
		if last := m.now.Add(time.Duration(len(m.links)) * most); m.slot.After(last) {
			m.slot = last
		}
		m.promise(l, m.slot)
	}
}

// promise sends a pulse that says when the next is due.
func (m *Machine) promise(l *link, next time.Time) {
	l.pulse = next
	if !l.direct {
		m.send(l, message{kind: kindSignal, signal: m.signal(l, sigPulse)})
	}
	if l.direct || l.pulses < tryFirst || l.pulses%tryEvery == 0 {
		m.sendDatagram(l, sigPulse)
	}
	l.pulses++
}

// takeOver lets another neighbour take the turn of one whose link is no more: the
// one whose own is last. Otherwise nobody would look at this server at that time.
func (m *Machine) takeOver(turn time.Time) {
	if len(m.links) == 0 || !turn.After(m.now) {
		return
	}
	byTurn := func(a, b *link) int { return a.pulse.Compare(b.pulse) }
	if last := slices.MaxFunc(m.links, byTurn); !last.broken && last.pulse.After(turn) {
		m.promise(last, turn)
		m.slot = slices.MaxFunc(m.links, byTurn).pulse
	}
}

// signal returns a signal to send on a link now.
func (m *Machine) signal(l *link, kind uint8) signal {
	return signal{kind: kind, quiet: m.now.Sub(m.changed), next: l.pulse.Sub(m.now), digest: m.dir.Digest()}
}

func (m *Machine) sendDatagram(l *link, kind uint8) {
	m.emit(SendDatagram{Link: l.num, Data: m.signal(l, kind).encode()})
}

func (m *Machine) receiveDatagram(in ReceiveDatagram) {
	l := m.numbered(in.Link)
	if l == nil || l.broken {
		return
	}
	s, err := decodeSignal(in.Data)
	if err != nil {
		return
	}
	l.missed = 0
	if !l.told {
		m.tellDatagrams(l, true)
	}
	m.heard(l)
	m.receiveSignal(l, s, true)
}

// tellDatagrams tells the peer whether its datagrams get through.
func (m *Machine) tellDatagrams(l *link, on bool) {
	l.told, l.missed = on, 0
	m.send(l, message{kind: kindDatagrams, on: on})
}

// receiveSignal takes a signal, after heard. Each tells when the next pulse is
// due.
func (m *Machine) receiveSignal(l *link, s signal, datagram bool) {
	if w := m.watches[l.id]; w != nil && w.link == l {
		w.expect = m.now.Add(s.next + pulseGrace)
		if s.kind == sigPulse {
			w.lossy = max(w.lossy-1, 0)
			m.missed(0)
		}
		m.plan(w)
	}
	if s.kind == sigProbe {
		if datagram {
			m.sendDatagram(l, sigAck)
		} else {
			m.send(l, message{kind: kindSignal, signal: m.signal(l, sigAck)})
		}
	}
	m.compareDigest(l, s)
}
