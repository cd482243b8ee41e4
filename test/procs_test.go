package test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
)

// dial dials into a server, for programs that ask more than the command line
// could in the time.
func dial(t *testing.T, s *server) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// walk returns an anchor.
func walk(t *testing.T, c *client.Client, path string) *client.Anchor {
	t.Helper()
	a, err := c.Walk(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// each calls f for 0 to n-1, 16 at once, and returns the first error.
func each(n int, f func(int) error) error {
	next := make(chan int)
	var once sync.Once
	var first error
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	return first
}

// mustEach is each, and fails the test at an error.
func mustEach(t *testing.T, n int, f func(int) error) {
	t.Helper()
	if err := each(n, f); err != nil {
		t.Fatal(err)
	}
}

// TestManyProcesses runs many sleeping processes on one server, and wants it to
// have no thread for each, and to see each one's state.
func TestManyProcesses(t *testing.T) {
	n := size(200, 2000)
	w := newWorld(t)
	s := w.start(t, "s0")
	c := dial(t, s)
	procs := make([]*client.Proc, n)
	began := time.Now()
	mustEach(t, n, func(i int) (err error) {
		a, err := c.Walk(fmt.Sprintf("%s/sleepers/%d", s.path, i))
		if err != nil {
			return err
		}
		procs[i], err = a.MakeProc(t.Context(), client.Cmd{Path: "sleep", Args: []string{"1000"}})
		return err
	})
	t.Logf("%d processes run after %v", n, time.Since(began).Round(time.Millisecond))

	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.cmd.Process.Pid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if len(threads) > 40 {
		t.Errorf("the server has %d threads for %d processes", len(threads), n)
	}
	t.Logf("the server has %d threads", len(threads))

	mustEach(t, n, func(i int) error {
		if i%2 == 0 {
			return procs[i].Signal(t.Context(), "STOP")
		}
		return nil
	})
	for i, p := range procs {
		want := client.Running
		if i%2 == 0 {
			want = client.Stopped
		}
		w.await(t, 5*time.Second, fmt.Sprintf("%v is %s", p.Path(), want), func() bool {
			stat, err := p.Stat(t.Context())
			return err == nil && stat.Phase == want && stat.Exit == nil
		})
	}
	began = time.Now()
	mustEach(t, n, func(i int) error { return procs[i].Signal(t.Context(), "KILL") })
	mustEach(t, n, func(i int) error {
		stat, err := procs[i].Wait(t.Context())
		if err == nil && (stat.ExitCode != 137 || stat.Phase != client.Signaled) {
			err = fmt.Errorf("%v ended as %s with %d", procs[i].Path(), stat.Phase, stat.ExitCode)
		}
		return err
	})
	t.Logf("%d processes killed and waited for in %v", n, time.Since(began).Round(time.Millisecond))
}

// TestServerKilled wants the processes of a server that is killed to end, where
// the system allows it, and the server, started again on its data, to list them
// as lost.
func TestServerKilled(t *testing.T) {
	w := newWorld(t)
	s := w.start(t, "s0", "--data", "data")
	path := s.path + "/sleeper"
	w.must(t, `{"Path":"sleep","Args":["1000"]}`, "mkproc", "-d", s.url, path)
	waiter := w.begin(t, nil, "wait", "-d", s.url, path)
	stat, err := walk(t, dial(t, s), path).Proc().Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	if r := waiter.wait(); r.code != 125 || r.stderr == "" {
		t.Errorf("wait: exit code %d: %s", r.code, r.stderr)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		w.await(t, 5*time.Second, "the child ends with its server", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", stat.Pid))
			return errors.Is(err, fs.ErrNotExist)
		})
	}
	s = w.start(t, "s0", "--data", "data")
	if r := w.run("", "wait", "-d", s.url, path); r.code != 125 || r.stderr == "" {
		t.Errorf("wait after the restart: exit code %d: %s", r.code, r.stderr)
	}
}

// TestEndedProcessesSurviveTheirServer wants how a process ended, and all that
// it wrote, to be there after its server was killed, and after it was stopped,
// and nobody of its process group.
func TestEndedProcessesSurviveTheirServer(t *testing.T) {
	w := newWorld(t)
	s := w.start(t, "s0", "--data", "data")
	path := s.path + "/p"
	w.must(t, `{"Path":"sh","Args":["-c","echo hello; exit 7"]}`, "mkproc", "-d", s.url, path)
	lingers := s.path + "/lingers"
	w.must(t, `{"Path":"sh","Args":["-c","(trap \"\" TERM; exec sleep 1000) & echo begun"]}`, "mkproc", "-d", s.url, lingers)
	w.must(t, "", "wait", "-d", s.url, lingers)
	stat, err := walk(t, dial(t, s), lingers).Proc().Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, stop := range []bool{false, true} {
		if r := w.run("", "stdout", "-d", s.url, path); r.code != 0 || r.stdout != "hello\n" {
			t.Errorf("stdout: exit code %d, %q, %s", r.code, r.stdout, r.stderr)
		}
		if r := w.run("", "wait", "-d", s.url, path); r.code != 7 {
			t.Errorf("wait: exit code %d: %s", r.code, r.stderr)
		}
		if !stop {
			s.kill()
		} else if err := s.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		} else if <-s.done; exitCode(s.cmd) != 0 {
			t.Errorf("the server ended with %d", exitCode(s.cmd))
		}
		s = w.start(t, "s0", "--data", "data")
	}
	if r := w.run("", "stdout", "-d", s.url, path); r.code != 0 || r.stdout != "hello\n" {
		t.Errorf("stdout after all: exit code %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		w.await(t, 5*time.Second, "what the killed server's process left ends", func() bool {
			return errors.Is(syscall.Kill(-stat.Pid, 0), syscall.ESRCH)
		})
	}
}

// TestInterrupted wants an interrupted command to exit 130, and what it waited
// for to go on.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	s := w.start(t, "s0")
	path := s.path + "/channel"
	w.must(t, "", "mkchan", "-d", s.url, path)
	receiver := w.begin(t, nil, "recv", "-d", s.url, path)
	w.await(t, 5*time.Second, "the receiver waits", func() bool { return receivers(t, w, s, path) == 1 })
	if err := receiver.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := receiver.wait(); r.code != 130 || r.stderr != "circuit: interrupted\n" || r.stdout != "" {
		t.Errorf("exit code %d, standard output %q, standard error %q", r.code, r.stdout, r.stderr)
	}
	w.await(t, 5*time.Second, "the receiver is gone", func() bool { return receivers(t, w, s, path) == 0 })
}
