package proc

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/gocircuit/circuit"
)

// Host runs processes. Today's is the server itself; one that outlives the
// server fits behind the same seam.
type Host interface {
	// Start starts a process, in a process group of its own, with pipes for its
	// standard streams and no other descriptor. Errors are of kind NotFound (no
	// such program), Denied (not executable), Invalid (no such directory) or
	// Exhausted.
	Start(c circuit.Cmd) (Child, error)
	// EndLeft ends what is left of the process groups of children of an earlier
	// host, by the numbers and marks of those children, so far as they are
	// certain to be theirs.
	EndLeft(marks map[int]string)
	// Close releases the host. Its processes must have ended, or be abandoned.
	Close() error
}

// Child is a process that a Host started. Its methods may be called
// concurrently.
type Child interface {
	Pid() int
	// Mark tells the process's group from others that have its number some time,
	// to EndLeft of a later host. It is empty if the system has no such thing.
	Mark() string
	// Stdin, Stdout and Stderr are this side's ends of the pipes. They are the
	// caller's to close, and closing one ends what waits in it.
	Stdin() *os.File
	Stdout() *os.File
	Stderr() *os.File
	// Wait returns how the process ended, once it has, whatever its streams do.
	// It is called once, and holds no thread while it waits.
	Wait() Exit
	// Signal signals the process group, which may have members after the process
	// itself has ended. Once nobody is left in it, the error is errEnded and
	// nobody is signalled.
	Signal(sig syscall.Signal) error
	// Empty reports whether nobody is left in the process group. Who has ended and
	// was not reaped yet, by whoever is to, counts as left, unless look is set:
	// that costs a look at all processes of the system.
	Empty(look bool) bool
	// Release lets go of the process group: nobody is signalled any more. The
	// process must have ended.
	Release()
	// Stopped reports whether the process is stopped, by STOP or TSTP.
	Stopped() bool
}

// errEnded says that a process, and all of its group, has ended already.
var errEnded = errors.New("the process has ended")

// Exit is how a process ended.
type Exit struct {
	Status  syscall.WaitStatus
	At      time.Time
	CPUTime time.Duration // user and system time, of children waited for as well
	MaxRSS  circuit.Size  // peak resident memory; on Linux at least that of the program that started it
}

// exitOf puts what the system says of an ended process together.
func exitOf(status syscall.WaitStatus, usage *syscall.Rusage) Exit {
	return Exit{
		Status:  status,
		At:      time.Now(),
		CPUTime: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		MaxRSS:  circuit.Size(usage.Maxrss * maxRSSUnit),
	}
}
