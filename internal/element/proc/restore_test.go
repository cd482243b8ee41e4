package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// recording is a world whose processes are recorded.
func recording(t *testing.T, dir string) *world {
	return newWorld(t, func(c *Config) {
		c.SpoolDir, c.RecordDir = filepath.Join(dir, "spool"), filepath.Join(dir, "procs")
	})
}

// leftBehind returns a copy of a directory as a server that is killed now
// leaves it.
func leftBehind(t *testing.T, dir string) string {
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	before := recording(t, dir)
	running := before.start("a/running", circuit.Cmd{Path: "sh", Args: []string{"-c", "head -c 3000000 /dev/zero | tr '\\0' x; exec sleep 1000"}, Env: []string{"PATH=" + os.Getenv("PATH")}})
	running.stdout().read(3_000_000)
	ended := before.start("ended", sh("exit 7"))
	ended.wait()
	scrubbed := before.start("scrubbed", sh("exit 0"))
	scrubbed.wait()
	if err := scrubbed.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
		t.Fatal(err)
	}
	abandoned := before.start("abandoned", circuit.Cmd{Path: "cat"})
	if err := abandoned.scrub(circuitv1.ScrubRequest_ABANDON, 0); err != nil {
		t.Fatal(err)
	}
	record := before.service.recordPath(ended.generation)
	eventually(t, "the end is recorded", func() bool {
		b, err := os.ReadFile(record)
		return err == nil && strings.Contains(string(b), `"Exit"`)
	})
	left := leftBehind(t, dir)
	for name, text := range map[string]string{"procs/0123.json": "{damaged", "procs/0124.json.new": "", "spool/0125.stdout": "orphan"} {
		if err := os.WriteFile(filepath.Join(left, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	after := recording(t, left)
	if n := after.service.Count(); n != 2 {
		t.Fatalf("%d processes are restored", n)
	}
	lost := &proc{after, "a/running", running.generation}
	was, s := running.stat(), lost.wait()
	if s.Phase != circuit.LostProc || s.Exit != nil || s.ExitCode != -1 || s.Pid != was.Pid || !s.Started.Equal(was.Started) || len(s.Cmd.Env) != 1 || !s.Stdin.Closed {
		t.Errorf("%+v", s)
	}
	r := lost.stdout()
	for {
		_, err := r.next()
		if err == nil {
			continue
		}
		if !errors.Is(err, circuit.Lost) || !strings.Contains(err.Error(), fmt.Sprintf("after byte %d ", r.at)) {
			t.Errorf("the cut output ends with %v", err)
		}
		break
	}
	if r.at < 1_500_000 || r.at > 3_000_000 || r.lost != 0 {
		t.Errorf("%d bytes were recovered, %d lost", r.at, r.lost)
	}
	again := lost.open(&circuitv1.OutputRequest_Open{Stream: stdout, Offset: r.at})
	if _, err := again.next(); !errors.Is(err, circuit.Lost) || !strings.Contains(err.Error(), fmt.Sprintf("after byte %d ", r.at)) {
		t.Errorf("the cut output, read on from %d: %v", r.at, err)
	}
	if err := lost.signal("TERM"); !errors.Is(err, circuit.Closed) {
		t.Errorf("signal to a lost process: %v", err)
	}
	lost.stdin().give("", true)
	if s := (&proc{after, "ended", ended.generation}).wait(); s.Phase != circuit.Exited || s.ExitCode != 7 || *s.Exit != "exit status 7" {
		t.Errorf("%+v", s)
	}
	if err := lost.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
		t.Errorf("scrub of a lost process: %v", err)
	}
	lost.start("a/running", circuit.Cmd{Path: "true"})
}

func TestShutdown(t *testing.T) {
	w := newWorld(t, nil)
	var all []*proc
	for i, script := range []string{
		"exec cat",
		"kill -STOP $$; exec cat",
		"trap '' TERM; echo; while :; do sleep 1000; done",
		"exit 3",
	} {
		p := w.start(string(rune('a'+i)), sh(script))
		all = append(all, p)
	}
	all[2].stdout().read(1)
	eventually(t, "stopped", func() bool { return all[1].stat().Phase == circuit.Stopped })
	all[3].wait()
	waited := make(chan error)
	go func() {
		_, err := w.client.Wait(all[0].on(), &circuitv1.WaitProcRequest{})
		waited <- err
	}()
	w.service.Shutdown(context.Background(), 200*time.Millisecond)
	<-waited
	if _, err := w.service.start(w.path("late"), 1, circuit.Cmd{Path: "true"}); !errors.Is(err, circuit.Unreachable) {
		t.Errorf("start after Shutdown: %v", err)
	}
}

// A reader that follows what a grandchild may still write, of a process that
// was scrubbed at its exit, must not keep the server.
func TestShutdownWithReaderOfScrubbedProcess(t *testing.T) {
	w := newWorld(t, nil)
	p := w.start("p", circuit.Cmd{Path: "sh", Args: []string{"-c", "read x; sleep 1000 & echo hi"}, Scrub: true})
	pid := p.stat().Pid
	defer syscall.Kill(-pid, syscall.SIGKILL) // the sleep
	r := p.stdout()
	p.stdin().give("\n", true)
	if got := r.read(3); got != "hi\n" {
		t.Fatal(got)
	}
	eventually(t, "scrubbed", func() bool { return w.tree.Count() == 0 })
	w.service.Shutdown(context.Background(), time.Minute)
	if _, err := r.next(); !errors.Is(err, circuit.Closed) && err != io.EOF {
		t.Errorf("the reader: %v", err)
	}
}

// A killed server's children end. The server is this test's program.
func TestChildrenEndWithTheServer(t *testing.T) {
	if os.Getenv("PROC_TEST_SERVER") != "" {
		child, err := NewLocal().Start(circuit.Cmd{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("pid", child.Pid())
		select {}
	}
	if runtime.GOOS != "linux" {
		t.Skip("this system does not end children with their parent")
	}
	host := newTestHost(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server, err := host.Start(circuit.Cmd{Path: exe, Args: []string{"-test.run=^TestChildrenEndWithTheServer$"}, Env: append(os.Environ(), "PROC_TEST_SERVER=1")})
	if err != nil {
		t.Fatal(err)
	}
	defer server.(*localChild).closePipes()
	var pid int
	if _, err := fmt.Fscanf(server.Stdout(), "pid %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	if err := server.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	server.Wait()
	eventually(t, "the child ends", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

// A process that could not be listed after a crash of the server is not
// started.
func TestNoRecordNoProcess(t *testing.T) {
	w := recording(t, t.TempDir())
	dir := w.service.cfg.RecordDir
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, err := w.try("p", circuit.Cmd{Path: "sleep", Args: []string{"1000"}})
	if !errors.Is(err, circuit.Exhausted) {
		t.Errorf("made without a record: %v", err)
	}
	eventually(t, "nothing is left", func() bool { return w.service.Count() == 0 })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.start("p", sh("exit 0")).wait()
}
