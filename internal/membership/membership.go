// Package membership decides who is in the circuit: it keeps a record of every
// server, spreads changes over the links in causal order, suspects servers that
// fall silent, lets them refute, declares them dead together with other
// observers, and says Joined and Left, which alternate strictly for each server.
// It is a pure state machine: told the time, given its randomness, without input
// or output, goroutine, lock or log. The rules are numbered in docs/overlay.md.
//
// Its driver, internal/mesh on real connections and internal/sim on simulated
// ones, calls Step with what happened and does what Step returns, in order. The
// package overlay tells how the two machines are wired together. A Machine
// belongs to one goroutine.
package membership

import (
	"math/rand/v2"
	"time"

	"github.com/gocircuit/circuit"
)

// State is what is known of a server. At the same incarnation, the higher state
// prevails.
type State uint8

// The states of a server. StateAlive and
// StateSuspect are those of servers in the circuit.
const (
	StateAlive   State = 1 + iota
	StateSuspect       // its observers do not hear it; it may refute
	StateDead          // declared dead by its observers
	StateLeft          // it said so itself
)

// Record is what the circuit knows of a server.
type Record struct {
	ID       circuit.ServerID
	Address  string // HOST:PORT that it advertises
	Instance uint64 // drawn at random when its process started
	// Incarnation counts the server's lives and refutations. Only the server
	// itself raises it; it is kept across restarts where there is a data
	// directory.
	Incarnation uint64
	Version     string // of its software
	State       State
	// Since is when this server learnt of the join, or of the departure, by its
	// own clock. It does not travel.
	Since time.Time
}

// Limits.
const (
	// MaxDeparted is how many departed servers are remembered; at the limit the
	// earliest departure is forgotten.
	MaxDeparted = 4096
	// KeepDeparted is how long they are.
	KeepDeparted = 24 * time.Hour
)

// Config is what a Machine needs to know at its start.
type Config struct {
	// Self is the server itself; State and Since are ignored. Its Incarnation is
	// higher than any that this server has used or persisted before; 1 for a new
	// server.
	Self Record
	// Rand is the source of all jitter. It must not be used elsewhere.
	Rand *rand.Rand
}

// Input is what happened: one of Tick, LinkUp, LinkDown, Unreached, Replaced,
// Receive, Leave.
type Input interface{ input() }

// Tick says nothing but the time. It is due at Deadline.
type Tick struct{}

// LinkUp says that a link to a server is in use, as overlay.Up does.
type LinkUp struct {
	Link     uint64
	ID       circuit.ServerID
	Instance uint64
}

// LinkDown says that it no longer is, as overlay.Down does.
type LinkDown struct {
	Link uint64
	Lost bool // it broke by itself
}

// Unreached says that a dial to a member came to nothing, as overlay.Unreached
// does.
type Unreached struct {
	ID   circuit.ServerID
	Gone bool // there is proof that its process is not there any more
}

// Replaced says that the process Old of a server is gone, for another took its
// place, as overlay.Replaced does.
type Replaced struct {
	ID  circuit.ServerID
	Old uint64
}

// Receive hands over one message of the membership protocol. Messages of links
// that are not up are ignored. Data is not kept.
type Receive struct {
	Link uint64
	Data []byte
}

// Leave says that this server leaves the circuit: it tells everybody, and says
// Departed once its neighbours know, after a second at most.
type Leave struct{}

func (Tick) input()      {}
func (LinkUp) input()    {}
func (LinkDown) input()  {}
func (Unreached) input() {}
func (Replaced) input()  {}
func (Receive) input()   {}
func (Leave) input()     {}

// Output is what to do: one of Send, Joined, Left, Redial, Persist, Taken,
// Departed.
type Output interface{ output() }

// Send asks to send one message of the membership protocol, in order.
type Send struct {
	Link uint64
	Data []byte
}

// Joined says that a server is in the circuit: to subscribers, and to the
// overlay as MemberUp. It is never said of this server itself.
type Joined struct{ Record Record }

// Left says that a server is no longer in the circuit: to subscribers, and to
// the overlay as MemberDown. Record.State tells how: StateLeft if it said so
// itself, StateDead if it failed.
type Left struct{ Record Record }

// Redial asks the overlay for a fresh connection to a member whose link is
// silent.
type Redial struct{ ID circuit.ServerID }

// Persist asks to write the incarnation where it survives a restart, before any
// output that follows is done. The next life begins at Incarnation+1.
type Persist struct{ Incarnation uint64 }

// Taken says that another process with this server's ID is in the circuit, at
// Address, and prevails. This server should stop.
type Taken struct{ Address string }

// Departed says that the circuit knows that this server leaves: links may be
// closed now.
type Departed struct{}

func (Send) output()     {}
func (Joined) output()   {}
func (Left) output()     {}
func (Redial) output()   {}
func (Persist) output()  {}
func (Taken) output()    {}
func (Departed) output() {}

// Machine is the membership's state. Make one with New.
type Machine struct {
	cfg Config
}

// New returns the machine of a server that is alone in its circuit.
func New(now time.Time, cfg Config) *Machine {
	return &Machine{cfg: cfg}
}

// Step takes an input and returns what to do about it, in order. Time never
// runs backwards. The slice is the caller's.
func (m *Machine) Step(now time.Time, in Input) []Output {
	return nil
}

// Deadline returns when Step wants a Tick at the latest; the zero Time if never.
// It changes with each Step. A Step that comes much later than its deadline
// makes the machine doubt itself rather than others, so the driver must not
// hold Ticks back.
func (m *Machine) Deadline() time.Time { return time.Time{} }

// Members returns the servers in the circuit, this one included, in order of
// their IDs.
func (m *Machine) Members() []Record { return nil }

// Lookup returns the record of a server that is, or in the last 24 h was, in
// the circuit; the latest MaxDeparted departures are kept.
func (m *Machine) Lookup(id circuit.ServerID) (Record, bool) { return Record{}, false }
