package mesh

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// systemAlarm is an Alarm by a timer of the system, which an idle process notices
// once, when it rings. For one of Go's timers, two or three threads of it wake up,
// some of them several times.
type systemAlarm struct {
	file *os.File
	raw  syscall.RawConn
	arm  func(fd uintptr)      // sets the timer to spec
	read func(fd uintptr) bool // reports whether it rang
	spec struct{ interval, value syscall.Timespec }
	rang uint64
}

const clockMonotonic = 1 // CLOCK_MONOTONIC, Go's own

// SystemAlarm returns an Alarm that is cheap while a server is idle, or nil where
// there is none.
func SystemAlarm() Alarm {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil
	}
	a := &systemAlarm{file: os.NewFile(fd, "timer")}
	var err error
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil
	}
	a.arm, a.read = a.settime, a.ring
	return a
}

// Set implements Alarm. A timer of this kind fails only if it is closed.
func (a *systemAlarm) Set(at time.Time) {
	a.spec.value = syscall.Timespec{}
	if !at.IsZero() {
		a.spec.value = syscall.NsecToTimespec(max(1, int64(time.Until(at))))
	}
	_ = a.raw.Control(a.arm)
}

func (a *systemAlarm) settime(fd uintptr) {
	syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&a.spec)), 0, 0, 0)
}

// Wait implements Alarm.
func (a *systemAlarm) Wait() bool { return a.raw.Read(a.read) == nil }

func (a *systemAlarm) ring(fd uintptr) bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&a.rang)), unsafe.Sizeof(a.rang))
	return errno == 0
}

// Close implements Alarm.
func (a *systemAlarm) Close() { a.file.Close() }
