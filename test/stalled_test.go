package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullPipe returns the writing end of a pipe that is full, and that nobody reads
// before the test's end.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	t.Cleanup(func() { w.Close() })
	if err := w.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 4<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a pipe that nobody reads took 4 MiB: %v", err)
	}
	if err := syscall.SetNonblock(int(w.Fd()), false); err != nil {
		t.Fatal(err)
	}
	return w
}

// endsAfter signals a server, and wants it to end in time with one of the exit
// codes.
func endsAfter(t *testing.T, s *server, limit time.Duration, codes []int, signals ...syscall.Signal) {
	t.Helper()
	began := time.Now()
	for _, sig := range signals {
		if err := s.signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-s.done:
	case <-time.After(limit):
		t.Fatalf("server %s still runs %v after %v", s.name, limit, signals)
	}
	if code := exitCode(s.cmd); !slices.Contains(codes, code) {
		t.Errorf("server %s: exit code %d after %v, want one of %v", s.name, code, signals, codes)
	}
	t.Logf("server %s ended %v after %v", s.name, time.Since(began).Round(time.Millisecond), signals)
}

// works wants the server to answer what it can only while its mesh runs.
func (w *world) works(t *testing.T, s *server) {
	t.Helper()
	if r := w.run("", "peek", "--timeout", "5s", "-d", s.url, s.path); r.code != 0 {
		t.Fatalf("server %s hangs: exit code %d\n%s", s.name, r.code, r.stderr)
	}
}

// TestStalledStderrFreezesServer gives a server a standard error that takes
// nothing. Its first word about a server that joined stopped it for good.
func TestStalledStderrFreezesServer(t *testing.T) {
	w := newWorld(t)
	first := w.start(t, "first")
	for name, test := range map[string]struct {
		signals []syscall.Signal
		limit   time.Duration
		codes   []int
	}{
		"TERM":  {[]syscall.Signal{syscall.SIGTERM}, 5 * time.Second, []int{0}},
		"twice": {[]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, 3 * time.Second, []int{0, 130}},
	} {
		s, err := w.launchInto(name, fullPipe(t), program(), "start", "-a", "127.0.0.1:0", "-j", first.url)
		if err == nil {
			err = w.ready(s)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.await(t, 5*time.Second, name+" is in the circuit", func() bool { return slices.Contains(w.list(first), s.path) })
		w.works(t, s)
		endsAfter(t, s, test.limit, test.codes, test.signals...)
		w.await(t, 5*time.Second, name+" is gone", func() bool { return !slices.Contains(w.list(first), s.path) })
		if len(test.signals) > 1 {
			continue // whoever is ended at once may have had no time to say that it leaves
		}
		if log := string(w.logOf(first)); strings.Contains(log, `"a server failed" server=`+strings.TrimPrefix(s.path, "/")) {
			t.Error("a server that left was declared failed")
		}
	}
}

// TestHungDataDirectoryFreezesServer lets a server refute what is known of its
// earlier life, as if restored from a backup, while no file of its data directory
// can be written. It waited for the write with everything stopped.
func TestHungDataDirectoryFreezesServer(t *testing.T) {
	w := newWorld(t)
	first := w.start(t, "first")
	for name, test := range map[string]struct {
		signals []syscall.Signal
		codes   []int
	}{
		"TERM":  {[]syscall.Signal{syscall.SIGTERM}, []int{0}},
		"twice": {[]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, []int{0, 130}},
	} {
		data := filepath.Join(w.dir, name)
		for life := range 2 { // so that the circuit knows it by more than the first incarnations
			s := w.start(t, fmt.Sprintf("%s%d", name, life), "--data", data, "-j", first.url)
			w.await(t, 5*time.Second, "both know each other", func() bool { return len(w.list(first)) == 2 && len(w.list(s)) == 2 })
			endsAfter(t, s, 5*time.Second, []int{0}, syscall.SIGTERM)
			w.await(t, 5*time.Second, name+" is gone", func() bool { return len(w.list(first)) == 1 })
		}
		for _, file := range []string{"incarnation", "peers"} {
			if err := os.Remove(filepath.Join(data, file)); err != nil {
				t.Fatal(err)
			}
		}
		s := w.start(t, name, "--data", data)
		for _, file := range []string{"incarnation", "peers"} { // nobody reads them, so that opening hangs
			if err := syscall.Mkfifo(filepath.Join(data, file+".new"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.must(t, "", "join", "--timeout", "5s", "-d", first.url, first.path, s.url)
		w.await(t, 5*time.Second, name+" is in the circuit", func() bool { return slices.Contains(w.list(first), s.path) })
		w.works(t, s)
		endsAfter(t, s, 5*time.Second, test.codes, test.signals...)
		w.await(t, 5*time.Second, name+" is gone", func() bool { return len(w.list(first)) == 1 })
	}
}
