package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/gocircuit/circuit"
)

// Local is the Host that is this very program. One goroutine, on a thread of
// its own, starts all processes: Linux ends a child when the thread that
// started it ends, and that thread lives as long as the program.
type Local struct {
	reaper *reaper // nil where the system tells of each process by a descriptor

	mu     sync.Mutex // guards closed, and that nobody sends on spawns after
	closed bool
	spawns chan *spawn
	ended  chan struct{} // the spawner has
}

// spawn is one process to be started, and the answer.
type spawn struct {
	path string
	argv []string
	attr syscall.ProcAttr
	pid  int
	err  error
	done chan struct{}
}

// NewLocal returns a host that is this program. From then on the program's
// inherited descriptors are not passed on to any process that it starts, nor
// are the signals that it was told to ignore.
func NewLocal() *Local {
	closeInheritedOnExec()
	defaultIgnoredSignals()
	h := &Local{spawns: make(chan *spawn), ended: make(chan struct{})}
	if !pidfdWorks() {
		h.reaper = newReaper()
	}
	go h.run() // ends with Close, which waits for it
	return h
}

// run starts processes. The thread is not unlocked: it must not be reused.
func (h *Local) run() {
	defer close(h.ended)
	runtime.LockOSThread()
	for s := range h.spawns {
		s.pid, _, s.err = syscall.StartProcess(s.path, s.argv, &s.attr)
		close(s.done)
	}
}

// Close implements Host.
func (h *Local) Close() error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.spawns)
	}
	h.mu.Unlock()
	<-h.ended
	if h.reaper != nil {
		h.reaper.close()
	}
	return nil
}

// EndLeft implements Host.
func (h *Local) EndLeft(marks map[int]string) { endLeft(marks) }

// Start implements Host.
func (h *Local) Start(c circuit.Cmd) (Child, error) {
	path, err := lookPath(c)
	if err != nil {
		return nil, err
	}
	child := &localChild{pidfd: -1}
	theirs, err := child.pipes()
	if err != nil {
		return nil, errFiles
	}
	defer theirs.close()
	env := (&exec.Cmd{Env: c.Env}).Environ() // of a name given twice the last
	s := &spawn{
		path: path, argv: append([]string{c.Path}, c.Args...), done: make(chan struct{}),
		attr: syscall.ProcAttr{Dir: c.Dir, Env: env, Files: theirs.fds(), Sys: sysProcAttr(&child.pidfd)},
	}
	if err := h.spawn(s); err != nil {
		child.closePipes()
		return nil, startError(c, path, err)
	}
	child.pid, child.marked = s.pid, child.mark()
	if h.reaper == nil {
		child.await = child.awaitPidfd()
	} else {
		child.await = h.reaper.await(child)
	}
	return child, nil
}

// spawn has s started.
func (h *Local) spawn(s *spawn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("the server is stopping")
	}
	h.spawns <- s
	<-s.done
	return s.err
}

// lookPath finds the program, in the server's PATH if it is named without a
// slash.
func lookPath(c circuit.Cmd) (string, error) {
	if strings.Contains(c.Path, "/") {
		return c.Path, nil
	}
	path, err := exec.LookPath(c.Path)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, os.ErrPermission):
		return "", circuit.Errorf(circuit.Denied, fmt.Sprintf("the program %q is not executable", c.Path))
	}
	return "", circuit.Errorf(circuit.NotFound, fmt.Sprintf("there is no program %q in the server's PATH", c.Path))
}

var errFiles = circuit.Errorf(circuit.Exhausted, "the server has no open files left (ulimit -n) for another process; raise that limit, or end some processes or connections")

// startError says why a process could not be started.
func startError(c circuit.Cmd, path string, err error) error {
	if c.Dir != "" {
		if info, dirErr := os.Stat(c.Dir); dirErr != nil || !info.IsDir() {
			return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the working directory %q is not a directory on the server", c.Dir))
		}
	}
	switch {
	case errors.Is(err, syscall.ENOENT):
		return circuit.Errorf(circuit.NotFound, fmt.Sprintf("there is no program %q on the server, or the interpreter it names is not there", path))
	case errors.Is(err, syscall.ENOTDIR):
		return circuit.Errorf(circuit.NotFound, fmt.Sprintf("there is no program %q on the server", path))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return circuit.Errorf(circuit.Denied, fmt.Sprintf("the program %q is not executable by the server", path))
	case errors.Is(err, syscall.ENOEXEC):
		return circuit.Errorf(circuit.Denied, fmt.Sprintf("the program %q is not in a format that the server's system runs", path))
	case errors.Is(err, syscall.E2BIG):
		return circuit.Errorf(circuit.Invalid, "Args and Env together are longer than the server's system allows")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return errFiles
	case errors.Is(err, syscall.EAGAIN):
		return circuit.Errorf(circuit.Exhausted, "the server's system allows no more processes (ulimit -u, or a limit of its container or system); end some")
	case errors.Is(err, syscall.ENOMEM):
		return circuit.Errorf(circuit.Exhausted, "the server's system has no memory left for another process")
	}
	return circuit.Errorf(circuit.Denied, fmt.Sprintf("the program %q cannot be started: %v", path, err))
}
