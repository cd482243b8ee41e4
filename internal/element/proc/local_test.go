package proc

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gocircuit/circuit"
)

// run starts a command, closes its input, and returns its output and end.
func run(t testing.TB, h Host, c circuit.Cmd) (stdout, stderr string, exit Exit) {
	child, err := h.Start(c)
	if err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	child.Stdin().Close()
	out, err := io.ReadAll(child.Stdout())
	if err != nil {
		t.Error(err)
	}
	errs, err := io.ReadAll(child.Stderr())
	if err != nil {
		t.Error(err)
	}
	exit = child.Wait()
	child.Stdout().Close()
	child.Stderr().Close()
	child.Release()
	return string(out), string(errs), exit
}

func newTestHost(t testing.TB) *Local {
	h := NewLocal()
	t.Cleanup(func() { h.Close() })
	return h
}

func sh(script string) circuit.Cmd { return circuit.Cmd{Path: "/bin/sh", Args: []string{"-c", script}} }

func TestLocalRuns(t *testing.T) {
	h := newTestHost(t)
	stdout, stderr, exit := run(t, h, circuit.Cmd{Path: "sh", Args: []string{"-c", "echo out; echo err >&2; pwd; echo $A-$HOME; exit 7"}, Dir: "/", Env: []string{"A=b"}})
	if stdout != "out\n/\nb-\n" || stderr != "err\n" || exit.Status.ExitStatus() != 7 {
		t.Errorf("stdout %q, stderr %q, exit %v", stdout, stderr, exit.Status)
	}
	stdout, _, _ = run(t, h, circuit.Cmd{Path: "/usr/bin/env", Env: []string{"A=first", "B=", "A=", "AB=c", "A=last"}})
	if stdout != "B=\nAB=c\nA=last\n" {
		t.Errorf("of variables given twice the last is to stay: %q", stdout)
	}
	_, _, exit = run(t, h, sh("kill -TERM $$"))
	if !exit.Status.Signaled() || exit.Status.Signal() != syscall.SIGTERM {
		t.Errorf("killed by TERM: %v", exit.Status)
	}
	if exit.MaxRSS < 100<<10 {
		t.Errorf("peak memory of a shell: %v", exit.MaxRSS)
	}
}

func TestLocalStartFailures(t *testing.T) {
	h := newTestHost(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(dir, "orphan")
	if err := os.WriteFile(orphan, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	for _, c := range []struct {
		cmd  circuit.Cmd
		kind circuit.ErrorKind
	}{
		{circuit.Cmd{Path: "/no/such/program"}, circuit.NotFound},
		{circuit.Cmd{Path: "no-such-program"}, circuit.NotFound},
		{circuit.Cmd{Path: orphan}, circuit.NotFound},
		{circuit.Cmd{Path: plain}, circuit.Denied},
		{circuit.Cmd{Path: dir}, circuit.Denied},
		{circuit.Cmd{Path: "/bin/sh", Dir: "/no/such/directory"}, circuit.Invalid},
		{circuit.Cmd{Path: "/bin/sh", Dir: plain}, circuit.Invalid},
	} {
		if _, err := h.Start(c.cmd); !errors.Is(err, c.kind) {
			t.Errorf("%+v: %v, want %v", c.cmd, err, c.kind)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d were before the failures", after, before)
	}
}

// At the limit of open files, the error names it, wherever it strikes.
func TestLocalStartWithoutOpenFiles(t *testing.T) {
	h := newTestHost(t)
	run(t, h, circuit.Cmd{Path: "/bin/true"}) // opens what stays open
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	highest, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(highest)
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	started := false
	for more := uint64(0); !started && more < 40; more++ {
		limit := was
		limit.Cur = uint64(highest) + more
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		child, err := h.Start(circuit.Cmd{Path: "/bin/true"})
		if started = err == nil; started {
			child.Wait()
			child.Release()
			child.(*localChild).closePipes()
		} else if !errors.Is(err, circuit.Exhausted) || !strings.Contains(err.Error(), "(ulimit -n)") {
			t.Errorf("with room for %d files: %v", more, err)
		}
	}
	if !started {
		t.Error("no room is enough")
	}
}

// openFiles counts this program's descriptors.
func openFiles(t testing.TB) int {
	dir, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// TestChildDescriptorsAndSignals looks at a child from within: it must have
// three descriptors, and no ignored signal, though this program leaks some.
func TestChildDescriptorsAndSignals(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("there is no /proc")
	}
	if os.Getenv("PROC_TEST_INNER") == "" {
		leak, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer leak.Close()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		outer := exec.Command("sh", "-c", "trap '' HUP INT QUIT TSTP; exec \"$0\" -test.run '^TestChildDescriptorsAndSignals$' -test.v", exe)
		outer.Env = append(os.Environ(), "PROC_TEST_INNER=1")
		outer.ExtraFiles = []*os.File{leak}
		if out, err := outer.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestChildDescriptorsAndSignals") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	h := newTestHost(t)
	stdout, _, _ := run(t, h, sh("exec 2>&1; readlink /proc/self/fd/3; ls /proc/$$/fd; sed -n 's/SigIgn:\\t........//p' /proc/$$/status"))
	stdout = strings.Replace(stdout, "80000000\n", "00000000\n", 1) // signal 32 is the C library's
	if want := "0\n1\n2\n00000000\n"; stdout != want && stdout != strings.Replace(want, "2\n", "2\n10\n", 1) {
		t.Errorf("the child sees %q, want %q", stdout, want)
	}
}

func TestSignalGroupAndStop(t *testing.T) {
	h := newTestHost(t)
	child, err := h.Start(sh("sleep 1000 & echo ready; wait; echo never"))
	if err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 6)
	if _, err := io.ReadFull(child.Stdout(), ready); err != nil {
		t.Fatal(err)
	}
	if err := child.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for !child.Stopped() {
	}
	if err := child.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for child.Stopped() {
	}
	if err := child.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The pipe ends only when the grandchild is gone, too.
	if rest, err := io.ReadAll(child.Stdout()); err != nil || len(rest) > 0 {
		t.Errorf("after TERM: %q, %v", rest, err)
	}
	child.Wait()
	eventually(t, "nobody is left", func() bool { return child.Empty(true) })
	child.Release()
	if err := child.Signal(syscall.SIGTERM); err != errEnded {
		t.Errorf("signal after the end: %v", err)
	}
	child.(*localChild).closePipes()
}

// TestReaper runs processes by the way of systems without pidfds.
func TestReaper(t *testing.T) {
	h := newTestHost(t)
	if h.reaper == nil {
		h.reaper = newReaper()
	}
	for range 20 {
		if _, _, exit := run(t, h, sh("exit 3")); exit.Status.ExitStatus() != 3 {
			t.Fatalf("exit %v", exit.Status)
		}
	}
}

func TestManySleepersNeedNoThreads(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("there is no /proc")
	}
	h := newTestHost(t)
	if h.reaper != nil {
		t.Skip("this system has no pidfds")
	}
	const n = 100
	var children []Child
	exits := make(chan Exit, n)
	for range n {
		child, err := h.Start(circuit.Cmd{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
		go func() { exits <- child.Wait() }()
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if len(threads) > 40 {
		t.Errorf("%d threads for %d processes", len(threads), n)
	}
	for _, c := range children {
		if err := c.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for range n {
		if e := <-exits; e.Status.Signal() != syscall.SIGKILL {
			t.Errorf("exit %v", e.Status)
		}
	}
	for _, c := range children {
		c.(*localChild).closePipes()
	}
}
