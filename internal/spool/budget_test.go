package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mustBeFull checks that a write fails, and that the spool says why.
func mustBeFull(t *testing.T, s *Spool, why string) {
	t.Helper()
	if n, err := write(s, 1); !errors.Is(err, ErrFull) {
		t.Fatalf("a write to a full spool: %d, %v", n, err)
	}
	if got := s.Stat().Blocked; got != why {
		t.Fatalf("blocked by %q, want %q", got, why)
	}
}

// ackAll reads and acknowledges what there is.
func ackAll(t *testing.T, s *Spool) {
	t.Helper()
	c := s.Cursor(s.Stat().GivenUp, false)
	readAll(t, c)
	c.Ack(s.Stat().Written)
}

// writers lets each of n spools want one byte more than every spool may keep,
// and returns them once all wait.
func writers(t *testing.T, b *Budget, n int) (all []*Spool, wait func()) {
	t.Helper()
	var done sync.WaitGroup
	for range n {
		s := newSpool(t, Config{Limit: 1 << 20, Budget: b})
		mustWrite(t, s, minStream)
		mustBeFull(t, s, fullServer)
		all = append(all, s)
		done.Go(func() { mustWrite(t, s, 1) })
	}
	return all, done.Wait
}

func TestServerLimit(t *testing.T) {
	for name, relieve := range map[string]func(t *testing.T, hog *Spool){
		"close": func(_ *testing.T, hog *Spool) { hog.Close() },
		"ack":   ackAll,
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(3<<20, 16<<20)
			hog := newSpool(t, Config{Limit: 4 << 20, Budget: b})
			mustWrite(t, hog, 3<<20)
			all, wait := writers(t, b, 5)
			relieve(t, hog)
			wait()
			for i, s := range all {
				if got := s.Stat(); got.Kept != minStream+1 || got.Blocked != "" {
					t.Errorf("writer %d: %+v", i, got)
				}
			}
			if b.Kept() > 3<<20 {
				t.Errorf("%d bytes kept", b.Kept())
			}
		})
	}
}

func TestServerLimitGivesUpAcknowledgedBytesOfOthers(t *testing.T) {
	b := NewBudget(3<<20, 1<<20)
	read := newSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustWrite(t, read, 3<<20)
	read.End()
	ackAll(t, read)
	s := newSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustWrite(t, s, 3<<19)
	if got := read.Stat(); got.GivenUp < 3<<19 || got.Kept == 0 {
		t.Errorf("%+v", got)
	}
	mustWrite(t, s, 3<<19)
	if got := read.Stat(); got.Kept != 0 {
		t.Errorf("%+v", got)
	}
	if read.file.made {
		t.Error("a file of which nothing is of use is still there")
	}
	mustBeFull(t, s, fullServer)
	if got, lost := readAll(t, read.Cursor(0, true)); got != 0 || lost != 3<<20 {
		t.Errorf("a late reader of what was given up read %d, lost %d", got, lost)
	}
}

func TestServerLimitAndDrop(t *testing.T) {
	b := NewBudget(1<<20, 16<<20)
	hog := newSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustWrite(t, hog, 1<<20-100)
	s := newSpool(t, Config{Limit: 1 << 20, Drop: true, Budget: b})
	c := s.Cursor(0, true)
	mustWrite(t, s, 500_000)
	s.End()
	if read, lost := readAll(t, c); read != minStream || lost != 500_000-minStream {
		t.Errorf("read %d, lost %d", read, lost)
	}
	if got := s.Stat().Blocked; got != "" {
		t.Errorf("blocked by %q", got)
	}
}

// A stream that is read goes on, though others keep all there is and want what
// its reader frees.
func TestReadStreamGoesOnBesideUnreadOnes(t *testing.T) {
	b := NewBudget(1<<20, 16<<20)
	hog := newSpool(t, Config{Limit: 8 << 20, Budget: b})
	mustWrite(t, hog, 1<<20)
	var hungry sync.WaitGroup
	defer hungry.Wait()
	for range 3 {
		s := newSpool(t, Config{Limit: 8 << 20, Budget: b})
		defer s.Close()
		hungry.Go(func() {
			for s.Wait() == nil {
				if _, err := write(s, 1<<20); errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	s := newSpool(t, Config{Limit: 8 << 20, Budget: b})
	const total = 2 << 20
	var reader sync.WaitGroup
	reader.Go(func() {
		c := s.Cursor(0, true)
		for at := uint64(0); ; c.Ack(at) {
			chunk, err := c.Next(t.Context())
			if err != nil {
				if at != total || !errors.Is(err, io.EOF) {
					t.Errorf("read %d of %d bytes: %v", at, total, err)
				}
				return
			}
			checkChunk(t, chunk, at)
			at += uint64(len(chunk.Data))
			chunk.Free()
		}
	})
	mustWrite(t, s, total)
	s.End()
	reader.Wait()
}

// A closed writer that was just woken passes that on.
func TestClosedWriterPassesOn(t *testing.T) {
	b := NewBudget(1<<20, 16<<20)
	hog := newSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustWrite(t, hog, 1<<20)
	gone := newSpool(t, Config{Limit: 1 << 20, Budget: b})
	mustWrite(t, gone, minStream)
	mustBeFull(t, gone, fullServer)
	_, wait := writers(t, b, 1)
	hog.Close() // wakes gone, which has no writer
	gone.Close()
	wait()
}

func TestServerMemoryIsShared(t *testing.T) {
	const memory = 2 << 20
	b := NewBudget(1<<30, memory)
	idle := newSpool(t, Config{Limit: 1 << 20, Budget: b})
	mustWrite(t, idle, 10)
	var all []*Spool
	for range 8 {
		s := newSpool(t, Config{Limit: 4 << 20, Budget: b})
		mustWrite(t, s, 3<<20)
		if b.InMemory() > memory {
			t.Fatalf("%d bytes in memory", b.InMemory())
		}
		all = append(all, s)
	}
	if idle.file.made {
		t.Error("a spool with 10 bytes was moved to a file while others had much memory")
	}
	for _, s := range append(all, idle) {
		s.End()
		if read, lost := readAll(t, s.Cursor(0, true)); read != s.Stat().Written || lost != 0 {
			t.Errorf("read %d, lost %d", read, lost)
		}
	}
}

func TestManySmallSpoolsShareMemory(t *testing.T) {
	const memory = 256 << 10
	b := NewBudget(1<<30, memory)
	var all []*Spool
	for range 1000 { // 512 bytes of memory each
		s := newSpool(t, Config{Limit: 1 << 20, Budget: b})
		mustWrite(t, s, 300)
		all = append(all, s)
		if b.InMemory() > memory {
			t.Fatalf("%d bytes in memory", b.InMemory())
		}
	}
	for _, s := range all {
		mustWrite(t, s, 300) // behind what may be in a file
		if read, lost := readAll(t, s.Cursor(0, false)); read != 600 || lost != 0 {
			t.Fatalf("read %d, lost %d", read, lost)
		}
	}
}

// fullDiskSpool returns a spool whose file cannot be made until heal is called.
func fullDiskSpool(t *testing.T, cfg Config) (s *Spool, heal func()) {
	dir := filepath.Join(t.TempDir(), "missing")
	cfg.Path = filepath.Join(dir, "out")
	return newSpool(t, cfg), func() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskHoldsTheWriterBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, heal := fullDiskSpool(t, Config{Limit: 4 << 20})
		mustWrite(t, s, streamMemory)
		mustBeFull(t, s, fullDisk)
		var done sync.WaitGroup
		done.Go(func() { mustWrite(t, s, 2<<20) })
		synctest.Wait()
		if got := s.Stat(); got.Blocked != fullDisk || got.Written != streamMemory {
			t.Errorf("%+v", got)
		}
		time.Sleep(10*diskRetry + diskRetry/2)
		if got := s.Stat(); got.Blocked != fullDisk || got.Written != streamMemory {
			t.Errorf("%+v", got)
		}
		heal()
		done.Wait()
		s.End()
		if read, lost := readAll(t, s.Cursor(0, true)); read != 3<<20 || lost != 0 {
			t.Errorf("read %d, lost %d", read, lost)
		}
	})
}

func TestFullDiskGivesUpWhatWasAcknowledged(t *testing.T) {
	s, _ := fullDiskSpool(t, Config{Limit: 4 << 20})
	for range 10 {
		mustWrite(t, s, streamMemory/2)
		ackAll(t, s)
	}
	if got := s.Stat(); got.Kept > streamMemory || got.Kept == 0 {
		t.Errorf("%+v", got)
	}
}

func TestFullDiskReusesItsSlots(t *testing.T) {
	s := newSpool(t, Config{Limit: 64 << 20})
	mustWrite(t, s, 8<<20)
	slots := s.slots.made
	ackAll(t, s)
	for s.slots.giveUp(s.base); len(s.slots.free) < 4; { // as if the disk had refused more
		s.mu.Lock()
		if !s.doWithout() {
			t.Fatal("nothing to do without")
		}
		s.mu.Unlock()
	}
	mustWrite(t, s, 4*blockSize)
	if s.slots.made != slots {
		t.Errorf("%d slots, with %d there was room", s.slots.made, slots)
	}
	s.End()
	if read, lost := readAll(t, s.Cursor(0, true)); read+lost != 8<<20+4*blockSize || lost != 4*blockSize {
		t.Errorf("read %d, lost %d", read, lost)
	}
}

func TestFullDiskAndDrop(t *testing.T) {
	b := NewBudget(1<<30, streamMemory)
	s, _ := fullDiskSpool(t, Config{Limit: 4 << 20, Drop: true, Budget: b})
	c := s.Cursor(0, true)
	mustWrite(t, s, 9<<20)
	if got := s.Stat(); got.Kept > streamMemory || got.Kept < streamMemory/2 || got.Blocked != "" {
		t.Errorf("%+v", got)
	}
	// Another has all memory, cannot leave it, and keeps what was not read.
	hog, _ := fullDiskSpool(t, Config{Limit: 4 << 20, Budget: NewBudget(1<<30, streamMemory)})
	mustWrite(t, hog, streamMemory)
	s2, _ := fullDiskSpool(t, Config{Limit: 4 << 20, Drop: true, Budget: hog.cfg.Budget})
	c2 := s2.Cursor(0, true)
	mustWrite(t, s2, 100_000)
	s2.End()
	if read, lost := readAll(t, c2); read != 0 || lost != 100_000 {
		t.Errorf("read %d, lost %d", read, lost)
	}
	s.End()
	if read, lost := readAll(t, c); read+lost != 9<<20 {
		t.Errorf("read %d, lost %d", read, lost)
	}
}

func TestFullDiskElsewhereHoldsBack(t *testing.T) {
	b := NewBudget(1<<30, streamMemory)
	hog, _ := fullDiskSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustWrite(t, hog, streamMemory)
	s := newSpool(t, Config{Limit: 4 << 20, Budget: b})
	mustBeFull(t, s, fullDisk)
	ackAll(t, hog)
	mustWrite(t, s, 2<<20)
}
