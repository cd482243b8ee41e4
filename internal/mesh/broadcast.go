package mesh

import (
	"context"
	"fmt"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/membership"
)

// Broadcast sends data, at most membership.MaxData bytes, to all other servers
// of the circuit, in the order that the package promises, and returns once it is
// on its way. It waits while a neighbour has much to read yet, until ctx ends at
// the latest; then nothing is sent, and the error is ctx's. Others are of kind
// Invalid where the data is too long, and Unreachable once the mesh is closed.
//
// The data reaches those that are in the circuit and stay connected with it;
// whether it did is not told. Broadcasts that are made at the same time may be
// sent in any order.
func (m *Mesh) Broadcast(ctx context.Context, data []byte) error {
	if len(data) > membership.MaxData {
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("a broadcast has %d bytes at most, not %d", membership.MaxData, len(data)))
	}
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return errStopping()
	}
	for {
		var full *link
		if !m.do(func() {
			if full = m.crowded(); full == nil {
				m.tellMembership(membership.Broadcast{Data: data})
			}
		}) {
			return errStopping()
		}
		if full == nil {
			return nil
		}
		select {
		case <-full.drained:
		case <-full.ctx.Done():
		case <-ctx.Done():
			return ctx.Err()
		case <-m.ctx.Done():
			return errStopping()
		}
	}
}

// crowded returns a link whose other end has much to read yet; nil if there is
// none.
func (m *Mesh) crowded() *link {
	for _, l := range m.links {
		if l.crowded() {
			return l
		}
	}
	return nil
}
