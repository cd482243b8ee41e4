package anchor

import (
	"slices"

	"github.com/gocircuit/circuit"
)

// List calls yield with each anchor below path, or with its children only, in
// the order of the tree: names in byte order, an anchor before what is below
// it. It stops when yield returns false. What changes while it runs may or may
// not be seen. If there is no anchor at path, the error is of kind NotFound.
func (t *Tree) List(path circuit.Path, recursive bool, yield func(circuit.Entry) bool) error {
	names, ok := t.names(path)
	if !ok {
		return circuit.Errorf(circuit.NotFound, "there is no such anchor")
	}
	t.walk(path, names, recursive, yield)
	return nil
}

func (t *Tree) walk(path circuit.Path, names []string, recursive bool, yield func(circuit.Entry) bool) bool {
	for _, name := range names {
		child, err := path.Join(name)
		if err != nil {
			continue // cannot be: the tree holds valid names only
		}
		entry, ok := t.Entry(child)
		if !ok {
			continue // vanished meanwhile
		}
		if !yield(entry) {
			return false
		}
		if !recursive {
			continue
		}
		if below, ok := t.names(child); ok && !t.walk(child, below, true, yield) {
			return false
		}
	}
	return true
}

// names returns the sorted names of the children of the anchor at path.
func (t *Tree) names(path circuit.Path) ([]string, bool) {
	t.mu.RLock()
	n := t.find(path)
	if n == nil {
		t.mu.RUnlock()
		return nil, false
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	t.mu.RUnlock()
	slices.Sort(names)
	return names, true
}

// Entry returns the anchor at path as listings show it.
func (t *Tree) Entry(path circuit.Path) (circuit.Entry, bool) {
	t.mu.RLock()
	n := t.find(path)
	var s slot
	if n != nil && n.slot != nil {
		s = *n.slot
	}
	t.mu.RUnlock()
	entry := circuit.Entry{Path: path}
	if s.element != nil {
		entry.Kind, entry.Generation, entry.State = s.element.Kind(), s.generation, s.element.State()
	}
	return entry, n != nil
}

// Elements returns all elements, in no order. The server uses it to end them.
func (t *Tree) Elements() []Element {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []Element
	for stack := []*node{t.root}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n.slot != nil && n.slot.element != nil {
			all = append(all, n.slot.element)
		}
		for _, child := range n.children {
			stack = append(stack, child)
		}
	}
	return all
}
