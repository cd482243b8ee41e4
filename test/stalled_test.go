package test

import (
	"errors"
	"os"
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
	}
	if log := string(w.logOf(first)); strings.Contains(log, "a server failed") {
		t.Error("a server that left was declared failed")
	}
}
