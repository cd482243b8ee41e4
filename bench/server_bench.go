package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

const mib = 1 << 20

// binarySize measures the file of the program, as it is released and as go
// build makes it.
func binarySize(ctx context.Context, l *lab) ([]figure, error) {
	plain := filepath.Join(l.dir, "plain")
	if err := l.build(ctx, plain); err != nil {
		return nil, err
	}
	var figures []figure
	for _, f := range []struct{ name, file string }{{"stripped, as released", l.program}, {"go build", plain}} {
		st, err := os.Stat(f.file)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{Name: f.name, Value: float64(st.Size()) / mib, Unit: "MiB"})
	}
	return figures, nil
}

// startToUsable measures from the execution of the program until a client has
// dialled and listed the servers.
func startToUsable(ctx context.Context, l *lab) ([]figure, error) {
	var printed, usable, cli []time.Duration
	for range l.rounds(21, 7) {
		begin := time.Now()
		s, err := l.start(nil)
		if err != nil {
			return nil, err
		}
		printed = append(printed, time.Since(begin))
		c, err := l.dial(ctx, s)
		if err != nil {
			return nil, err
		}
		if err := l.sees(ctx, c, 1); err != nil {
			return nil, err
		}
		usable = append(usable, time.Since(begin))
		c.Close()
		begin = time.Now()
		ls := exec.CommandContext(ctx, l.program, "ls", "-d", s.url, "/")
		ls.Env = l.env()
		if out, err := ls.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("circuit ls /: %w: %s", err, out)
		}
		cli = append(cli, time.Since(begin))
		l.clear()
	}
	return []figure{
		over("start until the URL is printed", "ms", 0, units(printed, time.Millisecond)),
		over("start until a client has listed /", "ms", 30, units(usable, time.Millisecond)),
		over("circuit ls /, the whole process", "ms", 12, units(cli, time.Millisecond)),
	}, nil
}

// idleMemory measures a server that has done nothing but start, some seconds
// later.
func idleMemory(ctx context.Context, l *lab) ([]figure, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("memory is read from /proc, which %s has not", runtime.GOOS)
	}
	var anonymous, resident []float64
	for range l.rounds(5, 2) {
		s, err := l.start(nil)
		if err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(l.rounds(5, 2)) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		anonymous = append(anonymous, field(status, "RssAnon"))
		resident = append(resident, field(status, "VmRSS"))
		l.clear()
	}
	return []figure{
		over("anonymous", "MiB", 8, anonymous),
		over("resident", "MiB", 22, resident),
	}, nil
}

// field returns a field of /proc/PID/status in MiB.
func field(status []byte, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(status)
	if m == nil {
		return 0
	}
	kib, _ := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024
}
