package membership

import "github.com/gocircuit/circuit"

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
