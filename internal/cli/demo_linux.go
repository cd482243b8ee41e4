package cli

import "syscall"

// demoAttr keeps the terminal's signals from the tour's servers, which the tour
// ends itself, and has the system end them if the tour is killed.
func demoAttr(keep bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if !keep {
		attr.Pdeathsig = syscall.SIGTERM
	}
	return attr
}
