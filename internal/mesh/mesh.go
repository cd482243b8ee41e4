// Package mesh drives the overlay and the membership of a server on real
// connections and the real clock. It dials and accepts links, carries the two
// machines' messages over them, and tells who is in the circuit.
//
// One goroutine owns the machines and does all they ask; everybody else posts
// events to it. Each link has two more, one that reads and one that writes.
// Package server starts a Mesh, registers it as the Mesh service, and closes
// it. Its exported methods may be called from any goroutine.
package mesh

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
)

// Conn is an authenticated connection to a server.
type Conn interface {
	grpc.ClientConnInterface
	Peer() credential.Peer
	Close() error
}

// Config configures a Mesh.
type Config struct {
	// Self is this server, as others will see it.
	Self overlay.Peer
	// Hello introduces this server on links.
	Hello *circuitv1.Hello
	// Incarnation is higher than any that this server used before.
	Incarnation uint64
	// Remembered are servers of an earlier life's circuit.
	Remembered []overlay.Peer
	// Dial connects to the server at an address, within ctx; want is the server
	// that must answer, 0 for any.
	Dial func(ctx context.Context, addr string, want circuit.ServerID) (Conn, error)
	// Persist keeps an incarnation across restarts, before it is used.
	Persist func(incarnation uint64) error
	// SavePeers keeps servers of the circuit for Remembered.
	SavePeers func([]overlay.Peer) error
	// OnEvent is told, in order, who joined and who left. It must not block, nor
	// call the Mesh.
	OnEvent func(Event)
	// OnTaken is told that another server with this ID is in the circuit, at
	// address: this one must stop. It must not block.
	OnTaken func(address string)
	// Log takes what operators should know.
	Log *slog.Logger
}

// Event is a change of the circuit.
type Event struct {
	Joined bool // else it left
	Failed bool // it did not say that it leaves
	// Restarted tells of a server that left that a new process of it is here
	// already: Joined is to follow, and connections from it may be the new ones.
	Restarted bool
	Member    circuit.Member
}

// Limits.
const (
	inboxLength = 256             // events that wait; their senders then wait, too
	dialTimeout = 5 * time.Second // for a connection and both hellos
	saveEvery   = time.Second     // between writes of the remembered peers, at least
)

// Mesh is a running driver. It implements circuitv1.MeshServer.
type Mesh struct {
	circuitv1.UnimplementedMeshServer
	cfg Config
	log *slog.Logger

	inbox  chan func() // events, run by the owner of what is below "owned"
	ctx    context.Context
	cancel context.CancelFunc
	owner  sync.WaitGroup // the goroutine that owns the machines
	others sync.WaitGroup // dials, links, the saver

	mu      sync.RWMutex
	closed  bool                                // no further goroutines
	members map[circuit.ServerID]circuit.Member // this server included

	save chan struct{} // capacity 1: peers are to be saved

	// Owned by one goroutine.
	overlay    *overlay.Machine
	membership *membership.Machine
	pending    []any // outputs yet to be done, in order
	links      map[uint64]*link
	lastLink   uint64
	joins      map[*join]struct{}
	departed   []chan struct{} // waiting for the circuit to know that we leave
}

var _ circuitv1.MeshServer = (*Mesh)(nil)

// Start starts a mesh that knows nobody but Config.Remembered.
func Start(cfg Config) *Mesh {
	ctx, cancel := context.WithCancel(context.Background())
	now := time.Now()
	m := &Mesh{
		cfg: cfg, log: cfg.Log,
		inbox: make(chan func(), inboxLength), ctx: ctx, cancel: cancel,
		members: make(map[circuit.ServerID]circuit.Member), save: make(chan struct{}, 1),
		links: make(map[uint64]*link), joins: make(map[*join]struct{}),
		overlay: overlay.New(now, overlay.Config{Self: cfg.Self, Remembered: cfg.Remembered, Rand: newRand()}),
		membership: membership.New(now, membership.Config{
			Self: membership.Record{
				ID: cfg.Self.ID, Address: cfg.Self.Address, Instance: cfg.Self.Instance,
				Incarnation: cfg.Incarnation, Version: cfg.Hello.GetSoftware(),
			},
			Rand: newRand(),
		}),
	}
	m.members[cfg.Self.ID] = circuit.Member{ID: cfg.Self.ID, Address: cfg.Self.Address, Joined: now, Version: cfg.Hello.GetSoftware()}
	m.owner.Go(m.run)
	m.others.Go(m.keepPeers)
	return m
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// Close ends all links and waits for all goroutines. To others it looks like a
// failure unless Leave came first.
func (m *Mesh) Close() {
	m.cancel()
	m.owner.Wait()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.others.Wait()
}

// spawn runs f in a goroutine that Close waits for, unless it is too late.
func (m *Mesh) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.others.Go(f)
	return true
}

// post hands an event to the owner. It reports whether the mesh is still open.
func (m *Mesh) post(event func()) bool {
	select {
	case m.inbox <- event:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// ask runs f in the owner and waits until it is done.
func (m *Mesh) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case m.inbox <- func() { f(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return errStopping()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return errStopping()
	}
}

func errStopping() error { return circuit.Errorf(circuit.Unreachable, "this server is stopping") }

// run owns the machines until the mesh is closed.
func (m *Mesh) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next, ok := m.deadline(); ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case event := <-m.inbox:
			event()
		case <-timer.C:
			m.tick()
		case <-m.ctx.Done():
			for _, l := range m.links {
				l.close()
			}
			return
		}
	}
}

// deadline returns the earlier of the two machines' deadlines.
func (m *Mesh) deadline() (time.Time, bool) {
	a, b := m.overlay.Deadline(), m.membership.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		a = b
	}
	return a, !a.IsZero()
}

// tick gives each machine whose deadline has come the time.
func (m *Mesh) tick() {
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	overlayDue, membershipDue := due(m.overlay.Deadline()), due(m.membership.Deadline())
	if overlayDue {
		m.tellOverlay(overlay.Tick{})
	}
	if membershipDue {
		m.tellMembership(membership.Tick{})
	}
	m.settle()
}

// Members returns the servers of the circuit, this one included, in order of
// their IDs.
func (m *Mesh) Members() []circuit.Member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return sortedMembers(m.members)
}

// Member returns a server of the circuit. It does not block.
func (m *Mesh) Member(id circuit.ServerID) (circuit.Member, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	member, ok := m.members[id]
	return member, ok
}

// Lookup returns what is known of a server that is, or was lately, in the
// circuit: membership.Record's State tells which.
func (m *Mesh) Lookup(ctx context.Context, id circuit.ServerID) (r membership.Record, ok bool, err error) {
	err = m.ask(ctx, func() { r, ok = m.membership.Lookup(id) })
	return r, ok, err
}

// Neighbours returns the servers that this one has a link with.
func (m *Mesh) Neighbours(ctx context.Context) (ids []circuit.ServerID, err error) {
	err = m.ask(ctx, func() { ids = m.overlay.Neighbours() })
	return ids, err
}

// Leave tells the circuit that this server leaves, and returns once its
// neighbours know, or when ctx ends. Close is to follow.
func (m *Mesh) Leave(ctx context.Context) error {
	known := make(chan struct{})
	if err := m.ask(ctx, func() {
		m.departed = append(m.departed, known)
		m.tellOverlay(overlay.Leave{})
		m.tellMembership(membership.Leave{})
		m.settle()
	}); err != nil {
		return err
	}
	select {
	case <-known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
