package membership

import (
	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Input is what happened: one of Tick, LinkUp, LinkDown, Unreached, Replaced,
// Receive, ReceiveDatagram, Broadcast, Leave.
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

// ReceiveDatagram hands over what a SendDatagram at the other end of a link
// sent. It must be authentic, and not have been handed over before; it may come
// in any order, or never. Data is not kept.
type ReceiveDatagram struct {
	Link uint64
	Data []byte
}

// Broadcast delivers Data, at most MaxData bytes, once to every other server
// that is in the circuit and stays connected with this one: in causal order
// among all that is broadcast, and after whatever this server knew of joins and
// departures. A server that joins later, or was cut off from the circuit for
// more than 30 s meanwhile, or made a link anew while more was broadcast than is
// kept (rule M19), does not get it; nor does anybody from a server that
// has not joined yet, or leaves. Longer data is not sent. Data is not kept.
type Broadcast struct{ Data []byte }

// Leave says that this server leaves the circuit: it tells everybody, and says
// Departed once its neighbours know, after a second at most.
type Leave struct{}

func (Tick) input()            {}
func (LinkUp) input()          {}
func (LinkDown) input()        {}
func (Unreached) input()       {}
func (Replaced) input()        {}
func (Receive) input()         {}
func (ReceiveDatagram) input() {}
func (Broadcast) input()       {}
func (Leave) input()           {}

// Output is what to do: one of Send, SendDatagram, Joined, Left, Deliver,
// Redial, Reset, Persist, Taken, Departed.
type Output interface{ output() }

// Send asks to send one message of the membership protocol, in order. Several
// outputs may share Data, so nobody writes to it.
type Send struct {
	Link uint64
	Data []byte
}

// SendDatagram asks to send Data, DatagramSize bytes, beside the link: at once or
// never. Where datagrams cannot be sent it is ignored.
type SendDatagram struct {
	Link uint64
	Data []byte
}

// Joined says that a server is in the circuit: to subscribers, and to the
// overlay as MemberUp. It is never said of this server itself. Directory is what
// this server knows after the Step, so several in one Step have the same.
type Joined struct {
	Record    directory.Record
	Directory directory.Directory
}

// Left says that a server is no longer in the circuit: to subscribers, and to
// the overlay as MemberDown. Record.State tells how: directory.Left if it said so
// itself, directory.Dead if it failed. Directory is as with Joined: where a Joined
// of the same server follows, it is in the circuit there, as another instance.
type Left struct {
	Record    directory.Record
	Directory directory.Directory
}

// Deliver says what another server has broadcast. Numbers of one origin grow.
// Data is the receiver's.
type Deliver struct {
	Origin circuit.ServerID
	Number uint64
	Data   []byte
}

// Redial asks the overlay for a fresh connection to a member whose link is
// silent.
type Redial struct{ ID circuit.ServerID }

// Reset asks to close a link whose other end does not keep to the protocol, or
// does not answer, and to tell the overlay that it is down. Nothing more is
// received from it.
type Reset struct{ Link uint64 }

// Persist says that this server is about to tell of an incarnation. The driver
// keeps incarnations ahead of their use, so that it need not wait for a disk (rule
// M8). The next life begins above what is kept.
type Persist struct{ Incarnation uint64 }

// Taken says that another process with this server's ID is in the circuit, at
// Address, and prevails. This server should stop.
type Taken struct{ Address string }

// Departed says that the circuit knows that this server leaves: links may be
// closed now.
type Departed struct{}

func (Send) output()         {}
func (SendDatagram) output() {}
func (Joined) output()       {}
func (Left) output()         {}
func (Deliver) output()      {}
func (Redial) output()       {}
func (Reset) output()        {}
func (Persist) output()      {}
func (Taken) output()        {}
func (Departed) output()     {}
