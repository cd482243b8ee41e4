package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"
)

// The format is described in the package's comment.
const (
	magic      = "CIRCSPL1"
	headerSize = 4096
	indexSize  = 4096
	entrySize  = 16
	groupSlots = indexSize / entrySize
	groupSize  = indexSize + groupSlots*blockSize
)

// entry is what the index says of a slot.
type entry struct {
	start  uint64 // offset of the first byte
	length uint32 // 0: the slot is free
}

func (e entry) end() uint64 { return e.start + uint64(e.length) }

func appendHeader(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, blockSize)
	return appendSum(b, 12)
}

func appendEntry(b []byte, e entry) []byte {
	b = binary.LittleEndian.AppendUint64(b, e.start)
	b = binary.LittleEndian.AppendUint32(b, e.length)
	return appendSum(b, 12)
}

// appendSum appends the checksum of the last n bytes.
func appendSum(b []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(b, checksum(b[len(b)-n:]))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

var errFormat = errors.New("not a spool file of this version")

// checkHeader reports whether b begins with a header that this version reads.
func checkHeader(b []byte) error {
	if len(b) < 16 || string(b[:8]) != magic || binary.LittleEndian.Uint32(b[8:]) != blockSize ||
		binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) {
		return errFormat
	}
	return nil
}

// decodeEntry returns what an index says of a slot: nothing if the entry is
// damaged.
func decodeEntry(b []byte) entry {
	e := entry{start: binary.LittleEndian.Uint64(b), length: binary.LittleEndian.Uint32(b[8:])}
	if binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) || e.end() < e.start ||
		e.start%blockSize+uint64(e.length) > blockSize {
		return entry{}
	}
	return e
}

// entryAt and slotAt return where in the file a slot's entry and bytes begin.
func entryAt(slot uint32) int64 {
	return headerSize + int64(slot/groupSlots)*groupSize + int64(slot%groupSlots)*entrySize
}

func slotAt(slot uint32) int64 {
	return headerSize + int64(slot/groupSlots)*groupSize + indexSize + int64(slot%groupSlots)*blockSize
}

// file is a spool's file. It is opened for each use.
type file struct {
	path string
	// Guarded by Spool.writing.
	made  bool // it is there
	begun bool // and has its header
}

// put writes pieces of the stream to their slots, and makes the slots' entries
// say so. Neighbours are written together.
func (f *file) put(to []place, pieces []piece) (err error) {
	flags := syscall.O_WRONLY
	if !f.made {
		flags |= syscall.O_CREAT | syscall.O_TRUNC
	}
	fd, err := open(f.path, flags)
	if err != nil {
		return err
	}
	defer func() {
		if closed := syscall.Close(fd); err == nil {
			err = closed
		}
	}()
	f.made = true
	if !f.begun {
		if err := writeAt(fd, appendHeader(nil), 0); err != nil {
			return err
		}
		f.begun = true
	}
	for len(to) > 0 {
		n := neighbours(to)
		if err := putRun(fd, to[:n], pieces[:n]); err != nil {
			return err
		}
		to, pieces = to[n:], pieces[n:]
	}
	return nil
}

// neighbours returns how many of the first places follow one another in the
// file.
func neighbours(to []place) int {
	n := 1
	for n < len(to) && to[n].slot == to[n-1].slot+1 && to[n].slot%groupSlots != 0 && to[n].reused == to[0].reused {
		n++
	}
	return n
}

// putRun writes pieces to slots that follow one another.
func putRun(fd int, to []place, pieces []piece) error {
	entries := make([]byte, len(to)*entrySize)
	if to[0].reused {
		if err := writeAt(fd, entries, entryAt(to[0].slot)); err != nil {
			return err
		}
	}
	entries = entries[:0]
	for i, p := range pieces {
		if err := writeAt(fd, p.data(), slotAt(to[i].slot)+int64(p.off%blockSize)); err != nil {
			return err
		}
		entries = appendEntry(entries, entry{start: to[i].start, length: uint32(p.end() - to[i].start)})
	}
	return writeAt(fd, entries, entryAt(to[0].slot))
}

// get reads the bytes of the stream from offset on from a slot into b.
func (f *file) get(slot uint32, offset uint64, b []byte) error {
	fd, err := open(f.path, syscall.O_RDONLY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return readAt(fd, b, slotAt(slot)+int64(offset%blockSize))
}

// The system's calls as they are: package os spends half as much again on a
// file that is opened for one block.

func open(path string, flags int) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, flags|syscall.O_CLOEXEC, 0o600)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func writeAt(fd int, b []byte, at int64) error {
	return each(b, at, func(b []byte, at int64) (int, error) { return syscall.Pwrite(fd, b, at) })
}

func readAt(fd int, b []byte, at int64) error {
	return each(b, at, func(b []byte, at int64) (int, error) { return syscall.Pread(fd, b, at) })
}

// each calls do until it has done all of b.
func each(b []byte, at int64, do func(b []byte, at int64) (int, error)) error {
	for len(b) > 0 {
		n, err := do(b, at)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			b, at = b[n:], at+int64(n)
		}
	}
	return nil
}

// remove removes the file, if there is one.
func (f *file) remove() {
	if f.made {
		_ = os.Remove(f.path) // a file that stays is swept when the server starts again
		f.made, f.begun = false, false
	}
}

// slots says where in the file which bytes of the stream are. They are those up
// to end, without a gap.
type slots struct {
	first uint64   // the block of the stream that at[0] holds
	at    []uint32 // slots of that block and of those after it
	start uint64   // offset of the first byte in the last of them
	end   uint64
	free  []uint32
	made  uint32 // slots that the file has
	pins  map[uint32]*pin
}

// pin keeps a slot as it is while readers read it.
type pin struct {
	readers int
	free    bool // to be free once they are done
}

// place is where a piece goes.
type place struct {
	slot   uint32
	start  uint64 // offset of the first byte in the slot
	fresh  bool   // it holds nothing of this block yet
	reused bool   // it held another block
}

// place chooses where pieces, which follow one another, go: the first behind
// what the file has of its block, the others to the slots that were free for
// longest, so that they are neighbours, or to new ones.
func (s *slots) place(pieces []piece) []place {
	to, made := make([]place, len(pieces)), s.made
	for i, p := range pieces {
		n := len(s.at)
		switch {
		case i == 0 && n > 0 && s.first+uint64(n)-1 == p.off/blockSize:
			to[i] = place{slot: s.at[n-1], start: s.start}
			if s.end != p.off { // what is between was given up
				to[i].start = p.off
			}
		case len(s.free) > 0:
			to[i] = place{slot: s.free[0], start: p.off, fresh: true, reused: true}
			s.free = s.free[1:]
		default:
			to[i] = place{slot: made, start: p.off, fresh: true}
			made++
		}
	}
	return to
}

// placed notes that pieces are where place said.
func (s *slots) placed(to []place, pieces []piece) {
	for i, p := range pieces {
		if to[i].fresh {
			if len(s.at) == 0 {
				s.first = p.off / blockSize
			}
			s.at = append(s.at, to[i].slot)
			if !to[i].reused {
				s.made++
			}
		}
		s.start, s.end = to[i].start, p.end()
	}
}

// failed takes back what place chose.
func (s *slots) failed(to []place) {
	for _, t := range to {
		if t.reused {
			s.free = append(s.free, t.slot)
		}
	}
}

// giveUp frees the slots of blocks that end before base.
func (s *slots) giveUp(base uint64) {
	for len(s.at) > 0 && (s.first+1)*blockSize <= base {
		if slot := s.at[0]; s.pins[slot] != nil {
			s.pins[slot].free = true
		} else {
			s.free = append(s.free, slot)
		}
		s.at, s.first = s.at[1:], s.first+1
	}
}

// unused reports whether there is a file and nothing in it is of use.
func (s *slots) unused() bool { return s.made > 0 && len(s.at) == 0 && len(s.pins) == 0 }

// pin returns the slot with the byte at offset, which must be in the file. It
// stays as it is until unpin.
func (s *slots) pin(offset uint64) uint32 {
	slot := s.at[offset/blockSize-s.first]
	if s.pins == nil {
		s.pins = make(map[uint32]*pin)
	}
	if s.pins[slot] == nil {
		s.pins[slot] = new(pin)
	}
	s.pins[slot].readers++
	return slot
}

func (s *slots) unpin(slot uint32) {
	p := s.pins[slot]
	if p.readers--; p.readers > 0 {
		return
	}
	delete(s.pins, slot)
	if p.free {
		s.free = append(s.free, slot)
	}
}
