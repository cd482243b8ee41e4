package mesh

import (
	"context"
	"log/slog"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/overlay"
)

// joinTime is how long a Join tries.
const joinTime = 10 * time.Second

// join is one Join under way.
type join struct {
	address string
	reached circuit.ServerID // 0 until the seed answered
	last    overlay.Failure  // why it has not
	done    chan error       // capacity 1
}

// Seed lets this server join the circuit of the server at an address, and keep
// trying for as long as that server is missing.
func (m *Mesh) Seed(address string, id circuit.ServerID) {
	m.do(func() { m.tellOverlay(overlay.Seed{Address: address, ID: id, Keep: true}) })
}

// Join merges this server's circuit with that of the server at an address, and
// returns once that server is in the circuit. It tries for 10 s, or until ctx
// ends, and no longer. Errors
// are of kind Denied where the keys differ, Invalid where the address is this
// server's own or not that of the expected server, Exists where this server's
// ID is another's there, Unsupported, Exhausted where it tries as many as it may
// already, or Unreachable: then it may still come about if that server had
// answered, and not otherwise.
func (m *Mesh) Join(ctx context.Context, address string, id circuit.ServerID) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	j := &join{address: address, done: make(chan error, 1)}
	if !m.do(func() {
		m.joins[j] = struct{}{}
		m.tellOverlay(overlay.Seed{Address: address, ID: id})
	}) {
		return errStopping()
	}
	select {
	case err := <-j.done:
		return err
	case <-m.ctx.Done():
		return errStopping()
	case <-ctx.Done():
	}
	last := overlay.Unreachable
	m.do(func() {
		if _, on := m.joins[j]; on && j.last != 0 {
			last = j.last
		}
		m.endJoin(j, nil)
		if !m.joining(address) {
			m.tellOverlay(overlay.Unseed{Address: address})
		}
	})
	return circuit.Errorf(circuit.Unreachable, "not joined in time: "+reason(last))
}

// The methods below are called with the lock held.

// joining reports whether a Join to an address is under way.
func (m *Mesh) joining(address string) bool {
	for j := range m.joins {
		if j.address == address {
			return true
		}
	}
	return false
}

func (m *Mesh) seedReached(out overlay.SeedReached) {
	for j := range m.joins {
		if j.address != out.Address {
			continue
		}
		j.reached = out.ID
		if out.ID == m.cfg.Self.ID {
			m.endJoin(j, circuit.Errorf(circuit.Invalid, "this address leads to the server itself"))
		} else if _, in := m.Member(out.ID); in {
			m.endJoin(j, nil)
		}
	}
}

func (m *Mesh) seedFailed(out overlay.SeedFailed) {
	why, text := slog.String("reason", reason(out.Failure)), "a server to join does not answer as it should; trying on"
	if out.Failure == overlay.TooMany {
		text = "a server to join is one too many"
	}
	m.log.Warn(text, slog.String("address", out.Address), why)
	for j := range m.joins {
		if j.address != out.Address {
			continue
		}
		j.last = out.Failure
		kind := circuit.ErrorKind(0)
		switch out.Failure {
		case overlay.WrongKey:
			kind = circuit.Denied
		case overlay.Unsupported:
			kind = circuit.Unsupported
		case overlay.WrongServer:
			kind = circuit.Invalid
		case overlay.IDTaken:
			kind = circuit.Exists
		case overlay.TooMany:
			kind = circuit.Exhausted
		}
		if kind != 0 {
			m.endJoin(j, circuit.Errorf(kind, reason(out.Failure)))
			m.tellOverlay(overlay.Unseed{Address: out.Address})
		}
	}
}

func (m *Mesh) endJoin(j *join, err error) {
	delete(m.joins, j)
	select {
	case j.done <- err:
	default: // nobody waits for it any more
	}
}
