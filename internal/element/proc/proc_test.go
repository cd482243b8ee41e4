package proc

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// The process ends at once; neither its input, which nobody closes, nor what
// inherited its output changes that.
func TestHowProcessesEnd(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		script, exit, signal string
		code                 int
		phase                circuit.Phase
	}{
		{"exit 0", "exit status 0", "", 0, circuit.Exited},
		{"exit 7", "exit status 7", "", 7, circuit.Exited},
		{"kill -TERM $$", "signal: terminated", "TERM", 143, circuit.Signaled},
		{"kill -KILL $$", "signal: killed", "KILL", 137, circuit.Signaled},
		{"sleep 1000 & exit 3", "exit status 3", "", 3, circuit.Exited},
	} {
		before := time.Now()
		p := w.start("p", sh(c.script))
		s := p.wait()
		if s.Exit == nil || *s.Exit != c.exit || s.ExitCode != c.code || s.Signal != c.signal || s.Phase != c.phase {
			t.Errorf("%s: %+v", c.script, s)
		}
		if s.Started.Before(before.Add(-time.Second)) || s.Ended.Before(s.Started) || s.Pid <= 1 || s.MaxRSS < 1<<10 || !s.Stdin.Closed {
			t.Errorf("%s: %+v", c.script, s)
		}
		if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
			t.Errorf("%s: %v", c.script, err)
		}
		_ = syscall.Kill(-s.Pid, syscall.SIGKILL) // the sleep
	}
}

func TestStatEchoesTheCommand(t *testing.T) {
	w := newWorld(t, nil)
	for i, c := range []circuit.Cmd{
		{Path: "/bin/cat"},
		{Path: "/bin/cat", Env: []string{}},
		{Path: "/bin/cat", Env: []string{"A=1"}, Dir: "/", Args: []string{"-"}, Spool: 1 << 20, Overflow: circuit.OverflowDrop, Scrub: true},
	} {
		p := w.start(fmt.Sprint(i), c)
		s := p.stat()
		if got, want := fmt.Sprintf("%#v", s.Cmd), fmt.Sprintf("%#v", c); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s.Exit != nil || s.Phase != circuit.Running || s.ExitCode != -1 || s.Stdin.Closed || !s.Ended.IsZero() {
			t.Errorf("%+v", s)
		}
	}
}

func TestStartFailureLeavesTheAnchorFree(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		cmd  circuit.Cmd
		kind circuit.ErrorKind
		text string
	}{
		{circuit.Cmd{}, circuit.Invalid, "Path"},
		{circuit.Cmd{Path: "/no/such"}, circuit.NotFound, `"/no/such"`},
		{circuit.Cmd{Path: "no-such-program"}, circuit.NotFound, "PATH"},
		{circuit.Cmd{Path: "/etc/passwd"}, circuit.Denied, `"/etc/passwd"`},
		{circuit.Cmd{Path: "/bin/true", Dir: "/no/such"}, circuit.Invalid, `"/no/such"`},
	} {
		_, err := w.try("a/b", c.cmd)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v", c.cmd, err)
		}
	}
	if n := w.tree.Count(); n != 0 {
		t.Errorf("%d anchors are left", n)
	}
	w.start("a/b", circuit.Cmd{Path: "true"})
	if _, err := w.try("a/b", circuit.Cmd{Path: "true"}); !errors.Is(err, circuit.Exists) {
		t.Errorf("a second process at an anchor: %v", err)
	}
}

func TestStoppedAndRunning(t *testing.T) {
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "cat"})
	p.mustSignal("STOP")
	eventually(t, "stopped", func() bool { return p.stat().Phase == circuit.Stopped })
	p.mustSignal("CONT")
	eventually(t, "running", func() bool { return p.stat().Phase == circuit.Running })
}

func TestSignal(t *testing.T) {
	w := newWorld(t, nil)
	for _, name := range []string{"TERM", "SIGTERM", "term", fmt.Sprint(int(syscall.SIGTERM))} {
		p := w.start("p", sh("sleep 1000 & wait"))
		p.mustSignal(name)
		p.stdout().read(-1) // ends when the sleep is gone: the group was signalled
		if s := p.wait(); s.Signal != "TERM" {
			t.Errorf("%s: %+v", name, s)
		}
		eventually(t, "nobody is left to signal", func() bool { return errors.Is(p.signal(name), circuit.Closed) })
		if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
			t.Error(err)
		}
	}
	p := w.start("p", circuit.Cmd{Path: "cat"})
	for _, name := range []string{"", "0", "-9", "TURM", "SIG", "SIGSIGTERM", "99999", "15x"} {
		if err := p.signal(name); !errors.Is(err, circuit.Invalid) {
			t.Errorf("signal %q: %v", name, err)
		}
	}
}

func TestScrub(t *testing.T) {
	w := newWorld(t, nil)
	// It says "ready" once it ignores TERM.
	p := w.start("p", sh("trap '' TERM; echo ready; while :; do sleep 1000; done"))
	p.stdout().read(6)
	err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0)
	if !errors.Is(err, circuit.Exists) || !strings.Contains(err.Error(), "--kill") || !strings.Contains(err.Error(), "--abandon") {
		t.Errorf("scrub of a running process: %v", err)
	}
	reading := p.stdout()
	reading.read(6)
	waited := make(chan circuit.ProcStat)
	go func() { waited <- p.wait() }()
	eventually(t, "a waiter", func() bool { return p.stat().Phase == circuit.Running })
	if err := p.scrub(circuitv1.ScrubRequest_KILL, time.Millisecond); err != nil {
		t.Errorf("scrub --kill: %v", err)
	}
	if s := <-waited; s.Signal != "KILL" && s.Signal != "" {
		t.Errorf("%+v", s)
	}
	if _, err := reading.next(); !errors.Is(err, circuit.Closed) && err != io.EOF {
		t.Errorf("a reader of what was scrubbed: %v", err)
	}
	if n := w.tree.Count(); n != 0 {
		t.Errorf("%d anchors are left", n)
	}
}

func TestAbandon(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxProcs = 1 })
	// Goes on writing, and ends by itself only if its input does.
	p := w.start("p", sh("trap 'exit 9' PIPE; (while :; do echo 0123456789; done) & cat; echo end"))
	p.stdout().read(11)
	pid := p.stat().Pid
	blocked := p.stdin().turn()
	if err := p.scrub(circuitv1.ScrubRequest_ABANDON, 0); err != nil {
		t.Fatal(err)
	}
	blocked.put("x", false)
	blocked.refused()
	if n := w.tree.Count(); n != 0 {
		t.Errorf("%d anchors are left", n)
	}
	if _, err := w.try("p", circuit.Cmd{Path: "true"}); !errors.Is(err, circuit.Exhausted) {
		t.Errorf("an abandoned process that runs does not count: %v", err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("an abandoned process ended: %v", err)
	}
	if err := syscall.Kill(-pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	eventually(t, "forgotten", func() bool { return w.service.Count() == 0 })
	w.start("p", circuit.Cmd{Path: "true"})
}

// With Scrub, everyone who was there has their answer, and what readers follow.
func TestScrubAtExit(t *testing.T) {
	w := newWorld(t, nil)
	p := w.start("p", circuit.Cmd{Path: "sh", Args: []string{"-c", "read x; echo done; exit 7"}, Scrub: true})
	reading := p.stdout()
	eventually(t, "a reader", func() bool {
		e, _, err := w.tree.Get(w.path("p"), 0)
		if err != nil {
			t.Fatal(err)
		}
		o := e.(*Proc).stdout
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.readers == 1
	})
	var all sync.WaitGroup
	for range 16 {
		s, err := p.client.Output(p.on()) // so that the call below is under way
		if err != nil {
			t.Fatal(err)
		}
		s.CloseSend()
		waiting := make(chan struct{})
		all.Go(func() {
			close(waiting)
			if s, err := p.client.Wait(p.on(), &circuitv1.WaitProcRequest{}); err == nil && s.ExitCode != 7 {
				t.Errorf("a waiter's answer: %v", s)
			}
		})
		<-waiting
	}
	p.stdin().give("\n", true)
	if got := reading.read(-1); got != "done\n" {
		t.Errorf("read %q", got)
	}
	all.Wait()
	eventually(t, "scrubbed", func() bool { return w.tree.Count() == 0 && w.service.Count() == 0 })
}

func TestProcessLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxProcs = 2 })
	p := w.start("a", circuit.Cmd{Path: "true"})
	w.start("b", circuit.Cmd{Path: "cat"})
	_, err := w.try("c", circuit.Cmd{Path: "true"})
	if !errors.Is(err, circuit.Exhausted) || !strings.Contains(err.Error(), "limit of 2 processes") {
		t.Errorf("one too many: %v", err)
	}
	p.wait()
	if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try("c", circuit.Cmd{Path: "/no/such"}); !errors.Is(err, circuit.NotFound) {
		t.Error(err)
	}
	w.start("c", circuit.Cmd{Path: "true"})
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				p, err := w.try(fmt.Sprintf("%d/%d", i, j), sh(fmt.Sprintf("cat; exit %d", i)))
				if err != nil {
					t.Error(err)
					return
				}
				p.stdin().give("hello", true)
				if got := p.stdout().read(-1); got != "hello" {
					t.Errorf("read %q", got)
				}
				if s := p.wait(); s.ExitCode != i {
					t.Errorf("%+v", s)
				}
				if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
