package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// fullMesh is up to how many servers everybody is linked with everybody.
const fullMesh = 9

// Settled returns nil if all servers that run, and are not frozen, form one
// circuit, and know each other and nobody else, in the same words; otherwise
// some of what is wrong.
func (s *Sim) Settled() error {
	running := 0
	var first *process
	for _, h := range s.servers {
		if h.active() {
			running++
			if first == nil {
				first = h.proc
			}
		}
	}
	if first == nil {
		return nil
	}
	all := first.mem.Directory()
	var errs []error
	for _, h := range s.servers {
		if !h.active() {
			continue
		}
		if d := h.proc.mem.Directory(); d.Len() == running && d.Digest() == all.Digest() && h.proc != first {
			continue
		}
		if err := s.astray(h.proc, all); err != nil {
			if errs = append(errs, err); len(errs) >= 3 {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// astray returns what is wrong with a server's view, beside that of the first.
func (s *Sim) astray(p *process, first directory.Directory) error {
	view := p.mem.Directory()
	for r := range view.All() {
		hs := s.byID[r.ID]
		i := slices.IndexFunc(hs, (*Server).active)
		switch {
		case i < 0:
			return fmt.Errorf("ghost: %s still has %s", p.host.Name, s.name(r.ID))
		case len(hs) == 1 && hs[0].proc.instance != r.Instance:
			return fmt.Errorf("ghost: %s has an earlier life of %s", p.host.Name, s.name(r.ID))
		}
	}
	for _, h := range s.servers {
		if h.active() && view.Get(h.ID) == nil {
			return fmt.Errorf("split: %s lacks %s", p.host.Name, h.Name)
		}
		if h.active() && !view.Get(h.ID).In() {
			return fmt.Errorf("split: %s counts %s as departed", p.host.Name, h.Name)
		}
	}
	var err error
	differ(first, view, directory.Prefix{}, func(under directory.Prefix) bool {
		for r := range first.Under(under) {
			o := view.Get(r.ID)
			if !alike(o, r) {
				err = fmt.Errorf("difference: %s has of %s %s, another %s", p.host.Name, s.name(r.ID), brief(o), brief(r))
			}
		}
		return err == nil
	})
	return err
}

// alike reports whether two say the same of a server, whenever they learnt it.
func alike(a, b *directory.Record) bool {
	if a == nil {
		return false
	}
	c := *a
	c.Since = b.Since
	return c == *b
}

// wanted returns whom a server wants to be linked with, by what it knows, in
// order of IDs. It is computed from the definition, not asked of the machine.
func wanted(d directory.Directory, self circuit.ServerID) []circuit.ServerID {
	var ids []circuit.ServerID
	if d.Len() <= fullMesh {
		for r := range d.All() {
			if r.ID != self {
				ids = append(ids, r.ID)
			}
		}
	} else {
		for ring := range directory.Rings {
			for r := range d.After(ring, self) {
				ids = append(ids, r.ID)
				break
			}
			for r := range d.Before(ring, self) {
				ids = append(ids, r.ID)
				break
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Linked returns nil if every running server has the links that it wants, and
// every link is in use at both ends.
func (s *Sim) Linked() error { return s.links(false) }

// Meshed returns nil if every running server has the links that it wants and no
// others, every link is in use at both ends, and they make one graph.
func (s *Sim) Meshed() error {
	if err := s.links(true); err != nil {
		return err
	}
	if n := len(s.Graph().Components()); n > 1 {
		return fmt.Errorf("split: the links make %d graphs", n)
	}
	return nil
}

func (s *Sim) links(exactly bool) error {
	for _, h := range s.servers {
		if !h.active() {
			continue
		}
		near := h.proc.ov.Neighbours()
		want := wanted(h.proc.mem.Directory(), h.ID)
		for _, id := range near {
			o := s.active(id)
			if o == nil && slices.ContainsFunc(s.byID[id], (*Server).leaves) {
				continue // its neighbours keep its links for a moment
			}
			if o == nil {
				return fmt.Errorf("dead link: %s has one to %s", h.Name, s.name(id))
			}
			if !linkedWith(o, h.ID) {
				return fmt.Errorf("half a link: %s has one to %s, which has none to it", h.Name, o.Name)
			}
		}
		for _, id := range want {
			if _, ok := slices.BinarySearch(near, id); !ok {
				return fmt.Errorf("no link: %s has none to %s", h.Name, s.name(id))
			}
		}
		if exactly && len(near) > len(want) {
			return fmt.Errorf("spare links: %s has %d, and wants %d", h.Name, len(near), len(want))
		}
	}
	return nil
}

// active returns the server with an ID whose process runs.
func (s *Sim) active(id circuit.ServerID) *Server {
	for _, h := range s.byID[id] {
		if h.active() {
			return h
		}
	}
	return nil
}

// Well returns nil if all is as it should be: Settled, and Meshed.
func (s *Sim) Well() error { return errors.Join(s.Settled(), s.Meshed()) }
