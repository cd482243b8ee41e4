package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// copyFile copies the file of a running spool, as a server that is killed
// leaves it behind.
func copyFile(t testing.TB, s *Spool) string {
	t.Helper()
	b, err := os.ReadFile(s.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "left")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func recovered(t testing.TB, cfg Config) *Spool {
	t.Helper()
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(1<<30, 16<<20)
	}
	if cfg.Limit == 0 {
		cfg.Limit = 1 << 30
	}
	s, err := Recover(cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRecover(t *testing.T) {
	const size, limit = 9<<20 + 77, 5 << 20
	left := newSpool(t, Config{Limit: limit, Drop: true})
	mustWrite(t, left, size)
	path := copyFile(t, left)
	s := recovered(t, Config{Path: path})
	got := s.Stat()
	if !got.Ended || got.Written > size || got.Written < size-streamMemory || got.GivenUp > size-limit {
		t.Errorf("recovered %+v of %+v", got, left.Stat())
	}
	if read, lost := readAll(t, s.Cursor(0, true)); read != got.Kept || lost != got.GivenUp || read < 3<<20 {
		t.Errorf("read %d, lost %d of %+v", read, lost, got)
	}
	s.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("Close left the file: %v", err)
	}
}

// What was saved and left is all there for the next program, and readers read
// on meanwhile.
func TestSaveAndLeave(t *testing.T) {
	for _, size := range []int{0, 5, 3<<20 + 77} {
		b := NewBudget(1<<30, 16<<20)
		cfg := Config{Path: filepath.Join(t.TempDir(), "out"), Limit: 5 << 20, Budget: b}
		left := New(cfg)
		mustWrite(t, left, size)
		left.End()
		if err := left.Save(); err != nil || b.InMemory() != 0 {
			t.Errorf("%d bytes in memory, error %v", b.InMemory(), err)
		}
		if read, lost := readAll(t, left.Cursor(0, true)); read != uint64(size) || lost != 0 {
			t.Errorf("read %d, lost %d of %d", read, lost, size)
		}
		left.Leave()
		s := recovered(t, Config{Path: cfg.Path, Budget: b})
		if read, lost := readAll(t, s.Cursor(0, true)); read != uint64(size) || lost != 0 {
			t.Errorf("after Leave: read %d, lost %d of %d", read, lost, size)
		}
		s.Leave() // again
		s = recovered(t, Config{Path: cfg.Path, Budget: b})
		if got := s.Stat(); got.Kept != uint64(size) {
			t.Errorf("%+v", got)
		}
	}
}

// A stream whose file is gone was as long as it was.
func TestRecoverWithoutAFile(t *testing.T) {
	s, err := Recover(Config{Path: filepath.Join(t.TempDir(), "out"), Budget: NewBudget(1<<30, 16<<20)}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if read, lost := readAll(t, s.Cursor(0, true)); read != 0 || lost != 1000 || s.Stat().GivenUp != 1000 {
		t.Errorf("read %d, lost %d, %+v", read, lost, s.Stat())
	}
}

// A block that left memory in several steps is one slot.
func TestRecoverPartsOfABlock(t *testing.T) {
	left := newSpool(t, Config{Limit: 1 << 20})
	for range 5 {
		mustWrite(t, left, 100)
		if err := left.Save(); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, left, 100) // in memory only
	s := recovered(t, Config{Path: copyFile(t, left)})
	if read, lost := readAll(t, s.Cursor(0, true)); read != 500 || lost != 0 {
		t.Errorf("read %d, lost %d", read, lost)
	}
}

func TestRecoverWithinTheBudget(t *testing.T) {
	left := newSpool(t, Config{Limit: 8 << 20})
	mustWrite(t, left, 5<<20)
	b := NewBudget(1<<20, 1<<20)
	s := recovered(t, Config{Path: copyFile(t, left), Budget: b})
	if got := s.Stat(); got.Kept != 1<<20 || b.Kept() != 1<<20 {
		t.Errorf("%+v, the budget has %d", got, b.Kept())
	}
	if read, _ := readAll(t, s.Cursor(0, true)); read != 1<<20 {
		t.Errorf("read %d", read)
	}
}

func TestRecoverNothing(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, bytes.Repeat([]byte("x"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), damaged} {
		s := recovered(t, Config{Path: path})
		if got := s.Stat(); got.Written != 0 || !got.Ended {
			t.Errorf("%s: %+v", path, got)
		}
		s.Close()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: Close left the file: %v", path, err)
		}
	}
}

func TestNewestRun(t *testing.T) {
	at := func(start uint64, length uint32) slotEntry { return slotEntry{entry: entry{start, length}} }
	const B = blockSize
	for name, c := range map[string]struct {
		in   []slotEntry
		want int
	}{
		"empty":              {nil, 0},
		"one":                {[]slotEntry{at(5, 10)}, 1},
		"a run":              {[]slotEntry{at(B-5, 5), at(B, B), at(2*B, 7)}, 3},
		"a gap":              {[]slotEntry{at(0, B), at(2*B, B), at(3*B, 1)}, 2},
		"the same twice":     {[]slotEntry{at(0, B), at(B, 5), at(B, 7)}, 1},
		"in one block":       {[]slotEntry{at(0, 5), at(5, 5)}, 1},
		"a short block":      {[]slotEntry{at(0, B-1), at(B, 5)}, 1},
		"begins in a middle": {[]slotEntry{at(0, B), at(B+3, 5)}, 1},
	} {
		if got := newestRun(c.in); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzRecover decodes files of arbitrary contents: what is recovered must be a
// run of the stream that lies within the file.
func FuzzRecover(f *testing.F) {
	whole := append(appendHeader(nil), make([]byte, headerSize-16+indexSize)...)
	copy(whole[headerSize:], appendEntry(nil, entry{start: 5, length: 20}))
	whole = append(whole, stream(0, 300)...)
	f.Add(whole)
	f.Add(whole[:headerSize])
	f.Add(appendHeader(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		run, err := readEntries(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for i, e := range run {
			if e.length == 0 || e.start%blockSize+uint64(e.length) > blockSize || i > 0 && (run[i-1].end() != e.start || e.start%blockSize != 0) {
				t.Fatalf("entry %d of %+v is wrong", i, run)
			}
		}
		s := New(Config{Limit: 1 << 40, Budget: NewBudget(1<<40, 0)})
		s.restore(run)
		kept := uint64(0)
		for _, e := range run {
			kept += uint64(e.length)
			if slot := s.slots.pin(e.start); slot != e.slot {
				t.Fatalf("offset %d is in slot %d, want %d", e.start, slot, e.slot)
			}
			if slotAt(e.slot)+int64(e.start%blockSize)+int64(e.length) > int64(len(b)) {
				t.Fatalf("entry %+v goes past the file", e)
			}
		}
		if got := s.Stat(); got.Kept != kept || len(run) > 0 && got.GivenUp != run[0].start {
			t.Fatalf("%+v of %+v", got, run)
		}
	})
}
