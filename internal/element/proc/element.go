package proc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/spool"
)

// Proc is a process element.
type Proc struct {
	service    *Service
	path       circuit.Path
	generation uint64
	cmd        circuit.Cmd
	child      Child // nil if it is of an earlier run of the server
	started    time.Time
	pid        int
	mark       string // of the child

	stdin          *input
	stdout, stderr *output
	copiers        sync.WaitGroup

	over    chan struct{} // closed once the element holds nothing any more
	settled chan struct{} // closed once its record will not change
	ended   chan struct{} // closed once exit is set
	exit    Exit
	lost    bool // how it ended is not known

	mu        sync.Mutex
	abandoned bool
	forgotten bool // there is to be no record
	release   sync.Once
}

var _ anchor.Element = (*Proc)(nil)

// Kind implements anchor.Element.
func (p *Proc) Kind() circuit.Kind { return circuit.Proc }

// State implements anchor.Element.
func (p *Proc) State() string {
	if p.hasEnded() && !p.lost {
		return strings.TrimPrefix(describe(p.exit.Status), "signal: ")
	}
	return string(p.phase())
}

func (p *Proc) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *Proc) phase() circuit.Phase {
	switch {
	case p.lost:
		return circuit.LostProc
	case p.hasEnded() && p.exit.Status.Signaled():
		return circuit.Signaled
	case p.hasEnded():
		return circuit.Exited
	case p.child.Stopped():
		return circuit.Stopped
	}
	return circuit.Running
}

// describe says how a process ended.
func describe(status syscall.WaitStatus) string {
	if !status.Signaled() {
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	}
	text := "signal: " + status.Signal().String()
	if status.CoreDump() {
		text += " (core dumped)"
	}
	return text
}

// Stat returns the state of the process.
func (p *Proc) Stat() circuit.ProcStat {
	s := circuit.ProcStat{
		Cmd: p.cmd, Phase: p.phase(), Pid: p.pid, Started: p.started, ExitCode: -1,
		Stdin: p.stdin.stat(), Stdout: p.stdout.stat(), Stderr: p.stderr.stat(),
	}
	if !s.Phase.Ended() || p.lost {
		return s
	}
	text := describe(p.exit.Status)
	s.Exit, s.Ended, s.CPUTime, s.MaxRSS = &text, p.exit.At, p.exit.CPUTime, p.exit.MaxRSS
	if sig := p.exit.Status.Signal(); p.exit.Status.Signaled() {
		s.ExitCode, s.Signal = 128+int(sig), strings.TrimPrefix(unix.SignalName(sig), "SIG")
	} else {
		s.ExitCode = p.exit.Status.ExitStatus()
	}
	return s
}

// begin starts the goroutines of a process that runs.
func (p *Proc) begin() {
	p.copiers.Go(p.stdout.copy)
	p.copiers.Go(p.stderr.copy)
	p.service.tasks.Go(p.await)
}

// await waits for the end of the process, and does what is to be done then.
func (p *Proc) await() {
	p.exit = p.child.Wait()
	p.stdin.close() // if a child of the process has it still, it gets no more
	close(p.ended)
	p.mu.Lock()
	abandoned := p.abandoned
	p.mu.Unlock()
	switch {
	case abandoned:
		close(p.settled)
		p.watch()
		p.end()
	case p.cmd.Scrub:
		close(p.settled)
		p.service.cfg.Tree.Remove(p.path, p.generation)
		p.stdout.lastReader()
		p.stderr.lastReader()
		p.end()
	default:
		p.service.tasks.Go(p.watch)
		if p.stdout.length() == nil || p.stderr.length() == nil {
			_ = p.service.keepRecord(p) // which logs it; a restarted server would list the process as lost
		}
		p.copiers.Wait()
		p.settle()
		close(p.settled)
	}
}

// watchGroup is how often it is looked whether the group of a process that has
// ended has, too.
const watchGroup = time.Second

// watch holds on to the group of a process that has ended, until nobody is left
// in it or the element is over.
func (p *Proc) watch() {
	tick := time.NewTicker(watchGroup)
	defer tick.Stop()
	for !p.child.Empty(false) {
		select {
		case <-tick.C:
		case <-p.over:
		}
	}
}

// Wait waits for the process to end, within ctx.
func (p *Proc) Wait(ctx context.Context) (circuit.ProcStat, error) {
	select {
	case <-p.ended:
	case <-ctx.Done():
		if !p.hasEnded() {
			return circuit.ProcStat{}, ctx.Err()
		}
	}
	return p.Stat(), nil
}

// Signal signals the process group. Errors are of kind Closed and Invalid.
func (p *Proc) Signal(name string) error {
	sig, err := parseSignal(name)
	if err != nil {
		return err
	}
	if p.child != nil && p.child.Empty(true) {
		return errGroupEnded
	}
	return p.signal(sig)
}

var errGroupEnded = circuit.Errorf(circuit.Closed, "the process has ended, and its group with it")

func (p *Proc) signal(sig syscall.Signal) error {
	if p.lost {
		return circuit.Errorf(circuit.Closed, "the process was lost when its server was killed; what became of it is not known")
	}
	if p.child == nil {
		return errGroupEnded
	}
	switch err := p.child.Signal(sig); err {
	case nil:
		return nil
	case errEnded:
		return errGroupEnded
	case syscall.EPERM:
		return circuit.Errorf(circuit.Denied, "the server may not signal the process")
	default:
		return circuit.Errorf(circuit.Invalid, fmt.Sprintf("the server's system does not deliver the signal: %v", err))
	}
}

// parseSignal takes TERM, SIGTERM or 15; numbers are this system's.
func parseSignal(name string) (syscall.Signal, error) {
	upper := strings.ToUpper(strings.TrimSpace(name))
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(upper, "SIG")); sig != 0 {
		return sig, nil
	}
	var n int
	if _, err := fmt.Sscanf(upper+"\n", "%d\n", &n); err == nil && n > 0 && n <= maxSignal {
		return syscall.Signal(n), nil
	}
	return 0, circuit.Errorf(circuit.Invalid, fmt.Sprintf("%.40q is not a signal; expected a name such as TERM, or a number from 1 to %d", name, maxSignal))
}

// Scrub implements anchor.Element.
func (p *Proc) Scrub(ctx context.Context, how anchor.Scrub) error {
	switch {
	case how.Mode == circuitv1.ScrubRequest_KILL:
		if err := p.kill(ctx, how.Grace); err != nil {
			return err
		}
	case p.hasEnded():
	case how.Mode == circuitv1.ScrubRequest_ABANDON:
		p.abandon()
		return nil
	default:
		return circuit.Errorf(circuit.Exists, "the process is running; use --kill to end it first, or --abandon to leave it running")
	}
	p.end()
	return nil
}

// kill ends the process and its group: TERM, then KILL after the grace time.
func (p *Proc) kill(ctx context.Context, grace time.Duration) error {
	if grace == 0 {
		grace = p.service.cfg.Grace
	}
	_ = p.signal(syscall.SIGTERM) // fails only if it has just ended
	_ = p.signal(syscall.SIGCONT) // a stopped process gets TERM once it goes on
	soft, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.groupEnds(soft) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err() // whoever asked has gone, and KILL was not due
	}
	_ = p.signal(syscall.SIGKILL)
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	hard, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	_ = p.groupEnds(hard) // those that the system does not let go of have been killed all the same
	return ctx.Err()
}

// How often it is looked whether a group has ended: twice as slowly each time,
// within limits, and thoroughly where it takes long.
const (
	fastestLook = time.Millisecond
	slowestLook = 250 * time.Millisecond
	longLook    = 16 * time.Millisecond
)

// groupEnds waits until the process has ended, and all of its group, within ctx.
func (p *Proc) groupEnds(ctx context.Context) error {
	if _, err := p.Wait(ctx); err != nil || p.child == nil {
		return err
	}
	for pause := fastestLook; !p.child.Empty(pause >= longLook); pause = min(2*pause, slowestLook) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// abandon leaves a running process to itself: nobody feeds it, and its output
// is thrown away, until it ends.
func (p *Proc) abandon() {
	p.mu.Lock()
	p.abandoned = true
	p.mu.Unlock()
	p.stdin.abandon()
	p.stdout.discard()
	p.stderr.discard()
	p.service.forgetRecord(p)
	if p.hasEnded() {
		p.end() // it may have ended before it was known to be abandoned
	}
}

// end gives up what the element holds, for good. The process has ended.
func (p *Proc) end() {
	p.release.Do(func() {
		p.letGo()
		p.stdout.close()
		p.stderr.close()
		p.copiers.Wait()
		p.service.dismiss(p)
	})
	p.service.forgetRecord(p) // also that which a server that stops has left
}

// letGo lets go of the process's group and input.
func (p *Proc) letGo() {
	if p.child != nil {
		p.child.Release()
	}
	close(p.over)
	p.stdin.close()
}

// spoolConfig configures the spool of one of the process's streams.
func (p *Proc) spoolConfig(stream string) spool.Config {
	limit := int64(p.cmd.Spool)
	if limit == 0 {
		limit = p.service.cfg.StreamSpool
	}
	return spool.Config{
		Path:   p.service.spoolPath(p.generation, stream),
		Limit:  limit,
		Drop:   p.cmd.Overflow == circuit.OverflowDrop,
		Budget: p.service.budget,
	}
}
