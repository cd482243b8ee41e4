package circuit

import "time"

// Phase is where a process is in its life.
type Phase string

// The phases of a process.
const (
	Running  Phase = "running"
	Stopped  Phase = "stopped"  // by a signal such as STOP or TSTP; CONT makes it running again
	Exited   Phase = "exited"   // by itself, with an exit code
	Signaled Phase = "signaled" // ended by a signal
	LostProc Phase = "lost"     // its server was killed; what became of it is not known
)

// Ended reports whether a process in this phase is gone.
func (p Phase) Ended() bool { return p == Exited || p == Signaled || p == LostProc }

// ProcStat is the state of a process element.
type ProcStat struct {
	Cmd Cmd
	// Exit is nil while the process runs, and then says how it ended:
	// "exit status 7", "signal: terminated".
	Exit  *string
	Phase Phase

	Pid      int           // on the hosting server
	Started  time.Time     // by the hosting server's clock
	Ended    time.Time     `json:",omitzero"` // by the hosting server's clock
	ExitCode int           // the process's own; 128+n for signal n; -1 while it runs or when lost
	Signal   string        `json:",omitempty"` // the signal that ended it, without SIG
	CPUTime  time.Duration // user and system time of the process itself, in nanoseconds
	MaxRSS   Size          // peak resident memory, once it has ended
	Stdin    InputStat
	Stdout   OutputStat
	Stderr   OutputStat
}

// InputStat is the state of a process's standard input.
type InputStat struct {
	Written uint64 // bytes handed to the process
	Closed  bool   // no more can be written
}

// OutputStat is the state of one of a process's output streams. Written is
// Kept plus GivenUp.
type OutputStat struct {
	Written uint64 // bytes that the process wrote
	Kept    uint64 // bytes that can still be read
	GivenUp uint64 // bytes that are gone, the oldest
	Ended   bool   // the process, and all that inherited its stream, closed it
	// Blocked says why the process is held back in writing, empty if it is
	// not: "spool full", "server spool limit", "disk full".
	Blocked string `json:",omitempty"`
}

// ChanStat is the state of a channel element.
type ChanStat struct {
	Cap     int  // messages that the buffer can hold
	Closed  bool // no further sends
	Aborted bool // scrubbed
	NumSend int  // messages accepted from senders, so far
	NumRecv int  // messages whose receipt was confirmed, so far

	Buffered      int  // messages in the buffer now
	BufferedBytes Size // bytes held for this channel now
	Senders       int  // sends blocked now
	Receivers     int  // receives blocked now
	Redelivered   int  // deliveries repeated because a receiver went away, so far
}

// SubscriptionStat is the state of a subscription element.
type SubscriptionStat struct {
	Kind     Kind
	Pending  int // events that are not acknowledged, those in receivers' hands included
	Overflow int // events given up so far because more than Limit waited
	Limit    int // how many events may wait

	NumEvents   int // so far, those given up included
	NumRecv     int // events whose receipt was confirmed, so far
	Receivers   int // receives open now
	Redelivered int // deliveries repeated because a receiver went away, so far
}

// Member is a server as the membership knows it.
type Member struct {
	ID      ServerID
	Address string    // HOST:PORT that it advertises
	Joined  time.Time // when the answering server learnt of it, by that server's clock
	Version string    `json:",omitempty"` // of its software, once known
}

// ServerStat is the state of a server.
type ServerStat struct {
	ID            ServerID
	Address       string // HOST:PORT that it advertises
	PID           int
	Version       string // of the software
	Started       time.Time
	Joined        time.Time // since when it is in a circuit, its own at first, by its own clock
	Servers       int       // in the circuit, this one included, as this one sees it
	Neighbours    []ServerID
	Anchors       int
	Procs         int // process elements, ended ones included
	Chans         int
	Subscriptions int  // subscription elements
	SpoolBytes    Size // kept output of all processes
	ChanBytes     Size // held for all channels
}

// MarshalText implements encoding.TextMarshaler: the anchor name.
func (id ServerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ServerID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseServerID(string(b))
	return err
}
