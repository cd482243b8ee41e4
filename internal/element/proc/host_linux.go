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
	return func() (exit Exit) {
		defer f.Close()
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

// stopped reports whether a process is stopped, by its state in /proc.
func stopped(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything; the state follows the last.
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && len(b) > i+2 && (b[i+2] == 'T' || b[i+2] == 't')
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
