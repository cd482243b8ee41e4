// Package mesh drives the overlay and the membership of a server on real
// connections, datagrams and the real clock. It dials and accepts links, carries
// the two machines' messages over them, and tells who is in the circuit, and what
// its servers broadcast.
//
// # Order
//
// What a mesh tells, it tells one thing after the other, in an order that respects
// causes: if a server broadcasts something, or tells of a server that joined or
// left, then every server that is told this has been told before whatever the
// first one had been told, or had broadcast, before that. What one server
// broadcasts arrives in the order in which it was broadcast, each once, with
// numbers that grow. Two broadcasts of which neither could know of the other may
// arrive in different orders at different servers. Joined and left alternate
// strictly for each server. Who joins later, or was cut off from the circuit for
// more than 30 s, misses what was broadcast meanwhile.
//
// # Concurrency
//
// One lock guards the machines. Whoever brings an event, the reader of a link or
// of the datagrams, a dial, the clock, a caller, steps the machines himself under
// it and does what they ask: handing events over to an owner would wake an idle
// server's threads twice as often. Each link has a goroutine that reads and one
// that writes. Package server starts a Mesh, registers it as the Mesh service, and
// closes it. Exported methods may be called from any goroutine; those that only
// ask who is there wait for nobody.
package mesh

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/directory"
	"github.com/gocircuit/circuit/internal/membership"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/transport"
)

// Conn is an authenticated connection to a server.
type Conn interface {
	grpc.ClientConnInterface
	Peer() credential.Peer
	Binding() transport.Binding
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
	// Reserved is the incarnation above which the next life begins, as Persist was
	// told it last: Incarnation+Reserve-1.
	Reserved uint64
	// Remembered are servers of an earlier life's circuit.
	Remembered []overlay.Peer
	// Dial connects to the server at an address, within ctx; want is the server
	// that must answer, 0 for any.
	Dial func(ctx context.Context, addr string, want circuit.ServerID) (Conn, error)
	// Datagrams is this server's socket; nil if it has none. It is closed after
	// the Mesh.
	Datagrams *transport.Datagrams
	// Alarm is what the mesh tells the time by, and closes; nil means Go's timers.
	Alarm Alarm
	// Persist keeps, across restarts, the incarnation above which the next life
	// begins. It is called well before that is reached, and by the same goroutine
	// as SavePeers: they may take their time.
	Persist func(incarnation uint64) error
	// SavePeers keeps servers of the circuit for Remembered.
	SavePeers func([]overlay.Peer) error
	// OnEvent is told, in order, who joined and who left. It must not block, nor
	// call what changes the Mesh.
	OnEvent func(Event)
	// OnBroadcast is told, in order with OnEvent, what other servers broadcast;
	// nil if nobody wants to know. It must not block, nor call what changes the
	// Mesh. Data is its own.
	OnBroadcast func(origin circuit.ServerID, number uint64, data []byte)
	// OnTaken is told that another server with this ID is in the circuit, at
	// address: this one must stop. It must not block.
	OnTaken func(address string)
	// Log takes what operators should know. It is used with the lock held, so it
	// must not block.
	Log *slog.Logger
}

// Event is a change of the circuit.
type Event struct {
	Joined bool // else it left
	Failed bool // it did not say that it leaves
	// Restarted tells of a server that left that a new process of it is here
	// already: Joined is to follow, and connections from it may be the new ones.
	Restarted bool
	// Member is the server. Its Joined is zero if it left.
	Member circuit.Member
}

// dialTimeout limits a connection and both hellos.
const dialTimeout = 5 * time.Second

// Mesh is a running driver. It implements circuitv1.MeshServer.
type Mesh struct {
	circuitv1.UnimplementedMeshServer
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // ends when the mesh is closed
	cancel context.CancelFunc
	others sync.WaitGroup // the clock, dials, links

	view    atomic.Pointer[directory.Directory] // the membership's, as last told
	save    chan struct{}                       // capacity 1: peers are to be saved
	reserve chan struct{}                       // capacity 1: incarnations are to be kept
	kept    chan struct{}                       // closed when the goroutine of these two has ended
	turn    chan struct{}                       // held by the Broadcast that waits for room

	alarm Alarm // rings when a machine is due

	mu         sync.Mutex // guards the rest
	closed     bool       // no further events or goroutines
	armed      time.Time  // when the alarm rings; zero: never
	overlay    *overlay.Machine
	membership *membership.Machine
	pending    []any // outputs yet to be done, in order
	links      map[uint64]*link
	lastLink   uint64
	fresh      []*link // with messages queued by the event under way
	joins      map[*join]struct{}
	departed   []chan struct{} // waiting for the circuit to know that we leave

	incarnation uint64 // as last told
	reserved    uint64 // the highest that is kept
	reserving   bool   // more are asked for
	overdrawn   bool   // it was said that none was left
}

var _ circuitv1.MeshServer = (*Mesh)(nil)

// Start starts a mesh that knows nobody but Config.Remembered.
func Start(cfg Config) *Mesh {
	ctx, cancel := context.WithCancel(context.Background())
	now := time.Now()
	m := &Mesh{
		cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel,
		save: make(chan struct{}, 1), reserve: make(chan struct{}, 1), kept: make(chan struct{}),
		turn: make(chan struct{}, 1), alarm: cfg.Alarm, incarnation: cfg.Incarnation, reserved: cfg.Reserved,
		links: make(map[uint64]*link), joins: make(map[*join]struct{}),
		overlay: overlay.New(now, overlay.Config{Self: cfg.Self, Remembered: cfg.Remembered, Rand: newRand()}),
		membership: membership.New(now, membership.Config{
			Self: directory.Record{
				ID: cfg.Self.ID, Address: cfg.Self.Address, Instance: cfg.Self.Instance,
				Incarnation: cfg.Incarnation, Version: cfg.Hello.GetSoftware(),
			},
			Rand: newRand(),
		}),
	}
	if m.alarm == nil {
		m.alarm = newGoAlarm()
	}
	view := m.membership.Directory()
	m.view.Store(&view)
	m.do(func() {}) // sets the alarm
	m.others.Go(m.clock)
	go m.keep() // Close waits for it
	return m
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// Close ends all links and waits for all goroutines, but for one that is stuck in
// Persist or SavePeers for longer than a second. To others it looks like a failure
// unless Leave came first.
func (m *Mesh) Close() {
	m.cancel()
	m.alarm.Close()
	m.mu.Lock()
	m.closed = true
	for _, l := range m.links {
		l.close()
	}
	m.mu.Unlock()
	m.others.Wait()
	select {
	case <-m.kept:
	case <-time.After(keepTime):
		m.log.Warn("the data directory does not answer; the latest peers and incarnation may not be kept")
	}
}

// do lets an event change the machines, and does all that follows from it. It
// reports false, without having called event, if the mesh is closed.
func (m *Mesh) do(event func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	event()
	m.settle()
	for _, l := range m.fresh {
		l.signal()
	}
	clear(m.fresh)
	m.fresh = m.fresh[:0]
	if next := m.deadline(); !next.Equal(m.armed) {
		m.armed = next
		m.alarm.Set(next)
	}
	return true
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

func errStopping() error { return circuit.Errorf(circuit.Unreachable, "this server is stopping") }

// clock gives the machines the time when it is due.
func (m *Mesh) clock() {
	for m.alarm.Wait() {
		m.do(m.tick)
	}
}

// deadline returns the earlier of the two machines' deadlines.
func (m *Mesh) deadline() time.Time {
	a, b := m.overlay.Deadline(), m.membership.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		a = b
	}
	return a
}

// tick gives each machine whose deadline has come the time.
func (m *Mesh) tick() {
	m.armed = time.Time{}
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	overlayDue, membershipDue := due(m.overlay.Deadline()), due(m.membership.Deadline())
	if overlayDue {
		m.tellOverlay(overlay.Tick{})
	}
	if membershipDue {
		m.tellMembership(membership.Tick{})
	}
}

// Leave tells the circuit that this server leaves, and returns once its
// neighbours know, or when ctx ends. Close is to follow.
func (m *Mesh) Leave(ctx context.Context) error {
	known, refused := make(chan struct{}), make(chan struct{})
	m.others.Go(func() { // ctx may end before the lock is free
		if !m.do(func() {
			m.departed = append(m.departed, known)
			m.tellOverlay(overlay.Leave{})
			m.tellMembership(membership.Leave{})
		}) {
			close(refused)
		}
	})
	select {
	case <-known:
		return nil
	case <-refused:
		return errStopping()
	case <-ctx.Done():
		return ctx.Err()
	}
}
