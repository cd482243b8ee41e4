package client

import "github.com/gocircuit/circuit"

// The words of a circuit.
type (
	// Path names an anchor. It is always valid, comparable, and the root if
	// zero.
	Path = circuit.Path
	// ServerID is the identity of a server.
	ServerID = circuit.ServerID
	// URL says how to reach a server.
	URL = circuit.URL
	// Key is the secret of a circuit.
	Key = circuit.Key
	// Kind says what an anchor holds.
	Kind = circuit.Kind
	// Entry is one anchor in a listing.
	Entry = circuit.Entry
	// Cmd describes a process to run.
	Cmd = circuit.Cmd
	// Overflow says what happens when a process's kept output is full.
	Overflow = circuit.Overflow
	// Size is a number of bytes.
	Size = circuit.Size
	// Phase is where a process is in its life.
	Phase = circuit.Phase
	// ProcStat is the state of a process.
	ProcStat = circuit.ProcStat
	// InputStat is the state of a process's standard input.
	InputStat = circuit.InputStat
	// OutputStat is the state of one of a process's output streams.
	OutputStat = circuit.OutputStat
	// ChanStat is the state of a channel.
	ChanStat = circuit.ChanStat
	// SubscriptionStat is the state of a subscription.
	SubscriptionStat = circuit.SubscriptionStat
	// Event is what a subscription tells of.
	Event = circuit.Event
	// Change says what an Event tells of.
	Change = circuit.Change
	// Member is a server as the circuit knows it.
	Member = circuit.Member
	// ServerStat is the state of a server.
	ServerStat = circuit.ServerStat
	// Error is what every operation fails with.
	Error = circuit.Error
	// ErrorKind says what class of thing went wrong, and is itself an error, to
	// be asked for with errors.Is.
	ErrorKind = circuit.ErrorKind
)

// The kinds of errors.
const (
	ErrInternal    = circuit.Internal    // a defect of the circuit itself
	ErrNotFound    = circuit.NotFound    // nothing there, or a server never seen
	ErrExists      = circuit.Exists      // the anchor is taken
	ErrInvalid     = circuit.Invalid     // the request itself is wrong
	ErrUnreachable = circuit.Unreachable // a server cannot be reached; nothing was done
	ErrClosed      = circuit.Closed      // the element, or this client, takes no more
	ErrDenied      = circuit.Denied      // the caller may not
	ErrTimeout     = circuit.Timeout     // a time limit passed
	ErrCanceled    = circuit.Canceled    // the caller gave up
	ErrExhausted   = circuit.Exhausted   // a limit is reached
	ErrLost        = circuit.Lost        // the outcome is unknown, or data is gone
	ErrUnsupported = circuit.Unsupported // this server does not know how
)

// What an anchor holds. Kinds are open: a server may host kinds that this
// package has never heard of.
const (
	KindNone    = circuit.None // no element
	KindProc    = circuit.Proc
	KindChan    = circuit.Chan
	KindOnJoin  = circuit.OnJoin  // a subscription to servers that join
	KindOnLeave = circuit.OnLeave // a subscription to servers that leave
)

// What events tell of.
const (
	Present    = circuit.Present    // a server that was there when the subscription was made
	Joined     = circuit.Joined     // a server joined, or is back
	Left       = circuit.Left       // a server said that it leaves
	Failed     = circuit.Failed     // a server is gone and did not say so
	Overflowed = circuit.Overflowed // events are missing here, for more waited than may
)

// The phases of a process.
const (
	Running  = circuit.Running
	Stopped  = circuit.Stopped  // by a signal such as STOP; CONT makes it running again
	Exited   = circuit.Exited   // by itself, with an exit code
	Signaled = circuit.Signaled // ended by a signal
	LostProc = circuit.LostProc // its server was killed; what became of it is not known
)

// What happens when a process writes and its kept output is full.
const (
	// OverflowBlock gives up only bytes that a reader has acknowledged, and
	// otherwise holds the process back, as a pipe does. It is the default.
	OverflowBlock = circuit.OverflowBlock
	// OverflowDrop gives up the oldest bytes.
	OverflowDrop = circuit.OverflowDrop
)

// ParsePath takes the text of a path, such as "/X56e7a2a0d47a7b5d/hi". Errors
// are of kind ErrInvalid.
func ParsePath(s string) (Path, error) { return circuit.ParsePath(s) }

// ParseServerID takes the anchor name of a server, such as "X56e7a2a0d47a7b5d".
// Errors are of kind ErrInvalid.
func ParseServerID(s string) (ServerID, error) { return circuit.ParseServerID(s) }

// ParseURL takes a circuit URL or a bare HOST:PORT. Errors are of kind
// ErrInvalid.
func ParseURL(s string) (URL, error) { return circuit.ParseURL(s) }

// ParseKey takes the text of a key, as circuit keygen prints it. Errors are of
// kind ErrInvalid and do not repeat the text.
func ParseKey(s string) (Key, error) { return circuit.ParseKey(s) }

// Redact returns s without what is, or was meant to be, a key, for messages that
// repeat what a user gave: what stands before the @ of a URL, and runs of 30 or
// more of the characters that keys are made of, unless all their letters are of one
// case.
func Redact(s string) string { return circuit.Redact(s) }

// ParseCmd takes a command as one JSON object with the fields of Cmd. Unknown
// fields and anything after the object are errors, of kind ErrInvalid.
func ParseCmd(b []byte) (Cmd, error) { return circuit.ParseCmd(b) }

// KindOf returns the kind of an error: of the first *Error or ErrorKind in its
// tree, ErrInternal for an error that has none, 0 for nil.
func KindOf(err error) ErrorKind { return circuit.KindOf(err) }
