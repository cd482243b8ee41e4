package anchor

import (
	"context"
	"time"
)

// Limits of remembered nonces: enough for every retry that a client makes.
const (
	maxNonce   = 64               // bytes
	maxNonces  = 1 << 16          // the oldest is forgotten first
	nonceTTL   = 10 * time.Minute // from its use
	nonceSweep = 64               // expired nonces forgotten at each use, at most
)

// nonces remembers which makes were done already. It is guarded by the Tree's
// lock.
type nonces struct {
	now   func() time.Time
	uses  map[string]*use
	order []*use // in order of time
}

// use is one nonce at one path. Its outcome is written before done is closed.
type use struct {
	key        string
	at         time.Time
	done       chan struct{}
	generation uint64
	err        error
}

func newNonces(now func() time.Time) nonces {
	return nonces{now: now, uses: make(map[string]*use)}
}

// claim returns the first use of key, and whether this is it.
func (n *nonces) claim(key string) (first *use, mine bool) {
	n.sweep()
	if u := n.uses[key]; u != nil {
		return u, false
	}
	u := &use{key: key, at: n.now(), done: make(chan struct{})}
	n.uses[key] = u
	n.order = append(n.order, u)
	return u, true
}

// settle records the outcome of a use. One that failed is forgotten: to try
// again is what its caller wants.
func (n *nonces) settle(u *use, generation uint64, err error) {
	u.generation, u.err = generation, err
	close(u.done)
	if err != nil && n.uses[u.key] == u {
		delete(n.uses, u.key)
	}
}

func (n *nonces) sweep() {
	expired := n.now().Add(-nonceTTL)
	for i := 0; i < nonceSweep && len(n.order) > 0; i++ {
		u := n.order[0]
		if len(n.order) < maxNonces && u.at.After(expired) {
			return
		}
		n.order[0] = nil
		n.order = n.order[1:]
		if n.uses[u.key] == u {
			delete(n.uses, u.key)
		}
	}
}

// wait returns the outcome of a use by another call.
func (u *use) wait(ctx context.Context) (uint64, error) {
	select {
	case <-u.done:
		return u.generation, u.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
