package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gocircuit/circuit"
)

// stream returns the bytes of a test's stream from offset at on, each of which
// depends on its offset.
func stream(at uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		o := at + uint64(i)
		b[i] = byte(o ^ o>>8 ^ o>>17)
	}
	return b
}

func newSpool(t testing.TB, cfg Config) *Spool {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "out")
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(1<<30, 16<<20)
	}
	s := New(cfg)
	t.Cleanup(func() {
		s.Close()
		if _, err := os.Stat(cfg.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file is left after Close: %v", err)
		}
	})
	return s
}

// write appends the next n bytes of the stream, as far as there is room.
func write(s *Spool, n int) (int, error) {
	done := 0
	for done < n {
		k, err := s.Fill(func(p []byte) (int, error) {
			return copy(p, stream(s.Stat().Written, min(n-done, len(p)))), nil
		})
		if errors.Is(err, ErrFull) && s.Stat().Blocked == "" { // for the sake of a reader
			err = s.Wait()
		}
		if err != nil {
			return done, err
		}
		done += k
	}
	return done, nil
}

// mustWrite writes n bytes, and waits for room where there is none.
func mustWrite(t testing.TB, s *Spool, n int) {
	t.Helper()
	for n > 0 {
		done, err := write(s, n)
		if n -= done; errors.Is(err, ErrFull) {
			err = s.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads to the end of the cursor, checks every byte, and returns how
// many there were and how many were lost.
func readAll(t testing.TB, c *Cursor) (read, lost uint64) {
	t.Helper()
	at := c.pos
	for {
		chunk, err := c.Next(t.Context())
		if err == io.EOF {
			return read, lost
		}
		if err != nil {
			t.Fatal(err)
		}
		checkChunk(t, chunk, at)
		at = chunk.Offset + uint64(len(chunk.Data))
		read, lost = read+uint64(len(chunk.Data)), lost+chunk.Lost
		chunk.Free()
	}
}

func checkChunk(t fataler, chunk Chunk, at uint64) {
	t.Helper()
	if chunk.Offset != at+chunk.Lost {
		t.Fatalf("a chunk at %d after %d, with %d lost", chunk.Offset, at, chunk.Lost)
	}
	if !bytes.Equal(chunk.Data, stream(chunk.Offset, len(chunk.Data))) {
		t.Fatalf("wrong bytes in the chunk at %d, length %d", chunk.Offset, len(chunk.Data))
	}
}

func TestSmallOutputHasNoFileAndLittleMemory(t *testing.T) {
	b := NewBudget(1<<30, 16<<20)
	s := newSpool(t, Config{Limit: circuit.DefaultSpool, Budget: b})
	mustWrite(t, s, 100)
	if got := b.InMemory(); got > 1024 {
		t.Errorf("100 bytes take %d bytes of memory", got)
	}
	mustWrite(t, s, 20_000)
	s.End()
	if got := b.InMemory(); got > 32<<10 {
		t.Errorf("20,100 bytes take %d bytes of memory once ended", got)
	}
	if s.file.made {
		t.Error("there is a file")
	}
	if read, lost := readAll(t, s.Cursor(0, true)); read != 20_100 || lost != 0 {
		t.Errorf("read %d, lost %d", read, lost)
	}
	s.Close()
	if b.Kept() != 0 || b.InMemory() != 0 {
		t.Errorf("after Close the budget has %d bytes kept, %d in memory", b.Kept(), b.InMemory())
	}
}

func TestLargeOutputIsKeptInTheFile(t *testing.T) {
	const size = 40<<20 + 12345
	b := NewBudget(1<<30, 16<<20)
	s := newSpool(t, Config{Limit: 64 << 20, Budget: b})
	mustWrite(t, s, size)
	if got := b.InMemory(); got > streamMemory {
		t.Errorf("%d bytes in memory", got)
	}
	s.End()
	for range 2 {
		if read, lost := readAll(t, s.Cursor(0, true)); read != size || lost != 0 {
			t.Errorf("read %d, lost %d", read, lost)
		}
	}
	if read, lost := readAll(t, s.Cursor(size-10, false)); read != 10 || lost != 0 {
		t.Errorf("read %d of the last 10, lost %d", read, lost)
	}
}

func TestBlockGivesUpOnlyWhatWasAcknowledged(t *testing.T) {
	for _, limit := range []int64{10, 5000, 300 << 10, 3 << 20} {
		s := newSpool(t, Config{Limit: limit})
		mustWrite(t, s, int(limit))
		if _, err := write(s, 1); !errors.Is(err, ErrFull) {
			t.Fatalf("a full spool of %d: %v", limit, err)
		}
		if got := s.Stat(); got.Blocked != fullSpool || got.Kept != uint64(limit) || got.GivenUp != 0 {
			t.Errorf("limit %d: %+v", limit, got)
		}
		early, late := s.Cursor(0, false), s.Cursor(0, true)
		for at := uint64(0); at < uint64(limit); {
			chunk, err := early.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			checkChunk(t, chunk, at)
			at += uint64(len(chunk.Data))
			chunk.Free()
		}
		early.Ack(1 << 60) // no more than was read counts
		if got := s.Stat(); got.GivenUp != 0 {
			t.Errorf("limit %d: gave up %d bytes that nothing needed", limit, got.GivenUp)
		}
		mustWrite(t, s, 7)
		if got := s.Stat(); got.Blocked != "" || got.Kept != uint64(limit) || got.GivenUp != 7 {
			t.Errorf("limit %d, after 7 more: %+v", limit, got)
		}
		s.End()
		if read, lost := readAll(t, late); lost != 7 || read != uint64(limit) {
			t.Errorf("limit %d: the late reader read %d, lost %d", limit, read, lost)
		}
	}
}

func TestDropGivesUpTheOldest(t *testing.T) {
	for _, limit := range []int64{10, 5000, 300 << 10, 3 << 20} {
		s := newSpool(t, Config{Limit: limit, Drop: true})
		c := s.Cursor(0, true)
		mustWrite(t, s, 8<<20+1)
		s.End()
		if got := s.Stat(); got.Kept != uint64(limit) || got.Blocked != "" || !got.Ended {
			t.Errorf("limit %d: %+v", limit, got)
		}
		if read, lost := readAll(t, c); read != uint64(limit) || lost != 8<<20+1-uint64(limit) {
			t.Errorf("limit %d: read %d, lost %d", limit, read, lost)
		}
	}
}

// A reader that keeps up reads from memory, even where files cannot be read.
func TestReaderThatKeepsUpReadsMemory(t *testing.T) {
	s := newSpool(t, Config{Limit: 64 << 20})
	c := s.Cursor(0, true)
	for range 64 {
		mustWrite(t, s, 100_000)
		for range 2 { // where a block ends, there are two chunks
			chunk, more, err := c.next()
			if more != nil {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if chunk.blk == nil || chunk.blk.pool == nil && !chunk.blk.isSmall() {
				t.Fatal("a chunk that is not in a block")
			}
			inMemory := false
			for _, p := range s.pieces {
				inMemory = inMemory || p.blk == chunk.blk
			}
			if !inMemory {
				t.Fatal("a chunk that was not in memory")
			}
			chunk.Free()
		}
	}
}

func TestCloseWakesEveryone(t *testing.T) {
	b := NewBudget(1<<30, 1<<20)
	s := newSpool(t, Config{Limit: 10, Budget: b})
	mustWrite(t, s, 10)
	if _, err := write(s, 1); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	errs := make(chan error, 2)
	c := s.Cursor(10, true)
	if _, more, _ := c.next(); more == nil {
		t.Fatal("there is something after the newest byte")
	}
	all.Go(func() { errs <- s.Wait() })
	all.Go(func() { _, err := c.Next(context.Background()); errs <- err })
	s.Close()
	all.Wait()
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("woken with %v", err)
		}
	}
	if _, err := s.Fill(func([]byte) (int, error) { t.Error("read after Close"); return 0, nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("fill after Close: %v", err)
	}
	if b.Kept() != 0 || b.InMemory() != 0 {
		t.Errorf("after Close the budget has %d bytes kept, %d in memory", b.Kept(), b.InMemory())
	}
}

// What a reader holds stays as it is when the spool is closed in the middle of
// a fill.
func TestCloseDuringFill(t *testing.T) {
	b := NewBudget(1<<30, 16<<20)
	s := newSpool(t, Config{Limit: 1 << 20, Budget: b})
	mustWrite(t, s, 30_000)
	chunk, err := s.Cursor(0, true).Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(chunk.Data)
	closed := make(chan struct{})
	n, err := s.Fill(func(p []byte) (int, error) {
		woken := s.data.next()
		go func() { defer close(closed); s.Close() }()
		<-woken
		other := newBlock(&b.pool) // must not be the one that is being filled
		defer other.unref()
		clear(other.buf)
		return copy(p, stream(30_000, len(p))), nil
	})
	if n == 0 || err != nil {
		t.Errorf("fill: %d, %v", n, err)
	}
	<-closed
	if sha256.Sum256(chunk.Data) != want {
		t.Error("a chunk changed")
	}
	chunk.Free()
	if b.Kept() != 0 || b.InMemory() != 0 {
		t.Errorf("after Close the budget has %d bytes kept, %d in memory", b.Kept(), b.InMemory())
	}
}

func TestCanceledReader(t *testing.T) {
	s := newSpool(t, Config{Limit: 10})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Cursor(0, true).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader whose context ended: %v", err)
	}
}

// One writer, several readers at their own speed, all at once.
func TestManyReaders(t *testing.T) {
	const size = 24 << 20
	s := newSpool(t, Config{Limit: 2 << 20, Budget: NewBudget(1<<30, 1<<20)})
	var all sync.WaitGroup
	all.Go(func() {
		mustWrite(t, s, size)
		s.End()
	})
	first := s.Cursor(0, true)
	for i := range 4 {
		c := s.Cursor(0, true)
		if i == 0 {
			c = first
		}
		all.Go(func() {
			var at, lost uint64
			for {
				chunk, err := c.Next(t.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				checkChunk(t, chunk, at)
				at, lost = chunk.Offset+uint64(len(chunk.Data)), lost+chunk.Lost
				chunk.Free()
				if i == 0 {
					c.Ack(at)
				}
			}
			if at != size || i == 0 && lost != 0 {
				t.Errorf("reader %d ended at %d, lost %d", i, at, lost)
			}
		})
	}
	all.Wait()
}

// fataler is what tests and rapid's steps have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
