// Package anchor is the tree of anchors that a server hosts: which paths
// exist, which element each holds, and the Anchors service that lists and
// scrubs them, whatever their kind.
//
// An anchor comes into being when an element is made at or below it, and
// vanishes when it holds none and has no children. Each element has a
// generation, a random number, so that a caller who means one element never
// acts on its successor at the same path.
//
// The element packages make, find and remove their elements here; package
// server composes them. A Tree may be used from any number of goroutines. Its
// lock is never held while an element's methods or a caller's functions run.
package anchor

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// Element is what an anchor holds. Its methods may be called concurrently.
type Element interface {
	// Kind says what kind of element it is. It never changes.
	Kind() circuit.Kind
	// State is the element's state in a word or a few, for listings. It does
	// not block.
	State() string
	// Scrub ends the element; the anchor forgets it once Scrub returned nil.
	// An element that something would be lost with refuses, with an error of
	// kind Exists, unless how says otherwise. Calling it again is harmless.
	Scrub(ctx context.Context, how Scrub) error
}

// Scrub says how far the removal of an element may go.
type Scrub struct {
	Mode  circuitv1.ScrubRequest_Mode
	Grace time.Duration // between TERM and KILL; 0 means the element's default
}

// Config configures a Tree.
type Config struct {
	// Self is the server whose anchors these are.
	Self circuit.ServerID
	// MaxAnchors limits how many anchors there can be, those above elements
	// included. 0 means DefaultMaxAnchors.
	MaxAnchors int
	// Now is the clock, for forgetting nonces. Nil means time.Now.
	Now func() time.Time
}

// DefaultMaxAnchors is the default of Config.MaxAnchors.
const DefaultMaxAnchors = 1_000_000

// Tree is the anchors of one server.
type Tree struct {
	cfg Config

	mu     sync.RWMutex
	root   *node // the server's own anchor
	count  int   // anchors, without the root
	nonces nonces
}

// node is an anchor. It is guarded by Tree.mu.
type node struct {
	name     string
	parent   *node
	children map[string]*node
	slot     *slot // nil where there is no element
}

// slot is a place taken by an element, perhaps one that is only being made.
type slot struct {
	generation uint64
	element    Element       // nil until made
	made       chan struct{} // closed once made, or given up
	removed    bool          // removed while it was being made
}

// New returns an empty tree.
func New(cfg Config) *Tree {
	if cfg.MaxAnchors == 0 {
		cfg.MaxAnchors = DefaultMaxAnchors
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Tree{cfg: cfg, root: &node{name: cfg.Self.String()}, nonces: newNonces(cfg.Now)}
}

// Make reserves the anchor at path, calls start with the new element's
// generation, and puts what start returns there. Where start fails, the anchor
// is as it was, and Make returns start's error.
//
// A nonce that was used at this path before returns the first Make's
// generation, and waits for it, within ctx, if it is still on its way. An empty
// nonce is never the same.
//
// Errors of its own are of kind Exists (the anchor is taken), Invalid (not a
// path of this server) and Exhausted.
func (t *Tree) Make(ctx context.Context, path circuit.Path, nonce []byte, start func(generation uint64) (Element, error)) (uint64, error) {
	if len(nonce) > maxNonce {
		return 0, circuit.Errorf(circuit.Invalid, fmt.Sprintf("the nonce is longer than %d bytes", maxNonce))
	}
	if len(nonce) == 0 {
		return t.make(path, newGeneration(), start)
	}
	first, mine := t.claim(path, nonce)
	if !mine {
		return first.wait(ctx)
	}
	generation, err := t.make(path, newGeneration(), start)
	t.mu.Lock()
	t.nonces.settle(first, generation, err)
	t.mu.Unlock()
	return generation, err
}

func (t *Tree) claim(path circuit.Path, nonce []byte) (*use, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nonces.claim(path.String() + "\x00" + string(nonce))
}

// Restore puts back, when a server starts, an element that was there before,
// under its old generation.
func (t *Tree) Restore(path circuit.Path, generation uint64, e Element) error {
	_, err := t.make(path, generation, func(uint64) (Element, error) { return e, nil })
	return err
}

func (t *Tree) make(path circuit.Path, generation uint64, start func(uint64) (Element, error)) (uint64, error) {
	n, err := t.reserve(path, generation)
	if err != nil {
		return 0, err
	}
	s := n.slot
	e, err := start(generation)

	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(s.made)
	if err != nil || s.removed {
		n.slot = nil
		t.prune(n)
		return generation, err
	}
	s.element = e
	return generation, nil
}

// reserve takes the anchor at path for an element that is being made.
func (t *Tree) reserve(path circuit.Path, generation uint64) (*node, error) {
	if id, ok := path.Server(); !ok || id != t.cfg.Self {
		return nil, circuit.Errorf(circuit.Invalid, "not an anchor of this server")
	}
	names := path.Names()[1:]
	if len(names) == 0 {
		return nil, circuit.Errorf(circuit.Exists, "there is already a server here; name an anchor below it")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, depth := t.deepest(names)
	if depth == len(names) && n.slot != nil {
		return nil, circuit.Errorf(circuit.Exists, "there is already "+n.slot.what()+" here; scrub it first")
	}
	if fresh := len(names) - depth; t.count+fresh > t.cfg.MaxAnchors {
		return nil, circuit.Errorf(circuit.Exhausted, fmt.Sprintf("this server has its limit of %d anchors; scrub some, or raise the limit anchors", t.cfg.MaxAnchors))
	}
	for _, name := range names[depth:] {
		child := &node{name: name, parent: n}
		if n.children == nil {
			n.children = make(map[string]*node, 1)
		}
		n.children[name] = child
		n, t.count = child, t.count+1
	}
	n.slot = &slot{generation: generation, made: make(chan struct{})}
	return n, nil
}

// what names the element in a slot, for an error.
func (s *slot) what() string {
	if s.element == nil {
		return "something being made"
	}
	return "a " + s.element.Kind().String()
}

// deepest follows names from the root as far as there are anchors, and returns
// the last and how many names led there.
func (t *Tree) deepest(names []string) (*node, int) {
	n := t.root
	for i, name := range names {
		child := n.children[name]
		if child == nil {
			return n, i
		}
		n = child
	}
	return n, len(names)
}

// prune removes n, and what is above it, as far as it is empty.
func (t *Tree) prune(n *node) {
	for n.parent != nil && n.slot == nil && len(n.children) == 0 {
		delete(n.parent.children, n.name)
		if len(n.parent.children) == 0 {
			n.parent.children = nil
		}
		n, t.count = n.parent, t.count-1
	}
}

// find returns the anchor at path, or nil.
func (t *Tree) find(path circuit.Path) *node {
	id, ok := path.Server()
	if !ok || id != t.cfg.Self {
		return nil
	}
	names := path.Names()[1:]
	if n, depth := t.deepest(names); depth == len(names) {
		return n
	}
	return nil
}

// Get returns the element at path, and its generation. With a generation other
// than 0, it returns only that one. Errors are of kind NotFound.
func (t *Tree) Get(path circuit.Path, generation uint64) (Element, uint64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := t.find(path)
	switch {
	case n == nil || n.slot == nil || n.slot.element == nil:
		return nil, 0, circuit.Errorf(circuit.NotFound, nothing(path))
	case generation != 0 && n.slot.generation != generation:
		return nil, 0, circuit.Errorf(circuit.NotFound, "what was here is gone; "+n.slot.what()+" made later is here now")
	}
	return n.slot.element, n.slot.generation, nil
}

// Remove forgets the element of this generation at path, without asking it. It
// reports whether it was there. An element that is still being made is
// forgotten as soon as it is made.
func (t *Tree) Remove(path circuit.Path, generation uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.find(path)
	if n == nil || n.slot == nil || n.slot.generation != generation || n.slot.removed {
		return false
	}
	if n.slot.element == nil {
		n.slot.removed = true
		return true
	}
	n.slot = nil
	t.prune(n)
	return true
}

// nothing says that there is no element at path.
func nothing(path circuit.Path) string {
	if path.IsRoot() || path.IsServer() {
		return "a server holds nothing itself; name something that it hosts"
	}
	return "there is nothing here"
}

// Scrub ends the element at path, of this generation if it is not 0, and
// forgets it. Errors are of kind NotFound, or the element's own.
func (t *Tree) Scrub(ctx context.Context, path circuit.Path, generation uint64, how Scrub) error {
	if path.IsRoot() || path.IsServer() {
		return circuit.Errorf(circuit.Invalid, "only what a server hosts is scrubbed; circuit suicide ends a server")
	}
	if err := t.settled(ctx, path); err != nil {
		return err
	}
	e, generation, err := t.Get(path, generation)
	if err != nil {
		return err
	}
	if err := e.Scrub(ctx, how); err != nil {
		return err
	}
	t.Remove(path, generation)
	return nil
}

// settled waits until nothing is being made at path.
func (t *Tree) settled(ctx context.Context, path circuit.Path) error {
	t.mu.RLock()
	n := t.find(path)
	var made chan struct{}
	if n != nil && n.slot != nil {
		made = n.slot.made
	}
	t.mu.RUnlock()
	if made == nil {
		return nil
	}
	select {
	case <-made:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Count returns how many anchors there are, the server's own not counted.
func (t *Tree) Count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count
}

// newGeneration draws a generation, never 0.
func newGeneration() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return max(binary.LittleEndian.Uint64(b[:]), 1)
}
