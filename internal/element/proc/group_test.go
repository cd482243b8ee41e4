package proc

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
)

// The scripts say a line once they have a member that outlives them.
const (
	// A member that ignores TERM; the leader does not.
	stubborn = `sh -c 'trap "" TERM; echo; exec sleep 1000' & exec sleep 1000`
	// A member whose leader has exited.
	orphan = `sleep 1000 & echo; exit 3`
)

// group starts a script, and returns its group once the script has said so.
func (w *world) group(script string) (p *proc, group int) {
	w.Helper()
	p = w.start("p", sh(script))
	p.stdout().read(1)
	group = p.stat().Pid
	w.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) }) // what a test left
	return p, group
}

// alive reports whether anybody runs in a group; who has ended and was not
// reaped does not.
func alive(group int) bool { return syscall.Kill(-group, 0) == nil && !allEnded(group) }

func TestKillEndsTheWholeGroup(t *testing.T) {
	for name, script := range map[string]string{"ignores TERM": stubborn, "its leader has exited": orphan} {
		t.Run(name, func(t *testing.T) {
			p, group := newWorld(t, nil).group(script)
			if script == orphan {
				p.wait()
			}
			if err := p.scrub(circuitv1.ScrubRequest_KILL, 50*time.Millisecond); err != nil {
				t.Error(err)
			}
			if alive(group) {
				t.Error("a member of the group lives on")
			}
		})
	}
}

// A scrub --kill that is given up before the grace time is over kills nobody.
func TestKillThatIsGivenUp(t *testing.T) {
	p, group := newWorld(t, nil).group(`trap 'echo got' TERM; echo; while :; do sleep 1000 & wait; done`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.tree.Scrub(ctx, p.path("p"), p.generation, anchor.Scrub{Mode: circuitv1.ScrubRequest_KILL, Grace: time.Hour})
	}()
	p.stdout().read(5)
	cancel()
	if err := <-ended; err == nil {
		t.Error("it succeeded")
	}
	if !alive(group) || p.stat().Phase != circuit.Running {
		t.Error("the process was killed")
	}
	if err := p.scrub(circuitv1.ScrubRequest_KILL, time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsTheWholeGroup(t *testing.T) {
	for name, script := range map[string]string{"ignores TERM": stubborn, "its leader has exited": orphan} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			p, group := w.group(script)
			if script == orphan {
				p.wait()
			}
			w.service.Shutdown(context.Background(), 50*time.Millisecond)
			if alive(group) {
				t.Error("a member of the group lives on")
			}
		})
	}
}

// Signals reach the group of a process that has exited for as long as there is
// one, whichever way the system has of naming it.
func TestSignalReachesWhatAnExitedProcessLeft(t *testing.T) {
	for _, named := range []bool{false, true} {
		p, group := newWorld(t, nil).group(orphan)
		if s := p.wait(); s.Phase != circuit.Exited || s.ExitCode != 3 {
			t.Errorf("%+v", s)
		}
		e, _, err := p.tree.Get(p.path("p"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if c := e.(*Proc).child.(*localChild); named {
			c.mu.Lock()
			c.closeHandle()
			c.mu.Unlock()
		}
		p.mustSignal("TERM")
		eventually(t, "the member ends", func() bool { return !alive(group) })
		eventually(t, "nobody is left", func() bool { return errors.Is(p.signal("TERM"), circuit.Closed) })
		if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
			t.Error(err)
		}
	}
}

// What an exited process left is nobody's once its element is removed, and goes
// on.
func TestScrubLeavesTheGroupOfAnExitedProcess(t *testing.T) {
	p, group := newWorld(t, nil).group(orphan)
	p.wait()
	if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
		t.Fatal(err)
	}
	if !alive(group) {
		t.Error("it was ended")
	}
}
