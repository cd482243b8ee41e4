package spool

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
)

// Recover returns what the file at cfg.Path, left behind by an earlier program,
// holds of a stream, as a stream that has ended. What was only in memory is
// missing from its end. Without a file, or with one that is damaged, it holds
// nothing; then all of the stream, which is written bytes long if that is known
// and else 0, counts as given up. So does what the limit, or the budget, has no room for.
func Recover(cfg Config, written uint64) (*Spool, error) {
	s := New(cfg)
	s.base, s.end, s.ended = written, written, true
	f, err := os.Open(cfg.Path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s.file.made = true
	entries, err := readEntries(f, info.Size())
	if errors.Is(err, errFormat) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	s.restore(entries)
	return s, nil
}

// slotEntry is a slot and what the index says of it.
type slotEntry struct {
	entry
	slot uint32
}

// readEntries returns the entries of the newest bytes that a file of this size
// holds without a gap, in order.
func readEntries(r io.ReaderAt, size int64) ([]slotEntry, error) {
	header := make([]byte, headerSize)
	if n, err := r.ReadAt(header, 0); err != nil && err != io.EOF {
		return nil, err
	} else if err := checkHeader(header[:n]); err != nil {
		return nil, err
	}
	var found []slotEntry
	index := make([]byte, indexSize)
	for at := int64(headerSize); at+indexSize <= size; at += groupSize {
		if _, err := r.ReadAt(index, at); err != nil {
			return nil, err
		}
		for i := range groupSlots {
			e := decodeEntry(index[i*entrySize:])
			slot := uint32((at-headerSize)/groupSize*groupSlots + int64(i))
			if e.length > 0 && slotAt(slot)+int64(e.start%blockSize)+int64(e.length) <= size {
				found = append(found, slotEntry{e, slot})
			}
		}
	}
	slices.SortFunc(found, func(a, b slotEntry) int { return cmp.Compare(a.start, b.start) })
	return newestRun(found), nil
}

// newestRun returns the last entries of a sorted list that are one run of the
// stream: each but the first begins a block, where the one before it ends.
func newestRun(sorted []slotEntry) []slotEntry {
	for i := len(sorted) - 1; i > 0; i-- {
		if start := sorted[i].start; start%blockSize != 0 || sorted[i-1].end() != start {
			return sorted[i:]
		}
	}
	return sorted
}

// restore makes the entries the contents of s.
func (s *Spool) restore(run []slotEntry) {
	if len(run) == 0 {
		return
	}
	last := run[len(run)-1]
	s.base, s.end = run[0].start, last.end()
	s.slots = slots{first: s.base / blockSize, start: last.start, end: s.end}
	for _, e := range run {
		s.slots.at = append(s.slots.at, e.slot)
		s.slots.made = max(s.slots.made, e.slot+1)
	}
	kept := int64(s.end - s.base)
	s.bytes = s.cfg.Budget.takeBytes(s, min(kept, s.cfg.Limit), false)
	s.giveUp(kept - s.bytes)
}
