package proc

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// settled waits until nothing more of a process is written to files.
func (p *proc) settled() {
	p.Helper()
	p.wait()
	e, _, err := p.tree.Get(p.path(p.name), 0)
	if err != nil {
		p.Fatal(err)
	}
	<-e.(*Proc).settled
}

// What processes that had ended wrote is all there after a server was killed,
// and after one was stopped, again and again; and what is lost is told, and
// nothing else.
func TestEndedProcessesSurviveTheServer(t *testing.T) {
	scripts := map[string]circuit.Cmd{
		"silent":    sh("exit 7"),
		"brief":     sh("echo hello; echo oops >&2"),
		"talkative": sh("head -c 3000000 /dev/zero"),
		"dropping":  {Path: "head", Args: []string{"-c", "1000000", "/dev/zero"}, Spool: 100_000, Overflow: circuit.OverflowDrop},
	}
	dir := t.TempDir()
	w := recording(t, dir)
	was, generations := map[string]circuit.ProcStat{}, map[string]uint64{}
	for name, c := range scripts {
		p := w.start(name, c)
		p.settled()
		was[name], generations[name] = p.stat(), p.generation
	}
	killed := leftBehind(t, dir)
	w.stop()
	for name, left := range map[string]string{"killed": killed, "stopped": dir} {
		for _, times := range []string{"once", "twice"} {
			w := recording(t, left)
			if n := w.service.Count(); n != len(scripts) {
				t.Fatalf("%s %s: %d processes are listed", name, times, n)
			}
			for element, generation := range generations {
				p := &proc{w, element, generation}
				s := p.stat()
				if s.Stdout != was[element].Stdout || s.Stderr != was[element].Stderr || s.Phase != circuit.Exited || *s.Exit != *was[element].Exit {
					t.Errorf("%s %s, %s: %+v, was %+v", name, times, element, s, was[element])
				}
				r := p.stdout()
				if got := r.read(-1); uint64(len(got)) != s.Stdout.Kept || r.lost != s.Stdout.GivenUp {
					t.Errorf("%s %s, %s: read %d, lost %d", name, times, element, len(got), r.lost)
				}
			}
			w.stop()
		}
	}
	w = recording(t, dir)
	for name, generation := range generations {
		if err := (&proc{w, name, generation}).scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
			t.Error(err)
		}
	}
	w.stop()
	for _, d := range []string{"procs", "spool"} {
		if left, _ := os.ReadDir(filepath.Join(dir, d)); len(left) > 0 {
			t.Errorf("%s is left of what was scrubbed", left[0].Name())
		}
	}
}

// Processes that a server ends as it stops are listed as ended, with all that
// they wrote; those of which nothing was to be left are not.
func TestStopKeepsWhatItEnded(t *testing.T) {
	dir := t.TempDir()
	w := recording(t, dir)
	p := w.start("p", sh("trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 1000 & wait; done"))
	p.stdout().read(6)
	scrub := sh("exec sleep 1000")
	scrub.Scrub = true
	w.start("scrub", scrub)
	if err := w.start("abandoned", circuit.Cmd{Path: "cat"}).scrub(circuitv1.ScrubRequest_ABANDON, 0); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w = recording(t, dir)
	if n := w.service.Count(); n != 1 {
		t.Errorf("%d processes are listed", n)
	}
	p.world = w
	if got := p.stdout().read(-1); got != "hello\nbye\n" {
		t.Errorf("read %q", got)
	}
	if s := p.wait(); s.ExitCode != 5 || s.Stdout.Written != 10 {
		t.Errorf("%+v", s)
	}
}

// A server that stops does not wait for who took the output to a group of their
// own. That there may be more of it is told.
func TestStopCutsWhatGoesOn(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Skip("there is no setsid")
	}
	dir := t.TempDir()
	w := recording(t, dir)
	p := w.start("p", sh("setsid sh -c 'echo hello; sleep 5' &"))
	p.stdout().read(6)
	p.wait()
	w.service.Shutdown(context.Background(), time.Minute)
	w.stop()
	p.world = recording(t, dir)
	r := p.stdout()
	if got := r.read(6); got != "hello\n" {
		t.Errorf("read %q", got)
	}
	if _, err := r.next(); !errors.Is(err, circuit.Lost) || !strings.Contains(err.Error(), "after byte 6 ") {
		t.Errorf("then %v", err)
	}
}

// What did not get to the file of a process that had ended counts.
func TestLostTailCounts(t *testing.T) {
	dir := t.TempDir()
	w := recording(t, dir)
	p := w.start("p", sh("head -c 300000 /dev/zero"))
	p.settled()
	left := leftBehind(t, dir)
	if err := os.Truncate(filepath.Join(left, "spool", filepath.Base(w.service.spoolPath(p.generation, stdoutName))), 200_000); err != nil {
		t.Fatal(err)
	}
	p.world = recording(t, left)
	s := p.stat().Stdout
	if s.Written != 300_000 || s.Kept == 0 || s.Kept+s.GivenUp != 300_000 {
		t.Errorf("%+v", s)
	}
	r := p.stdout()
	for {
		if _, err := r.next(); err == io.EOF || errors.Is(err, circuit.Lost) {
			if err == io.EOF {
				t.Error("it ends as if nothing were lost")
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// What a killed server's process left of its group is ended when the server is
// started again: nothing else, whose number it may be.
func TestRestoreEndsWhatIsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not tell what is left")
	}
	dir := t.TempDir()
	w := recording(t, dir)
	p, group := w.group(`sh -c 'trap "" TERM; echo; exec sleep 1000' & exit 0`)
	p.wait()
	record := filepath.Base(w.service.recordPath(p.generation))
	for _, other := range []bool{true, false} {
		left := leftBehind(t, dir)
		if other { // one with this number, and not its pipes
			path := filepath.Join(left, "procs", record)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "pipe:[", "pipe:[9")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		after := recording(t, left)
		if other && !alive(group) {
			t.Error("a group that is not the process's was ended")
		}
		if !other {
			eventually(t, "what is left ends", func() bool { return !alive(group) })
		}
		after.stop()
	}
}
