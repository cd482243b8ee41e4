package overlay

import (
	"slices"
	"time"

	"github.com/gocircuit/circuit"
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
	id circuit.ServerID

	up     *link // the one in use
	asking *link // ours that awaits an answer

	held    *link     // a newcomer's, while we challenge the other process of that ID
	old     Peer      // that other process
	verdict time.Time // when silence counts as its absence

	wish   bool // this server wants a link
	wished bool // it did before the choice under way
	first  bool // as the next on a ring, not in another's stead
	gone   bool // the last dial proved that its process is not there

	// Of the link in use:
	mine   bool      // this server wants it, as far as the peer knows
	theirs bool      // the peer does
	idle   time.Time // since when this server does not; zero: it does, or the peer is a guest
	doubt  time.Time // until when it counts for nothing; zero: it is sound

	dialling bool // to the member's address
	fresh    bool // a dial is wanted whatever the rest says
	retry    retry
}

// sound reports whether there is a link that can be relied on.
func (p *peer) sound() bool { return p.up != nil && p.doubt.IsZero() }

// guest reports whether the link in use is one of a server that is not in the
// circuit.
func (p *peer) guest() bool { return !p.up.until.IsZero() }

// engaged reports whether there is a link, or one may come about.
func (p *peer) engaged() bool {
	return p.up != nil || p.asking != nil || p.held != nil || p.dialling
}

// other returns a process of p that is in use, or in the circuit, and is not
// the given instance.
func (m *Machine) other(p *peer, instance uint64) (Peer, bool) {
	if p.up != nil && p.up.peer.Instance != instance {
		return p.up.peer, true
	}
	member, in := m.member(p.id)
	return member, in && member.Instance != instance
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
		return !p.wish && !p.fresh && !p.engaged()
	})
}

func (m *Machine) linkUp(in LinkUp) {
	var d *dial
	if in.Dial != 0 {
		if d = m.dialDone(in.Dial); d == nil {
			m.emit(Disconnect{Link: in.Link})
			return
		}
		m.pace.succeeded(m.now, m.now.Sub(d.began))
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
		if d.seed != nil {
			m.seedFound(d.seed, l.peer.ID)
		}
		m.found(l.peer.ID)
	case m.members == 0:
		m.taken(l.peer.Address)
	case d.seed != nil:
		m.seedFailed(d.seed, IDTaken)
	}
}

// connected goes on with a link that we dialled.
func (m *Machine) connected(d *dial, l *link) {
	p := m.peer(l.peer.ID)
	if d.seed != nil {
		m.seedFound(d.seed, p.id)
	}
	if p.held != nil && p.old.Instance == l.peer.Instance {
		m.proven(p, true)
	}
	other, conflict := m.other(p, l.peer.Instance)
	_, in := m.member(p.id)
	moved := d.purpose == forMember && in && !p.wish && !d.fresh // the rings did, meanwhile
	switch {
	case p.asking != nil || p.held != nil || moved || p.up != nil && !conflict && !d.fresh:
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
	m.epoch++
	l.epoch = m.epoch
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
	case kindWant:
		if l == p.up {
			m.theyWant(p, msg.want)
		}
	case kindBye:
		if l == p.up {
			m.parted(p)
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
	if other, conflict := m.other(p, l.peer.Instance); conflict && other.Address != l.peer.Address {
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
	m.send(l, message{kind: kindRefuse, code: why, epoch: m.epoch, address: address})
	m.close(l)
}

// refused goes on after the peer refused a link that we dialled.
func (m *Machine) refused(p *peer, l *link, msg message) {
	m.close(l)
	switch msg.code {
	case codeDuplicate:
		m.epoch = max(m.epoch, msg.epoch)
		if _, in := m.member(p.id); in {
			m.refresh(p)
		}
		p.retry.next = m.now.Add(jitter(m.cfg.Rand, firstRetry/4, firstRetry/2))
	case codeTaken:
		if _, in := m.member(p.id); in || m.members == 0 {
			m.taken(msg.address)
			return
		}
		m.seedsRefused(p.id)
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
	member, in := m.member(p.id)
	if in && member.Instance != l.peer.Instance {
		m.emit(Replaced{ID: p.id, Old: member.Instance})
	}
	p.asking, p.up, p.fresh, p.gone = nil, l, false, false
	p.mine, p.theirs, p.idle, p.doubt = true, true, time.Time{}, time.Time{}
	p.retry.start(m.now, m.now)
	m.epoch = max(m.epoch, l.epoch)
	m.stale = true
	l.phase, l.until = up, time.Time{}
	if !in {
		l.until = m.now.Add(guestTime)
	}
	m.emit(Up{Link: l.num, Peer: l.peer})
	if p.held != nil && p.old.Instance == l.peer.Instance {
		m.proven(p, true)
	}
}

// drop ends the link in use.
func (m *Machine) drop(p *peer) {
	m.down(p, false)
	m.close(p.up)
}

// retire ends the use of a link that the peer replaced. The peer closes it once
// it knows that the new one is in use; if this end did, the peer might think for
// a moment that it lost us.
func (m *Machine) retire(p *peer) {
	m.down(p, false)
	p.up.phase, p.up.until = retired, m.now.Add(openTime)
	p.up = nil
}

// down says that the link in use is no more.
func (m *Machine) down(p *peer, lost bool) {
	m.emit(Down{Link: p.up.num, ID: p.id, Lost: lost})
	p.idle, p.doubt = time.Time{}, time.Time{}
	m.stale = true
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
	switch l.phase {
	case up:
		m.down(p, true)
		m.remove(l)
		if _, in := m.member(p.id); in {
			m.refresh(p)
		}
	case asking:
		m.remove(l)
		m.unreached(p, false)
	default:
		m.remove(l)
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
	m.refresh(p)
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

// expire does what waited for its time: it closes links that did not get
// further, ends challenges, doubts and wishes, and goes on with searches.
func (m *Machine) expire() {
	reached := func(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }
	var late []*link
	for _, l := range m.links {
		if reached(l.until) {
			late = append(late, l)
		}
	}
	for _, l := range late {
		m.outstayed(l)
	}
	for _, p := range m.peers {
		if p.held != nil && reached(p.verdict) {
			m.proven(p, false)
		}
		if reached(p.doubt) {
			p.doubt, m.stale = time.Time{}, true
		}
		if reached(m.withdrawal(p)) {
			m.withdraw(p)
		}
	}
	for _, s := range m.searches {
		m.stale = m.stale || reached(s.widen)
	}
}

// outstayed ends a link whose time is over.
func (m *Machine) outstayed(l *link) {
	switch p := m.peer(l.peer.ID); l.phase {
	case garbage:
	case up:
		m.part(p)
	case asking:
		m.close(l)
		m.unreached(p, false)
	default:
		m.close(l)
	}
}
