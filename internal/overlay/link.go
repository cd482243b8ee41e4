package overlay

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
)

// The times of links (rules O4, O6 and O9).
const (
	openTime      = 5 * time.Second  // a link that is not in use after this is closed
	challengeTime = 2 * time.Second  // how long a server has to prove that it lives
	guestTime     = 60 * time.Second // how long a server that is not in the circuit keeps its link
)

// phase is where a link is on its way into use.
type phase uint8

const (
	fresh   phase = iota // the peer dialled, and has not asked yet
	asking               // we asked, and have no answer yet
	held                 // waits while we see whether the peer's other process lives
	up                   // in use
	retired              // was in use; the peer, who replaced it, closes it
	garbage              // closed
)

// link is a connection that the driver reported.
type link struct {
	num     uint64
	peer    Peer
	dialled bool // by us
	phase   phase
	epoch   uint64    // of the Open that it was asked for with
	until   time.Time // when it is closed unless it gets further; zero: never
}

// peer is what is known of one other server.
type peer struct {
	id     circuit.ServerID
	in     bool // in the circuit, as member
	member Peer
	epoch  uint64 // highest so far of the links between us

	up     *link // the one in use
	asking *link // ours that awaits an answer

	held    *link     // a newcomer's, while we challenge the other process of that ID
	old     Peer      // that other process
	verdict time.Time // when silence counts as its absence

	dialling bool // to member.Address
	fresh    bool // a new link is wanted although there is one
	retry    retry
}

// wanted reports whether a dial to p is in order, now or later.
func (p *peer) wanted() bool {
	return p.in && p.asking == nil && !p.dialling && (p.up == nil || p.fresh)
}

// other returns a process of p that is in use, or in the circuit, and is not
// the given instance.
func (p *peer) other(instance uint64) (Peer, bool) {
	if p.up != nil && p.up.peer.Instance != instance {
		return p.up.peer, true
	}
	if p.in && p.member.Instance != instance {
		return p.member, true
	}
	return Peer{}, false
}

func (m *Machine) find(id circuit.ServerID) (int, bool) {
	return slices.BinarySearchFunc(m.peers, id, func(p *peer, id circuit.ServerID) int {
		switch {
		case p.id < id:
			return -1
		case p.id > id:
			return 1
		}
		return 0
	})
}

// known returns the peer with an ID, or nil.
func (m *Machine) known(id circuit.ServerID) *peer {
	if i, ok := m.find(id); ok {
		return m.peers[i]
	}
	return nil
}

// peer returns the peer with an ID, made if need be.
func (m *Machine) peer(id circuit.ServerID) *peer {
	i, ok := m.find(id)
	if !ok {
		m.peers = slices.Insert(m.peers, i, &peer{id: id})
	}
	return m.peers[i]
}

// forget drops peers that nothing refers to.
func (m *Machine) forget() {
	m.peers = slices.DeleteFunc(m.peers, func(p *peer) bool {
		return !p.in && !p.dialling && p.up == nil && p.asking == nil && p.held == nil
	})
}

func (m *Machine) linkUp(in LinkUp) {
	var d *dial
	if in.Dial != 0 {
		if d = m.dialDone(in.Dial); d == nil {
			m.emit(Disconnect{Link: in.Link})
			return
		}
	}
	l := &link{num: in.Link, peer: in.Peer, dialled: d != nil, until: m.now.Add(openTime)}
	switch {
	case m.leaving || len(m.links) >= MaxLinks:
		m.emit(Disconnect{Link: l.num})
	case in.Peer.ID == m.cfg.Self.ID:
		m.metSelf(d, l)
	case d == nil:
		m.links = append(m.links, l)
	default:
		m.links = append(m.links, l)
		m.connected(d, l)
	}
}

// metSelf is for a link to a server with this one's own ID (rule O7).
func (m *Machine) metSelf(d *dial, l *link) {
	m.emit(Disconnect{Link: l.num})
	switch {
	case d == nil: // whoever dialled finds out by itself
	case l.peer.Instance == m.cfg.Self.Instance:
		m.seedFound(d, l.peer.ID)
	case m.members == 0:
		m.taken(l.peer.Address)
	default:
		m.seedFailed(d, IDTaken)
	}
}

// connected goes on with a link that we dialled.
func (m *Machine) connected(d *dial, l *link) {
	p := m.peer(l.peer.ID)
	other, conflict := p.other(l.peer.Instance)
	m.seedFound(d, p.id)
	switch {
	case p.asking != nil || p.held != nil:
		m.close(l)
	case p.up != nil && !conflict && !d.fresh:
		m.close(l)
	case conflict && other.Address != d.address && other.Address != l.peer.Address:
		m.challenge(p, l, other)
	default:
		m.ask(p, l)
	}
}

// ask asks the peer to use a link that we dialled.
func (m *Machine) ask(p *peer, l *link) {
	l.phase, l.until = asking, m.now.Add(openTime)
	l.epoch = p.epoch + 1
	p.asking = l
	m.send(l, message{kind: kindOpen, epoch: l.epoch})
}

func (m *Machine) send(l *link, msg message) {
	m.emit(Send{Link: l.num, Data: msg.encode()})
}

func (m *Machine) receive(in Receive) {
	i := slices.IndexFunc(m.links, func(l *link) bool { return l.num == in.Link })
	if i < 0 {
		return
	}
	msg, err := decode(in.Data)
	if err != nil {
		return
	}
	l := m.links[i]
	p := m.peer(l.peer.ID)
	switch msg.kind {
	case kindOpen:
		if l.phase == fresh && !l.dialled {
			m.opened(p, l, msg.epoch)
		}
	case kindAccept:
		if l == p.asking {
			m.use(p, l)
		}
	case kindRefuse:
		if l == p.asking {
			m.refused(p, l, msg)
		}
	case kindPing:
		m.send(l, message{kind: kindPong})
	case kindPong:
		if p.held != nil && l.peer.Instance == p.old.Instance {
			m.proven(p, true)
		}
	}
}

// opened answers a peer that asks to use a link it dialled (rule O5).
func (m *Machine) opened(p *peer, l *link, epoch uint64) {
	l.epoch = epoch
	if m.leaving {
		m.refuse(p, l, codeLeaving, "")
		return
	}
	if other, conflict := p.other(l.peer.Instance); conflict && other.Address != l.peer.Address {
		m.challenge(p, l, other)
		return
	} else if conflict {
		m.accept(p, l)
		return
	}
	switch {
	case p.asking != nil && (epoch < p.asking.epoch || epoch == p.asking.epoch && m.cfg.Self.ID < p.id):
		m.refuse(p, l, codeDuplicate, "")
	case p.up != nil && epoch <= p.up.epoch:
		m.refuse(p, l, codeDuplicate, "")
	default:
		m.accept(p, l)
	}
}

func (m *Machine) accept(p *peer, l *link) {
	m.send(l, message{kind: kindAccept})
	m.use(p, l)
}

func (m *Machine) refuse(p *peer, l *link, why code, address string) {
	m.send(l, message{kind: kindRefuse, code: why, epoch: p.epoch, address: address})
	m.close(l)
}

// refused goes on after the peer refused a link that we dialled.
func (m *Machine) refused(p *peer, l *link, msg message) {
	m.close(l)
	switch msg.code {
	case codeDuplicate:
		p.epoch = max(p.epoch, msg.epoch)
		p.retry.next = m.now.Add(jitter(m.cfg.Rand, firstRetry/4, firstRetry/2))
	case codeTaken:
		if p.in || m.members == 0 {
			m.taken(msg.address)
			return
		}
		m.seedsRefused(p.id)
		p.retry.failed(m.now, m.cfg.Rand)
	default:
		p.retry.failed(m.now, m.cfg.Rand)
	}
}

// taken ends this server's part: its ID is another's.
func (m *Machine) taken(address string) {
	m.leaving = true
	m.emit(Taken{Address: address})
}

// use makes a link the one between us (rule O4).
func (m *Machine) use(p *peer, l *link) {
	if p.up != nil && !l.dialled && p.up.peer.Instance == l.peer.Instance {
		m.retire(p)
	} else if p.up != nil {
		m.drop(p)
	}
	if p.asking != nil && p.asking != l {
		m.close(p.asking)
	}
	if p.in && p.member.Instance != l.peer.Instance {
		m.emit(Replaced{ID: p.id, Old: p.member.Instance})
	}
	p.asking, p.up, p.fresh = nil, l, false
	p.epoch = max(p.epoch, l.epoch)
	p.retry.start(m.now, m.now)
	l.phase, l.until = up, time.Time{}
	if !p.in {
		l.until = m.now.Add(guestTime)
	}
	m.emit(Up{Link: l.num, Peer: l.peer})
	if p.held != nil && p.old.Instance == l.peer.Instance {
		m.proven(p, true)
	}
}

// drop ends the link in use.
func (m *Machine) drop(p *peer) {
	m.emit(Down{Link: p.up.num, ID: p.id})
	m.close(p.up)
}

// retire ends the use of a link that the peer replaced. The peer closes it once
// it knows that the new one is in use; if this end did, the peer might think for
// a moment that it lost us.
func (m *Machine) retire(p *peer) {
	m.emit(Down{Link: p.up.num, ID: p.id})
	p.up.phase, p.up.until = retired, m.now.Add(openTime)
	p.up = nil
}

// close closes a link and lets nothing refer to it.
func (m *Machine) close(l *link) {
	m.emit(Disconnect{Link: l.num})
	m.remove(l)
}

// remove forgets a link.
func (m *Machine) remove(l *link) {
	l.phase = garbage
	m.links = slices.DeleteFunc(m.links, func(o *link) bool { return o == l })
	if p := m.known(l.peer.ID); p != nil {
		for _, ref := range []**link{&p.up, &p.asking, &p.held} {
			if *ref == l {
				*ref = nil
			}
		}
	}
}

func (m *Machine) linkDown(num uint64) {
	i := slices.IndexFunc(m.links, func(l *link) bool { return l.num == num })
	if i < 0 {
		return
	}
	l := m.links[i]
	p := m.peer(l.peer.ID)
	was := l.phase
	m.remove(l)
	switch was {
	case up:
		m.emit(Down{Link: num, ID: p.id, Lost: true})
		p.retry.start(m.now, m.now)
	case asking:
		m.unreached(p, false)
	}
}

// challenge holds a newcomer back until its ID's other process has shown that
// it lives, or has not (rule O6).
func (m *Machine) challenge(p *peer, l *link, other Peer) {
	if p.held != nil {
		m.refuse(p, l, codeBusy, "")
		return
	}
	p.held, p.old, p.verdict = l, other, m.now.Add(challengeTime)
	l.phase, l.until = held, time.Time{}
	if p.up != nil && p.up.peer.Instance == other.Instance {
		m.send(p.up, message{kind: kindPing})
		return
	}
	p.retry.next = m.now
}

// proven ends a challenge: the other process lives, or does not.
func (m *Machine) proven(p *peer, lives bool) {
	l := p.held
	p.held = nil
	switch {
	case lives && l.dialled:
		m.seedsRefused(p.id)
		m.close(l)
	case lives:
		m.refuse(p, l, codeTaken, p.old.Address)
	case l.dialled:
		m.ask(p, l)
	default:
		m.accept(p, l)
	}
}

// expire closes links that did not get further in time, and ends challenges.
func (m *Machine) expire() {
	for _, l := range slices.Clone(m.links) {
		if l.until.IsZero() || m.now.Before(l.until) {
			continue
		}
		p, was := m.peer(l.peer.ID), l.phase
		switch was {
		case up:
			m.drop(p)
		case asking:
			m.close(l)
			m.unreached(p, false)
		default:
			m.close(l)
		}
	}
	for _, p := range slices.Clone(m.peers) {
		if p.held != nil && !m.now.Before(p.verdict) {
			m.proven(p, false)
		}
	}
}
