package overlay

import (
	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Failure says why a dial came to nothing.
type Failure uint8

// The ways in which a dial fails.
const (
	// Unreachable: no answer in time, or the network said no.
	Unreachable Failure = 1 + iota
	// Refused: the host answers, but nobody listens on the port.
	Refused
	// WrongServer: another server than the wanted one answers there.
	WrongServer
	// WrongKey: who answers there belongs to a circuit with another key.
	WrongKey
	// Unsupported: no protocol version in common.
	Unsupported
	// IDTaken: this server's ID belongs to another process there. It comes from
	// the machine, never from the driver.
	IDTaken
	// TooMany: there are MaxSeeds already, and the seed is forgotten. It comes
	// from the machine, never from the driver.
	TooMany
)

// Input is what happened: one of Tick, Seed, Unseed, LinkUp, LinkDown,
// ConnectFailed, Receive, MemberUp, MemberDown, Redial, Leave.
type Input interface{ input() }

// Tick says nothing but the time. It is due at Deadline.
type Tick struct{}

// Seed asks to connect to the circuit of the server at Address, and to keep
// trying, at intervals that grow from 0.2 s to 30 s (to 1 s in the first 15 s),
// until that server is in the circuit. With Keep it stays a target: it is tried
// again whenever it is missing from the circuit; without, it is forgotten once
// reached. The same address again starts afresh. More than MaxSeeds are answered
// with SeedFailed.
type Seed struct {
	Address string           // HOST:PORT
	ID      circuit.ServerID // the server expected there; 0 for any
	Keep    bool
}

// Unseed ends what Seed began, unless with Keep: dials under way come to nothing.
// Links stay.
type Unseed struct{ Address string }

// LinkUp says that a connection is up, authenticated, and that the peer's hello
// has been received (and ours sent). Links to oneself and to anybody else are
// reported all the same; the machine sorts them out.
type LinkUp struct {
	Link uint64 // the driver's number for it, never used before
	Dial uint64 // which Connect it comes from; 0 if the peer dialled
	Peer Peer
}

// LinkDown says that a link ended or broke, other than by Disconnect.
type LinkDown struct{ Link uint64 }

// ConnectFailed says that a dial came to nothing. Every Connect is followed by
// exactly one LinkUp or ConnectFailed, within a time that the driver limits
// (5 s).
type ConnectFailed struct {
	Dial    uint64
	Failure Failure
}

// Receive hands over one message of the overlay protocol. Data is not kept.
type Receive struct {
	Link uint64
	Data []byte
}

// MemberUp says that the membership counts a server as in the circuit.
type MemberUp struct {
	Peer Peer
	// Directory is the membership's after this change; it may already show
	// later ones, whose MemberUp and MemberDown follow without delay.
	Directory directory.Directory
}

// MemberDown says that it no longer does. A server that Failed is remembered
// and tried again, for it may be on the other side of a partition.
type MemberDown struct {
	Peer      Peer
	Failed    bool
	Directory directory.Directory // as with MemberUp
}

// Redial asks for a fresh connection to a member, at once, because its link is
// silent. The outcome is Up on a new link, or Unreached.
type Redial struct{ ID circuit.ServerID }

// Leave says that this server is leaving: it dials nobody any more and accepts
// nobody (rule O10). Links stay until their other ends close them.
type Leave struct{}

func (Tick) input()          {}
func (Seed) input()          {}
func (Unseed) input()        {}
func (LinkUp) input()        {}
func (LinkDown) input()      {}
func (ConnectFailed) input() {}
func (Receive) input()       {}
func (MemberUp) input()      {}
func (MemberDown) input()    {}
func (Redial) input()        {}
func (Leave) input()         {}

// Output is what to do: one of Connect, Disconnect, Send, Up, Down, Unreached,
// Replaced, SeedReached, SeedFailed, Taken.
type Output interface{ output() }

// Connect asks to dial. At most MaxDials are under way at once.
type Connect struct {
	Dial    uint64           // number of this dial, never 0, never used before
	Address string           // HOST:PORT
	Want    circuit.ServerID // the server that must answer, by its certificate; 0 for any
}

// Disconnect asks to close a link, after what was sent on it before. No LinkDown
// follows, and nothing more is received from it.
type Disconnect struct{ Link uint64 }

// Send asks to send one message of the overlay protocol, in order.
type Send struct {
	Link uint64
	Data []byte
}

// Up says that both ends use the link from now on. It replaces any other link
// to the same server, for which Down came before.
type Up struct {
	Link uint64
	Peer Peer
}

// Down says that a link which was Up is no more. Lost tells that it broke by
// itself; otherwise this machine or the peer's ended it.
type Down struct {
	Link uint64
	ID   circuit.ServerID
	Lost bool
}

// Unreached says that a dial to a member came to nothing. Gone tells that there
// is proof that the member's process is not there any more: nobody listens at
// its address, or somebody else does.
type Unreached struct {
	ID   circuit.ServerID
	Gone bool
}

// Replaced says that a member's process is gone, for a new one took its place:
// the server restarted. Old is the instance that is gone.
type Replaced struct {
	ID  circuit.ServerID
	Old uint64
}

// SeedReached says that the server at a Seed's address is known: it is ID, which
// may be this server itself. That it is in the circuit is for the membership to
// say.
type SeedReached struct {
	Address string
	ID      circuit.ServerID
}

// SeedFailed says that an attempt to reach a Seed failed. Attempts go on; the
// output comes for the first failure, and then when the reason changes.
type SeedFailed struct {
	Address string
	Failure Failure
}

// Taken says that another process with this server's ID is in the circuit and
// was seen alive, at Address: somebody copied the data directory. This server
// cannot be in the circuit and should stop.
type Taken struct{ Address string }

func (Connect) output()     {}
func (Disconnect) output()  {}
func (Send) output()        {}
func (Up) output()          {}
func (Down) output()        {}
func (Unreached) output()   {}
func (Replaced) output()    {}
func (SeedReached) output() {}
func (SeedFailed) output()  {}
func (Taken) output()       {}
