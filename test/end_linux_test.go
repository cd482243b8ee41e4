package test

import "syscall"

// endWithTests has the system end a process if the tests are killed.
func endWithTests() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
