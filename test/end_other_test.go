//go:build !linux

package test

import "syscall"

// endWithTests would have the system end a process if the tests are killed.
func endWithTests() *syscall.SysProcAttr { return nil }
