//go:build !linux

package cli

import "syscall"

// demoAttr keeps the terminal's signals from the tour's servers, which the tour
// ends itself.
func demoAttr(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
