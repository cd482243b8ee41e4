package test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writer returns the JSON of a process that writes n bytes of numbered lines.
func writer(n int, more string) string {
	return fmt.Sprintf(`{"Path":"sh","Args":["-c","seq 1000000000 | head -c %d"]%s}`, n, more)
}

// numbered returns the first n bytes of those lines, from offset on.
func numbered(offset, n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 64<<10)
		var line []byte
		var err error
		for i := 1; err == nil; i++ {
			line = append(strconv.AppendInt(line[:0], int64(i), 10), '\n')
			_, err = out.Write(line)
		}
	}()
	_, err := io.CopyN(io.Discard, r, int64(offset))
	return &closingReader{io.LimitReader(r, int64(n-offset)), r, err}
}

// closingReader closes a pipe at the end of what is read of it.
type closingReader struct {
	io.Reader
	pipe *io.PipeReader
	err  error
}

func (c *closingReader) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Reader.Read(b)
	if err != nil {
		c.pipe.Close()
	}
	return n, err
}

// digest is what a reader got: how much, and its hash.
type digest struct {
	n   int64
	sum hash.Hash
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

func (d *digest) Write(b []byte) (int, error) {
	d.n += int64(len(b))
	return d.sum.Write(b)
}

func (d *digest) String() string { return fmt.Sprintf("%d bytes, sha256 %x", d.n, d.sum.Sum(nil)) }

// TestReaders lets one reader follow a process and another read after its exit,
// and wants the same bytes in both, while the server stays small.
func TestReaders(t *testing.T) {
	n := size(96<<20, 1<<30)
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/writer"
	w.must(t, writer(n, `,"Spool":"2GiB"`), "mkproc", "-d", servers[0].url, path)
	memory := watchMemory(t, servers[0])

	want := newDigest()
	if _, err := io.Copy(want, numbered(0, n)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{servers[0], servers[1]} {
		got := newDigest()
		began := time.Now()
		if r := w.runInto(t, got, "stdout", "-d", s.url, path); r.code != 0 || r.stderr != "" {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		t.Logf("%d MiB read through %s in %v", n>>20, s.name, time.Since(began).Round(time.Millisecond))
		if got.String() != want.String() {
			t.Errorf("read through %s: %v, want %v", s.name, got, want)
		}
	}
	if r := w.run("", "wait", "-d", servers[0].url, path); r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if most := memory(); most > 64<<20 {
		t.Errorf("the server had %d MiB of anonymous memory", most>>20)
	} else {
		t.Logf("the server had at most %d MiB of anonymous memory", most>>20)
	}
}

// TestLateReader reads after the exit what the default spool has kept of a
// longer output, and wants the count of the rest.
func TestLateReader(t *testing.T) {
	const n = 80 << 20
	w := newWorld(t)
	s := w.start(t, "s0")
	path := s.path + "/writer"
	w.must(t, writer(n, ""), "mkproc", "-d", s.url, path)
	first := newDigest()
	if r := w.runInto(t, first, "stdout", "-d", s.url, path); r.code != 0 || first.n != n {
		t.Fatalf("exit code %d after %d bytes: %s", r.code, first.n, r.stderr)
	}
	late := newDigest()
	r := w.runInto(t, late, "stdout", "-d", s.url, path)
	gone := goneBytes(t, r.stderr)
	if r.code != 1 || gone == 0 || gone > n-(60<<20) || late.n+gone != n {
		t.Fatalf("exit code %d, %d bytes read, %d gone: %s", r.code, late.n, gone, r.stderr)
	}
	want := newDigest()
	if _, err := io.Copy(want, numbered(int(gone), n)); err != nil {
		t.Fatal(err)
	}
	if late.String() != want.String() {
		t.Errorf("the tail is %v, want %v", late, want)
	}
}

// TestKilledReader kills a reader in the middle, and wants what it had not
// acknowledged to be there for the next.
func TestKilledReader(t *testing.T) {
	const n = 16 << 20
	w := newWorld(t)
	s := w.start(t, "s0")
	path := s.path + "/writer"
	w.must(t, writer(n, `,"Spool":"1MiB"`), "mkproc", "-d", s.url, path)

	// The first reader's output is a pipe that is read up to a point.
	out, in := pipe(t)
	first := w.beginInto(t, nil, in, "stdout", "-d", s.url, path)
	in.Close()
	if _, err := io.CopyN(io.Discard, out, n/4); err != nil {
		t.Fatal(err)
	}
	first.kill()
	rest, err := io.Copy(io.Discard, out)
	if err != nil {
		t.Fatal(err)
	}
	taken := int64(n/4) + rest

	next := newDigest()
	r := w.runInto(t, next, "stdout", "-d", s.url, path)
	gone := goneBytes(t, r.stderr)
	if r.code != 1 || gone > taken || gone+next.n != n {
		t.Fatalf("exit code %d; %d bytes taken by the first reader, %d gone, %d read by the next: %s", r.code, taken, gone, next.n, r.stderr)
	}
	want := newDigest()
	if _, err := io.Copy(want, numbered(int(gone), n)); err != nil {
		t.Fatal(err)
	}
	if next.String() != want.String() {
		t.Errorf("the next reader got %v, want %v", next, want)
	}
}

// goneBytes returns how many bytes standard error says are gone.
func goneBytes(t *testing.T, stderr string) int64 {
	t.Helper()
	total := int64(0)
	for _, m := range regexp.MustCompile(`: (\d+) bytes of the output are gone`).FindAllStringSubmatch(stderr, -1) {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// watchMemory samples the anonymous memory of a server. The function that it
// returns ends that and returns the most; 0 where the system does not tell.
func watchMemory(t *testing.T, s *server) (most func() int64) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", s.cmd.Process.Pid)
	stop := make(chan struct{})
	peak := int64(0)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			n, err := anonymous(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
				return
			}
			peak = max(peak, n)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() int64 {
		close(stop)
		watcher.Wait()
		return peak
	}
}

// anonymous reads the bytes of anonymous memory from a smaps_rollup file.
func anonymous(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("\nAnonymous:"))
	fields := strings.Fields(string(rest))
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s has no line Anonymous", file)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err
}
