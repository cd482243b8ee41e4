package proc

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

func TestStdinWritersTakeTurns(t *testing.T) {
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "cat"})
	first := p.stdin().turn()
	first.put("one ", false)
	second := p.stdin()
	if got := p.stdout().read(4); got != "one " {
		t.Fatalf("read %q", got)
	}
	first.cut() // leaves the input open
	second.give("two ", false)
	p.stdin().give("three", true)
	if got := p.stdout().read(-1); got != "one two three" {
		t.Errorf("read %q", got)
	}
	if s := p.wait(); s.ExitCode != 0 || s.Stdin.Written != 13 || !s.Stdin.Closed {
		t.Errorf("%+v", s)
	}
}

// A writer that is cut off in the middle of a write that blocks leaves the
// input to the next; what the process had is counted.
func TestStdinCutWhileBlocked(t *testing.T) {
	p := newWorld(t, nil).start("p", sh("kill -STOP $$; exec wc -c"))
	eventually(t, "stopped", func() bool { return p.stat().Phase == circuit.Stopped })
	first := p.stdin().turn()
	first.put(strings.Repeat("x", 1<<20), false)
	second := p.stdin()
	eventually(t, "written", func() bool { return p.stat().Stdin.Written > 0 })
	first.cut()
	second.turn()
	written := p.stat().Stdin.Written
	if written == 0 || written == 1<<20 {
		t.Errorf("%d bytes written to a process that reads nothing", written)
	}
	p.mustSignal("CONT")
	second.put("more", true)
	if got := strings.TrimSpace(p.stdout().read(-1)); got != strconv.FormatUint(written+4, 10) {
		t.Errorf("the process read %s bytes, want %d", got, written+4)
	}
}

func TestStdinOfAnEndedProcess(t *testing.T) {
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "true"})
	p.wait()
	p.stdin().give("", true)
	for _, end := range []bool{false, true} {
		w := p.stdin().turn()
		w.put("x", end)
		w.refused()
	}
}

// An idle writer, which has sent nothing, is told of the end at once.
func TestIdleStdinIsToldOfTheEnd(t *testing.T) {
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "cat"})
	before := p.stdin().turn()
	p.mustSignal("KILL")
	for _, w := range []*writer{before, p.stdin().turn()} {
		if r, err := w.reply(); err != nil || !r.Closed || r.Written != 0 {
			t.Errorf("%v, %v", r, err)
		}
	}
}

func TestStdinThatTheProcessClosed(t *testing.T) {
	p := newWorld(t, nil).start("p", sh("exec <&-; echo closed; exec sleep 1000"))
	p.stdout().read(7)
	w := p.stdin().turn()
	w.put("x", false)
	if _, err := w.reply(); !errors.Is(err, circuit.Closed) {
		t.Errorf("a byte for a process that closed its input: %v", err)
	}
	if s := p.stat(); !s.Stdin.Closed || s.Phase != circuit.Running {
		t.Errorf("%+v", s)
	}
}

// A writer that is idle is told when the process ends, and so is one that
// waits for its turn.
func TestStdinWritersAreToldOfTheEnd(t *testing.T) {
	p := newWorld(t, nil).start("p", sh("read x; sleep 1000 & exit"))
	w := p.stdin().turn()
	waiting := p.stdin()
	w.put("x\n", false)
	for {
		r, err := w.reply()
		if err != nil {
			t.Fatal(err)
		}
		if r.Closed {
			if r.Written != 2 {
				t.Errorf("%v", r)
			}
			break
		}
	}
	waiting.turn()
	waiting.put("", true)
	if r, err := waiting.reply(); err != nil || !r.Closed {
		t.Errorf("%v, %v", r, err)
	}
	_ = syscall.Kill(-p.stat().Pid, syscall.SIGKILL) // the sleep
}

func TestStdinClosedTwice(t *testing.T) {
	p := newWorld(t, nil).start("p", sh("cat; exec sleep 1000"))
	p.stdin().give("x", true)
	p.stdin().give("", true)
	w := p.stdin().turn()
	w.put("y", true)
	w.refused()
}

func TestOutputReaders(t *testing.T) {
	const size = 3 << 20
	w := newWorld(t, nil)
	p := w.start("p", sh("head -c 3145728 /dev/zero | tr '\\0' x; echo err >&2"))
	early := p.stdout().read(-1)
	if early != strings.Repeat("x", size) {
		t.Fatalf("read %d bytes", len(early))
	}
	p.wait()
	for range 2 {
		if late := p.stdout().read(-1); late != early {
			t.Errorf("a late reader read %d bytes", len(late))
		}
	}
	if got := p.open(&circuitv1.OutputRequest_Open{Stream: stderr}).read(-1); got != "err\n" {
		t.Errorf("stderr: %q", got)
	}
	if got := p.open(&circuitv1.OutputRequest_Open{Stream: stdout, Offset: size - 5}).read(-1); got != "xxxxx" {
		t.Errorf("resumed: %q", got)
	}
	s := p.stat()
	if want := (circuit.OutputStat{Written: size, Kept: size, Ended: true}); s.Stdout != want {
		t.Errorf("%+v", s.Stdout)
	}
	bad := p.open(&circuitv1.OutputRequest_Open{})
	if _, err := bad.next(); !errors.Is(err, circuit.Invalid) {
		t.Errorf("no stream: %v", err)
	}
}

func TestOutputAtOnceAndWithoutFollowing(t *testing.T) {
	p := newWorld(t, nil).start("p", sh("printf ab; read x; printf cd"))
	r := p.stdout()
	if got := r.read(2); got != "ab" {
		t.Fatalf("read %q", got)
	}
	if got := p.open(&circuitv1.OutputRequest_Open{Stream: stdout, NoFollow: true}).read(-1); got != "ab" {
		t.Errorf("read %q without following", got)
	}
	p.stdin().give("\n", true)
	if got := r.read(-1); got != "cd" {
		t.Errorf("read %q", got)
	}
}

// A grandchild that inherited the output keeps it open, not the exit.
func TestOutputOfAGrandchild(t *testing.T) {
	w := newWorld(t, nil)
	file := filepath.Join(w.dir, "go")
	p := w.start("p", sh("(until [ -e "+file+" ]; do :; done; echo bye) & echo hi; exit 3"))
	if s := p.wait(); s.ExitCode != 3 || s.Stdout.Ended {
		t.Fatalf("%+v", s)
	}
	r := p.stdout()
	if got := r.read(3); got != "hi\n" {
		t.Fatalf("read %q", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.read(-1); got != "bye\n" {
		t.Errorf("read %q", got)
	}
	if s := p.stat(); !s.Stdout.Ended {
		t.Errorf("%+v", s)
	}
}

func TestOutputBlocks(t *testing.T) {
	const size = 1_000_000
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "head", Args: []string{"-c", "1000000", "/dev/zero"}, Spool: 100_000})
	eventually(t, "held back", func() bool { return p.stat().Stdout.Blocked == "spool full" })
	if s := p.stat(); s.Stdout.Kept != 100_000 || s.Stdout.GivenUp != 0 || s.Phase != circuit.Running {
		t.Errorf("%+v", s)
	}
	killed := p.stdout() // acknowledges a part, and goes
	for killed.at < 50_000 {
		if _, err := killed.next(); err != nil {
			t.Fatal(err)
		}
	}
	acked := killed.at
	killed.ack()
	eventually(t, "given up", func() bool { return p.stat().Stdout.GivenUp > 0 })
	killed.cut()
	if s := p.stat().Stdout; s.GivenUp > acked {
		t.Errorf("%d bytes are given up, %d were acknowledged", s.GivenUp, acked)
	}
	r := p.open(&circuitv1.OutputRequest_Open{Stream: stdout, Offset: acked})
	for {
		_, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.ack()
	}
	if r.at != size || r.lost != 0 {
		t.Errorf("ended at %d, lost %d", r.at, r.lost)
	}
	r.CloseSend()
	if s := p.wait(); s.ExitCode != 0 || s.Stdout.Blocked != "" {
		t.Errorf("%+v", s)
	}
}

func TestOutputDrops(t *testing.T) {
	p := newWorld(t, nil).start("p", circuit.Cmd{Path: "head", Args: []string{"-c", "1000000", "/dev/zero"}, Spool: 100_000, Overflow: circuit.OverflowDrop})
	p.wait()
	eventually(t, "ended", func() bool { return p.stat().Stdout.Ended })
	r := p.stdout()
	if got := r.read(-1); len(got) != 100_000 || r.lost != 900_000 {
		t.Errorf("read %d, lost %d", len(got), r.lost)
	}
}
