package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// bootID returns what the system is called since it was started, or "".
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// mark is the system's start and the pipes of the child, by the names that /proc
// gives them, which it does not give twice.
func (c *localChild) mark() string {
	mark := bootID()
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		info, err := f.Stat()
		if err != nil {
			return ""
		}
		mark += fmt.Sprintf(" pipe:[%d]", info.Sys().(*syscall.Stat_t).Ino)
	}
	return mark
}

// endLeft ends groups that an earlier server's processes led, by their numbers
// and marks. A number may be another's by now: a group is the one that is meant
// if a member of it holds one of its pipes, and no other is touched.
func endLeft(marks map[int]string) {
	if len(marks) == 0 {
		return
	}
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	boot := bootID()
	for _, d := range dir {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		_, group, ok := look(pid)
		if !ok || group <= 1 || marks[group] == "" || group == syscall.Getpgrp() {
			continue
		}
		if name := strings.Fields(marks[group]); boot != "" && name[0] == boot && holds(pid, name[1:]) {
			_ = syscall.Kill(-group, syscall.SIGKILL) // fails only if it has just ended
			delete(marks, group)
		}
	}
}

// holds reports whether a process has one of these files open.
func holds(pid int, names []string) bool {
	files := "/proc/" + strconv.Itoa(pid) + "/fd/"
	dir, err := os.ReadDir(files)
	if err != nil {
		return false
	}
	for _, d := range dir {
		file, err := os.Readlink(files + d.Name())
		for _, name := range names {
			if err == nil && file == name {
				return true
			}
		}
	}
	return false
}
