package proc

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxRSSUnit is the unit of Rusage.Maxrss in bytes.
const maxRSSUnit = 1024

// maxSignal is the highest signal.
const maxSignal = 64

// sysProcAttr makes the child the leader of its own group, ends it with this
// program, and asks for a descriptor that tells of its end.
func sysProcAttr(pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: pidfd}
}

func pipe() (r, w int, err error) {
	var fds [2]int
	err = syscall.Pipe2(fds[:], syscall.O_CLOEXEC)
	return fds[0], fds[1], err
}

// pidfdWorks reports whether processes can be waited for by a descriptor, as
// on Linux since 5.4.
func pidfdWorks() bool {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	err = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil)
	return err == unix.ECHILD // not our child; EINVAL where P_PIDFD is not known
}

// widePipe is how much the pipe of a process that writes much holds.
const widePipe = 256 << 10

// widen lets a pipe hold more, so that the process and its reader wait less for
// each other. The system may refuse; it is but faster so.
func widen(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, widePipe) }

// awaitPidfd returns a function that waits for the child: the runtime polls
// its descriptor, so the goroutine that calls it holds no thread.
func (c *localChild) awaitPidfd() func() Exit {
	_ = syscall.SetNonblock(c.pidfd, true) // a fresh descriptor of ours
	f := os.NewFile(uintptr(c.pidfd), "pidfd")
	c.handle = f
	return func() (exit Exit) {
		conn, err := f.SyscallConn()
		if err != nil {
			panic(fmt.Sprintf("an open file has no connection: %v", err)) // cannot be
		}
		err = conn.Read(func(uintptr) (ended bool) {
			exit, ended = c.reap()
			return ended
		})
		if err != nil { // it cannot be polled: wait on a thread
			_ = unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			exit, _ = c.reap()
		}
		return exit
	}
}

// pidfdSignalProcessGroup is PIDFD_SIGNAL_PROCESS_GROUP of <linux/pidfd.h>,
// since Linux 6.9.
const pidfdSignalProcessGroup = 1 << 2

// signalLeft signals what a process that was reaped left of its group. Its
// descriptor means this group and never another, where the system takes it.
func (c *localChild) signalLeft(sig syscall.Signal) error {
	if c.handle != nil {
		err := unix.PidfdSendSignal(c.pidfd, sig, nil, pidfdSignalProcessGroup)
		if err == nil || err == syscall.ESRCH {
			return err
		}
	}
	return c.signalNumber(sig)
}

// look returns the state of a process, as /proc has it, and its group.
func look(pid int) (state byte, group int, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name, in parentheses, may hold anything; the rest follows the last.
	var parent int
	_, err = fmt.Sscanf(string(b[bytes.LastIndexByte(b, ')')+1:]), " %c %d %d", &state, &parent, &group)
	return state, group, err == nil
}

func stopped(pid int) bool {
	state, _, _ := look(pid)
	return state == 'T' || state == 't'
}

// allEnded reports whether those who are left in a group are seen, and all have
// ended and are only to be reaped.
func allEnded(group int) bool {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	seen := false
	for _, d := range dir {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if state, of, ok := look(pid); ok && of == group {
			if state != 'Z' && state != 'X' {
				return false
			}
			seen = true
		}
	}
	return seen
}

// closeInheritedOnExec keeps descriptors that this program inherited from its
// children.
func closeInheritedOnExec() {
	if unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	dir, err := os.ReadDir("/proc/self/fd")
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
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	_, rest, _ := bytes.Cut(b, []byte("\nSigIgn:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	ignored, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	if err != nil {
		return
	}
	discard := make(chan os.Signal, 1)
	for sig := 1; sig <= maxSignal; sig++ {
		if ignored&(1<<(sig-1)) != 0 {
			signal.Notify(discard, syscall.Signal(sig))
		}
	}
}
