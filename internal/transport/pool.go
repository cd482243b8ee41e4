package transport

import (
	"context"
	"sync"
	"time"

	"github.com/gocircuit/circuit"
)

const (
	poolIdle = time.Minute      // a connection without calls for that long is closed
	poolTick = 15 * time.Second // how often idle ones are looked for
)

// Pool keeps the connections of one server to others, one to each.
type Pool struct {
	dialer *Dialer
	ctx    context.Context // ends with the pool
	cancel context.CancelFunc
	tasks  sync.WaitGroup // dials, and the sweep

	mu       sync.Mutex
	closed   bool
	sweeping bool
	entries  map[circuit.ServerID]*entry
}

// entry is a connection, or the attempt to make it.
type entry struct {
	addr   string
	cancel context.CancelFunc // of the dial
	ready  chan struct{}      // closed when conn or err is set
	conn   *Conn
	err    error
	taken  time.Time // when it was last asked for; guarded by Pool.mu
}

// NewPool makes a pool that dials with d.
func NewPool(d *Dialer) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{dialer: d, ctx: ctx, cancel: cancel, entries: make(map[circuit.ServerID]*entry)}
}

// Get returns the connection to the server id, and makes it, at addr, if there
// is none that lives. Callers who ask at the same time share one attempt. The
// pool closes the connection once it is idle; callers do not. Errors are those
// of Dialer.Dial, and Closed once the pool is closed.
func (p *Pool) Get(ctx context.Context, id circuit.ServerID, addr string) (*Conn, error) {
	e, err := p.entry(id, addr)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.ready:
		return e.conn, e.err
	case <-ctx.Done():
		return nil, dialError(ctx, addr, false, ctx.Err())
	}
}

func (p *Pool) entry(id circuit.ServerID, addr string) (*entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, circuit.Errorf(circuit.Closed, "this server is stopping")
	}
	e := p.entries[id]
	if e == nil || !e.live() || e.addr != addr {
		if e != nil {
			p.discard(e)
		}
		ctx, cancel := context.WithCancel(p.ctx)
		e = &entry{addr: addr, cancel: cancel, ready: make(chan struct{})}
		p.entries[id] = e
		p.tasks.Go(func() { p.dial(ctx, id, e) })
	}
	e.taken = time.Now()
	if !p.sweeping {
		p.sweeping = true
		p.tasks.Go(p.sweep)
	}
	return e, nil
}

// live reports whether the entry can be used or is still being made.
func (e *entry) live() bool {
	select {
	case <-e.ready:
	default:
		return true
	}
	return e.err == nil && !e.conn.main.isEnded()
}

func (p *Pool) dial(ctx context.Context, id circuit.ServerID, e *entry) {
	defer e.cancel()
	conn, err := p.dialer.Dial(ctx, e.addr, id)
	p.mu.Lock()
	current := p.entries[id] == e
	if err != nil && current {
		delete(p.entries, id)
	}
	if current {
		e.conn, e.err = conn, err
	} else {
		e.err = circuit.At("", e.addr, circuit.Errorf(circuit.Unreachable, "connecting was given up: the server left, moved or was declared dead"))
	}
	close(e.ready)
	p.mu.Unlock()
	if !current && conn != nil {
		conn.close("was closed")
	}
}

// discard gives up an entry that is no longer in entries, or about to leave
// it. The connection is closed by a goroutine of the pool, as that may wait.
func (p *Pool) discard(e *entry) {
	e.cancel()
	select {
	case <-e.ready:
		if e.conn != nil {
			p.tasks.Go(func() { e.conn.close("was closed") })
		}
	default: // dial finds out
	}
}

// Drop ends the connection to a server, and all calls on it, at once. It is for
// servers that left or were declared dead.
func (p *Pool) Drop(id circuit.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[id]; e != nil && !p.closed {
		delete(p.entries, id)
		p.discard(e)
	}
}

// sweep closes idle connections until there are none left.
func (p *Pool) sweep() {
	ticker := time.NewTicker(poolTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.ctx.Done():
			return
		}
		p.mu.Lock()
		for id, e := range p.entries {
			if e.idle() {
				delete(p.entries, id)
				p.discard(e)
			}
		}
		p.sweeping = len(p.entries) > 0 && !p.closed
		over := !p.sweeping
		p.mu.Unlock()
		if over {
			return
		}
	}
}

func (e *entry) idle() bool {
	select {
	case <-e.ready:
		return e.conn == nil || !e.live() || time.Since(e.taken) > poolIdle && e.conn.idleFor() > poolIdle
	default:
		return false
	}
}

// Close ends all connections and refuses to make more.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.cancel()
		for id, e := range p.entries {
			delete(p.entries, id)
			p.discard(e)
		}
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return nil
}
