package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"text/tabwriter"
	"time"
)

const (
	presenceName = "presence"
	crowdName    = "crowd"
)

// The names of the figures of presence and crowd. "Known to all" is when the last
// of the other servers saw it, by what each of them says.
const (
	allListen       = "all started at once: all listen"
	allAtOnce       = "all started at once, through one seed: all views exact"
	idleBytes       = "idle, sent and received, a server"
	idlePackets     = "idle, packets sent and received, a server"
	wakeUps         = "idle, context switches, a server"
	idleCPU         = "idle, processor time, a server"
	memoryAnonymous = "idle, memory, anonymous"
	memoryResident  = "idle, memory, resident"
	bytesOfJoin     = "a join, bytes beyond idle, a server"
	bytesOfKill     = "kill -9, bytes beyond idle, a server"
	bytesOfLeave    = "a leave, bytes beyond idle, a server"
	joinListening   = "a join known to all, since it listens"
	joinExec        = "a join known to all, since its execution"
	killMedian      = "kill -9 known to all, median"
	killWorst       = "kill -9 known to all, worst"
	freezeMedian    = "SIGSTOP known to all, median"
	freezeWorst     = "SIGSTOP known to all, worst"
	leaveMedian     = "a leave known to all, since TERM"
	listCLI         = "circuit ls / lists all, the whole process"
	listExact       = "servers that list all"
)

// aim is what a figure of the circuit is to reach among so many servers, 0 for
// anything.
func aim(name string, servers int) float64 {
	switch name {
	case allAtOnce:
		if servers <= 32 {
			return 1
		}
		return 3
	case joinListening:
		if servers <= 32 {
			return 20
		}
		return 100
	case listExact:
		return least(float64(servers))
	}
	return map[string]float64{
		idleBytes: 100, wakeUps: 3, idleCPU: 0.2, memoryAnonymous: 8, memoryResident: 22,
		bytesOfJoin: 2800, bytesOfKill: 2800, bytesOfLeave: 2800,
		killMedian: 100, freezeMedian: 2.5, freezeWorst: 4, listCLI: 1,
	}[name]
}

// presence measures the circuit and its peers, one after another.
func presence(ctx context.Context, l *lab) ([]figure, error) {
	sizes := []int{8, 32, 128}
	if l.quick {
		sizes = sizes[:2]
	}
	if l.sizes != nil {
		sizes = l.sizes
	}
	return l.host(ctx, presenceName, sizes, ofCircuit, ofMemberlist, ofSerf)
}

// crowd measures many servers of the circuit.
func crowd(ctx context.Context, l *lab) ([]figure, error) {
	sizes := []int{500}
	if l.sizes != nil {
		sizes = l.sizes
	}
	return l.host(ctx, crowdName, sizes, ofCircuit)
}

// host does a job of each size with each of several kinds of servers.
func (l *lab) host(ctx context.Context, what string, sizes []int, of ...string) ([]figure, error) {
	var all []figure
	var failed error
	for _, n := range sizes {
		own := make(map[string]float64) // the circuit's values
		for _, o := range of {
			begin := time.Now()
			figures, err := l.do(ctx, job{What: what, Of: o, Servers: n, Quick: l.quick, Program: l.program, Dir: l.dir})
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%d servers of %s: %w", n, o, err))
			}
			fmt.Fprintf(os.Stderr, "bench: %s: %d servers of %s took %v\n", what, n, o, time.Since(begin).Round(time.Second))
			for _, f := range figures {
				if o == ofCircuit {
					own[f.Name] = f.Value
					f.Aim = aim(f.Name, n)
				} else if own[f.Name] > 0 && f.Value > 0 { // a cost may be lost in the noise
					f.Ratio = f.Value / own[f.Name]
				}
				all = append(all, f)
			}
		}
	}
	return all, failed
}

// do lets a host do a job. Whatever ends the host, or this program, ends all that
// it started.
func (l *lab) do(ctx context.Context, j job) ([]figure, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleHost, roleVariable+"_JOB="+string(text))
	cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = alone(), &out, &problems
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("skipped: this system does not let it have namespaces of its own: %w", err)
	}
	err = cmd.Wait()
	if err != nil || problems.Len() > 0 {
		err = errors.New(string(bytes.TrimSpace(problems.Bytes())))
	}
	var figures []figure
	if json.Unmarshal(out.Bytes(), &figures) != nil && err == nil {
		err = errors.New("it said nothing")
	}
	return figures, err
}

// showTable prints, for each number of servers, a line for each figure and a
// column for each whose it is.
func showTable(figures []figure) {
	for len(figures) > 0 {
		n := figures[0].Servers
		end := slices.IndexFunc(figures, func(f figure) bool { return f.Servers != n })
		if end < 0 {
			end = len(figures)
		}
		showSize(n, figures[:end])
		figures = figures[end:]
	}
}

func showSize(servers int, figures []figure) {
	var names, of []string
	cells := make(map[[2]string]figure)
	for _, f := range figures {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
		if !slices.Contains(of, f.Of) {
			of = append(of, f.Of)
		}
		cells[[2]string{f.Name, f.Of}] = f
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n  %d servers", servers)
	for _, o := range of {
		fmt.Fprintf(w, "\t%s", o)
		if o == ofCircuit {
			fmt.Fprint(w, "\t\t")
		}
	}
	fmt.Fprintln(w)
	var notes []string
	for _, name := range names {
		fmt.Fprintf(w, "  %s", name)
		for _, o := range of {
			f, ok := cells[[2]string{name, o}]
			cell := ""
			if ok {
				cell = f.value()
			}
			if f.Ratio != 0 {
				cell += fmt.Sprintf(" (%sx)", number(f.Ratio))
			}
			if f.Note != "" {
				notes = append(notes, fmt.Sprintf("%s, %s: %s", o, name, f.Note))
				cell += fmt.Sprintf(" [%d]", len(notes))
			}
			fmt.Fprintf(w, "\t%s", cell)
			if o == ofCircuit {
				fmt.Fprintf(w, "\t%s\t%s", f.spread(), f.verdict())
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	for i, n := range notes {
		fmt.Printf("  [%d] %s\n", i+1, n)
	}
}
