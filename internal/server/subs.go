package server

import (
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/element/subscription"
	"github.com/gocircuit/circuit/internal/mesh"
)

// newSubscriptions makes the subscription service.
func (s *Server) newSubscriptions() *subscription.Service {
	return subscription.NewService(subscription.Config{
		Tree:             s.tree,
		Self:             circuit.Member{ID: s.url.ID, Address: s.url.Address(), Joined: s.started, Version: s.cfg.Version},
		MaxSubscriptions: int(s.cfg.Limits.Subscriptions),
		MaxEvents:        int(s.cfg.Limits.Events),
	})
}

// eventOf returns what subscriptions tell of a change that has just been learnt
// of.
func eventOf(e mesh.Event) circuit.Event {
	out := circuit.Event{
		Change: circuit.Left, Path: e.Member.ID.Path(),
		Address: e.Member.Address, Version: e.Member.Version, Time: time.Now(),
	}
	switch {
	case e.Joined:
		out.Change, out.Time = circuit.Joined, e.Member.Joined
	case e.Failed:
		out.Change = circuit.Failed
	}
	return out
}
