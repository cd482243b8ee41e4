package proc

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxRSSUnit is the unit of Rusage.Maxrss in bytes.
const maxRSSUnit = 1

// maxSignal is the highest signal.
const maxSignal = 31

// sysProcAttr makes the child the leader of its own group.
func sysProcAttr(*int) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func pipe() (r, w int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		return 0, 0, err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return fds[0], fds[1], nil
}

// widen does nothing: the system widens pipes by itself.
func widen(int) {}

func pidfdWorks() bool { return false }

func (c *localChild) awaitPidfd() func() Exit { panic("there are no pidfds on this system") }

func (c *localChild) signalLeft(sig syscall.Signal) error { return c.signalNumber(sig) }

// States of processes in <sys/proc.h>: SSTOP and SZOMB.
const (
	processStopped = 4
	processEnded   = 5
)

func stopped(pid int) bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	return err == nil && info.Proc.P_stat == processStopped
}

// allEnded reports whether those who are left in a group are seen, and all have
// ended and are only to be reaped.
func allEnded(group int) bool {
	members, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", group)
	for _, m := range members {
		if m.Proc.P_stat != processEnded {
			return false
		}
	}
	return err == nil && len(members) > 0
}

// closeInheritedOnExec keeps descriptors that this program inherited from its
// children.
func closeInheritedOnExec() {
	dir, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, d := range dir {
		if fd, err := strconv.Atoi(d.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// defaultIgnoredSignals lets children begin with default dispositions of the
// signals that this program was started to ignore, as by nohup: a signal that
// is caught here, and thrown away, is at its default in a child.
func defaultIgnoredSignals() {
	discard := make(chan os.Signal, 1)
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if signal.Ignored(sig) {
			signal.Notify(discard, sig)
		}
	}
}

// The system does not say which pipes another process holds, so that nothing
// tells what an earlier server left from the rest.
func (c *localChild) mark() string { return "" }

func endLeft(map[int]string) {}
