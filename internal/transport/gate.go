package transport

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// gate bounds what connections may use before they are authenticated: how many
// there are, and how many of them compute at once.
//
// At the bound the oldest goes of those who have not said anything that makes
// sense, and if there are none, the oldest of all. An honest dialler speaks at
// once and is through in milliseconds. One source may hold half of the places:
// it then loses its own, and those of others are safe from it.
//
// Turns to compute go round the sources, and within a source in order; but who
// had a turn before, and so is nearly through, comes first.
type gate struct {
	most    int // guests
	mu      sync.Mutex
	guests  byAge
	sources map[string]*source
	turns   int       // left
	waiting list.List // of *source, those with somebody waiting, next first
}

// byAge are guests, oldest first: those who have not sent a hello yet, and those
// who have.
type byAge struct{ mute, heard list.List }

func (b *byAge) len() int { return b.mute.Len() + b.heard.Len() }

// first returns who goes first.
func (b *byAge) first() *guest {
	if e := b.mute.Front(); e != nil {
		return e.Value.(*guest)
	}
	return b.heard.Front().Value.(*guest)
}

type source struct {
	name    string
	guests  byAge
	waiting list.List // of *guest, next first
	inLine  *list.Element
}

// guest is a connection that is not authenticated yet.
type guest struct {
	gate   *gate
	conn   net.Conn
	source *source
	// The rest is guarded by gate.mu.
	inAll, inSource, inWaiting *list.Element
	gone                       bool
	heard                      bool          // has sent a hello
	turn                       bool          // holds a turn
	begun                      bool          // had a turn before
	called                     chan struct{} // of capacity 1; receives when waiting ends
}

func newGate(most, turns int) *gate {
	return &gate{most: most, turns: turns, sources: make(map[string]*source)}
}

// sourceOf returns what counts as one source of connections: an IPv4 address,
// or an IPv6 network of 64 bits, which is what one host commonly has.
func sourceOf(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		host, _, _ := net.SplitHostPort(a.String())
		return host
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if net, err := ip.Prefix(64); err == nil {
			return net.String()
		}
	}
	return ip.String()
}

// enter admits a connection, and closes the one that has to go for it, if any.
func (g *gate) enter(c net.Conn) *guest {
	name := sourceOf(c.RemoteAddr())
	g.mu.Lock()
	s := g.sources[name]
	if s == nil {
		s = &source{name: name}
		g.sources[name] = s
	}
	x := &guest{gate: g, conn: c, source: s, called: make(chan struct{}, 1)}
	var victim *guest
	if s.guests.len() >= max(1, g.most/2) {
		victim = s.guests.first()
	} else if g.guests.len() >= g.most {
		victim = g.guests.first()
	}
	x.inAll, x.inSource = g.guests.mute.PushBack(x), s.guests.mute.PushBack(x)
	if victim != nil {
		g.remove(victim)
	}
	g.mu.Unlock()
	if victim != nil {
		victim.conn.Close()
	}
	return x
}

// dropOldest closes n guests, those first who have to go first.
func (g *gate) dropOldest(n int) {
	var victims []*guest
	g.mu.Lock()
	for ; n > 0 && g.guests.len() > 0; n-- {
		x := g.guests.first()
		g.remove(x)
		victims = append(victims, x)
	}
	g.mu.Unlock()
	for _, x := range victims {
		x.conn.Close()
	}
}

// remove takes x out of everything; its goroutine finds its connection closed.
func (g *gate) remove(x *guest) {
	if x.gone {
		return
	}
	x.gone = true
	g.unlist(x)
	if x.inWaiting != nil {
		g.unwait(x)
		x.called <- struct{}{}
	}
	if x.turn {
		x.turn = false
		g.turns++
		g.grant()
	}
	if x.source.guests.len() == 0 {
		delete(g.sources, x.source.name)
	}
}

func (g *gate) unlist(x *guest) {
	if x.heard {
		g.guests.heard.Remove(x.inAll)
		x.source.guests.heard.Remove(x.inSource)
	} else {
		g.guests.mute.Remove(x.inAll)
		x.source.guests.mute.Remove(x.inSource)
	}
}

// spoke notes that the guest has sent a hello.
func (x *guest) spoke() {
	g := x.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.gone || x.heard {
		return
	}
	g.unlist(x)
	x.heard = true
	x.inAll, x.inSource = g.guests.heard.PushBack(x), x.source.guests.heard.PushBack(x)
}

// leave ends a guest's stay, whether it is now authenticated or refused. It
// reports whether it was still welcome.
func (x *guest) leave() bool {
	x.gate.mu.Lock()
	defer x.gate.mu.Unlock()
	welcome := !x.gone
	x.gate.remove(x)
	return welcome
}

// resume waits for a turn to compute. It returns at once for a guest that was
// removed, whose connection is closed.
func (x *guest) resume() {
	g := x.gate
	g.mu.Lock()
	if x.gone || x.turn {
		g.mu.Unlock()
		return
	}
	s := x.source
	if x.begun {
		x.inWaiting = s.waiting.PushFront(x)
	} else {
		x.inWaiting = s.waiting.PushBack(x)
	}
	if s.inLine == nil {
		s.inLine = g.waiting.PushBack(s)
	}
	g.grant()
	g.mu.Unlock()
	<-x.called
}

// yield gives the turn back, before waiting for the other end.
func (x *guest) yield() {
	g := x.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.turn {
		x.turn = false
		g.turns++
		g.grant()
	}
}

// grant hands out turns while there are any, and someone waits.
func (g *gate) grant() {
	for g.turns > 0 && g.waiting.Len() > 0 {
		s := g.waiting.Front().Value.(*source)
		x := s.waiting.Front().Value.(*guest)
		g.unwait(x)
		if s.inLine != nil {
			g.waiting.MoveToBack(s.inLine)
		}
		g.turns--
		x.turn, x.begun = true, true
		x.called <- struct{}{}
	}
}

func (g *gate) unwait(x *guest) {
	s := x.source
	s.waiting.Remove(x.inWaiting)
	x.inWaiting = nil
	if s.waiting.Len() == 0 {
		g.waiting.Remove(s.inLine)
		s.inLine = nil
	}
}
