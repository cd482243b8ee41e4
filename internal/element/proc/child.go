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
	marked string

	await func() Exit // returns once the process has been reaped

	// mu keeps a signal from reaching whoever gets the number of a process, or of
	// a group, that is gone.
	mu     sync.Mutex
	handle *os.File // polls pidfd; nil if there is none
	ended  bool     // the process has, and was reaped
	gone   bool     // so has its whole group, or nobody cares for it any more
}

var _ Child = (*localChild)(nil)

func (c *localChild) Pid() int         { return c.pid }
func (c *localChild) Mark() string     { return c.marked }
func (c *localChild) Stdin() *os.File  { return c.stdin }
func (c *localChild) Stdout() *os.File { return c.stdout }
func (c *localChild) Stderr() *os.File { return c.stderr }

// Wait implements Child.
func (c *localChild) Wait() Exit {
	exit := c.await()
	c.Empty(false) // if it is, nothing is held on to
	return exit
}

// Signal implements Child.
func (c *localChild) Signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signal(sig)
}

// signal signals the group. The caller holds mu.
func (c *localChild) signal(sig syscall.Signal) error {
	if c.gone {
		return errEnded
	}
	var err error
	if c.ended {
		err = c.signalLeft(sig)
	} else {
		err = syscall.Kill(-c.pid, sig)
	}
	if err != syscall.ESRCH {
		return err
	}
	if c.ended {
		c.letGo()
	}
	return errEnded // or is about to be reaped
}

// signalNumber signals the group of a process that was reaped by its number. No
// process gets the number while the group has members, so one that has it says
// that the group is gone. What could be mistaken for the group is only one that
// got the number, and whose leader ended, since somebody last looked.
func (c *localChild) signalNumber(sig syscall.Signal) error {
	if syscall.Kill(c.pid, 0) != syscall.ESRCH {
		return syscall.ESRCH
	}
	return syscall.Kill(-c.pid, sig)
}

// Empty implements Child.
func (c *localChild) Empty(look bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended && !c.gone {
		_ = c.signal(0) // notices that nobody is left
	}
	return c.gone || c.ended && look && allEnded(c.pid)
}

// Release implements Child.
func (c *localChild) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo()
}

// letGo is the end of what is known of the group. The caller holds mu.
func (c *localChild) letGo() {
	c.gone = true
	c.closeHandle()
}

func (c *localChild) closeHandle() {
	if c.handle != nil {
		c.handle.Close()
		c.handle = nil
	}
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
