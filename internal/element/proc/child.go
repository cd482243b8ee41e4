package proc

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// localChild is a process started by Local.
type localChild struct {
	pid    int
	pidfd  int // -1 if there is none
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	await func() Exit // returns once the process has been reaped

	// mu keeps a signal from reaching whoever gets the number of a process that
	// has been reaped.
	mu    sync.Mutex
	ended bool
}

var _ Child = (*localChild)(nil)

func (c *localChild) Pid() int         { return c.pid }
func (c *localChild) Stdin() *os.File  { return c.stdin }
func (c *localChild) Stdout() *os.File { return c.stdout }
func (c *localChild) Stderr() *os.File { return c.stderr }
func (c *localChild) Wait() Exit       { return c.await() }

// Signal implements Child.
func (c *localChild) Signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return errEnded
	}
	err := syscall.Kill(-c.pid, sig)
	if err == syscall.ESRCH {
		return errEnded // it has ended and is about to be reaped
	}
	return err
}

// Stopped implements Child.
func (c *localChild) Stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ended && stopped(c.pid)
}

// reap reports whether the process has ended, and then how. It does not block.
func (c *localChild) reap() (Exit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var status syscall.WaitStatus
	var usage syscall.Rusage
	for {
		pid, err := syscall.Wait4(c.pid, &status, syscall.WNOHANG, &usage)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil: // somebody else reaped it: all that is known is that it ended
			c.ended = true
			return Exit{At: time.Now()}, true
		case pid == c.pid:
			c.ended = true
			return exitOf(status, &usage), true
		}
		return Exit{}, false
	}
}

// ends are the child's ends of its pipes.
type ends []int

func (e ends) fds() []uintptr { return []uintptr{uintptr(e[0]), uintptr(e[1]), uintptr(e[2])} }

func (e ends) close() {
	for _, fd := range e {
		syscall.Close(fd)
	}
}

// pipes makes the three pipes: ours are polled by the runtime, the child's
// block, as programs expect.
func (c *localChild) pipes() (theirs ends, err error) {
	files := []**os.File{&c.stdin, &c.stdout, &c.stderr}
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		r, w, err := pipe()
		if err != nil {
			theirs.close()
			c.closePipes()
			return nil, err
		}
		ours, their := r, w
		if i == 0 {
			ours, their = w, r
		}
		theirs = append(theirs, their)
		if err := syscall.SetNonblock(ours, true); err != nil {
			syscall.Close(ours)
			theirs.close()
			c.closePipes()
			return nil, err
		}
		*files[i] = os.NewFile(uintptr(ours), name)
	}
	return theirs, nil
}

func (c *localChild) closePipes() {
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		if f != nil {
			f.Close()
		}
	}
}
