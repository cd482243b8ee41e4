package server

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/overlay"
)

// The files of a data directory.
const (
	lockFile        = "lock"
	idFile          = "id"
	keyFile         = "key"
	incarnationFile = "incarnation"
	peersFile       = "peers"
	spoolDir        = "spool"
	procsDir        = "procs"
)

// The names of temporary directories, private and locked while they are in use:
// of servers without DataDir, and of demonstrations.
const (
	tempServer = "circuit-server-*"
	tempDemo   = "circuit-demo-*"
)

// sweepAge is how old such a directory must be to be taken for abandoned.
const sweepAge = time.Minute

// state is a server's data directory, locked while the server runs.
type state struct {
	dir  string
	temp bool // to be removed at the end
	lock *os.File

	id  circuit.ServerID
	key circuit.Key // zero if none is kept

	mu sync.Mutex // serialises writers of files; held while one waits for the disk
}

// openState opens and locks a data directory, made if it is not there; dir ""
// makes a temporary one.
func openState(dir string) (*state, error) {
	s := &state{dir: dir, temp: dir == ""}
	err := s.open()
	if err != nil {
		s.close()
		return nil, circuit.At("start", "", err)
	}
	return s, nil
}

func (s *state) open() (err error) {
	if s.temp {
		s.dir, s.lock, err = makeTemp(tempServer)
	} else if err = os.MkdirAll(s.dir, 0o700); err != nil {
		err = fileError("the data directory cannot be made", err)
	} else {
		s.lock, err = lockDir(s.dir)
	}
	if err != nil {
		return err
	}
	for _, sub := range []string{spoolDir, procsDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return fileError("the data directory cannot be used", err)
		}
	}
	if s.id, err = s.loadID(); err != nil {
		return err
	}
	s.key, err = credential.LoadKey(filepath.Join(s.dir, keyFile))
	if errors.Is(err, circuit.NotFound) {
		err = nil
	}
	return err
}

// lockDir takes the lock of a data directory, which ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fileError("the data directory cannot be used", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, circuit.Errorf(circuit.Exists, fmt.Sprintf("another server is running on the data directory %s; each server needs its own", dir))
	}
	return f, nil
}

// DemoDir makes a directory for the files of a demonstration, which is private,
// and in use until lock is closed or the program ends.
func DemoDir() (dir string, lock io.Closer, err error) { return makeTemp(tempDemo) }

// makeTemp makes a temporary directory, and removes those that are in use no more.
func makeTemp(pattern string) (dir string, lock *os.File, err error) {
	sweepTemp(tempServer)
	sweepTemp(tempDemo)
	if dir, err = os.MkdirTemp("", pattern); err == nil {
		lock, err = lockDir(dir)
	}
	if err != nil {
		return dir, nil, fileError("a temporary directory cannot be made", err)
	}
	return dir, lock, nil
}

// sweepTemp removes the temporary directories of programs that were killed.
func sweepTemp(pattern string) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), pattern)) // fails on a bad pattern only
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !ownedByUs(info) {
			continue
		}
		if time.Since(info.ModTime()) < sweepAge {
			continue // perhaps just being made, and not locked yet
		}
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir) // what cannot be removed is tried again next time
			lock.Close()
		}
	}
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func (s *state) loadID() (circuit.ServerID, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, idFile))
	if errors.Is(err, fs.ErrNotExist) {
		id := newServerID()
		return id, s.write(idFile, id.String()+"\n")
	}
	if err != nil {
		return 0, fileError("the server's identity cannot be read", err)
	}
	id, err := circuit.ParseServerID(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, circuit.Errorf(circuit.Invalid, fmt.Sprintf("%s is damaged; remove it to start as a new server", filepath.Join(s.dir, idFile)))
	}
	return id, nil
}

func newServerID() circuit.ServerID {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return circuit.ServerID(max(binary.LittleEndian.Uint64(b[:]), 1))
}

// used reports whether a server ran on the data directory before.
func (s *state) used() bool {
	_, err := os.Lstat(filepath.Join(s.dir, incarnationFile))
	return err == nil
}

// saveKey keeps the circuit's key, so that the server comes back to its circuit
// whether or not it is told the key again. What ends with the server needs none.
func (s *state) saveKey(k circuit.Key) error {
	if s.key == k || s.temp {
		return nil
	}
	s.key = k
	return credential.SaveKey(filepath.Join(s.dir, keyFile), k)
}

// incarnation returns the incarnation last kept, 0 if none is: no life before used
// a higher one.
func (s *state) incarnation() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, incarnationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fileError("the server's incarnation cannot be read", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, circuit.Errorf(circuit.Invalid, fmt.Sprintf("%s is damaged; remove the data directory to start as a new server", filepath.Join(s.dir, incarnationFile)))
	}
	return n, nil
}

func (s *state) saveIncarnation(n uint64) error {
	return s.write(incarnationFile, strconv.FormatUint(n, 10)+"\n")
}

// peers returns the servers last kept.
func (s *state) peers() []overlay.Peer {
	f, err := os.Open(filepath.Join(s.dir, peersFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	var peers []overlay.Peer
	for lines := bufio.NewScanner(f); lines.Scan() && len(peers) < overlay.MaxRemembered; {
		if u, err := circuit.ParseURL(lines.Text()); err == nil && u.ID != 0 {
			peers = append(peers, overlay.Peer{ID: u.ID, Address: u.Address()})
		}
	}
	return peers
}

// savePeers keeps servers of the circuit, a URL a line.
func (s *state) savePeers(peers []overlay.Peer) error {
	if s.temp { // it has no next life
		return nil
	}
	var b bytes.Buffer
	for _, p := range peers {
		u, err := circuit.ParseURL(p.Address)
		if err != nil {
			continue
		}
		u.ID = p.ID
		b.WriteString(u.String() + "\n")
	}
	return s.write(peersFile, b.String())
}

// write replaces a file of the data directory as a whole.
func (s *state) write(name, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fileError("the data directory cannot be written", err)
	}
	_, err = f.WriteString(text)
	if err == nil && !s.temp {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fileError("the data directory cannot be written", err)
	}
	return nil
}

// close unlocks the data directory, and removes a temporary one. Where a write of
// it hangs, both are left to the end of the process: nobody else may use it before.
func (s *state) close() {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.temp && s.dir != "" {
		_ = os.RemoveAll(s.dir) // what cannot be removed is swept by the next server
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// fileError puts a failure of the file system in words.
func fileError(what string, err error) error {
	kind := circuit.Internal
	switch {
	case errors.Is(err, fs.ErrPermission):
		kind = circuit.Denied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EMFILE):
		kind = circuit.Exhausted
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
		kind = circuit.Invalid
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return circuit.Errorf(kind, fmt.Sprintf("%s: %s: %v", what, p.Path, p.Err))
	}
	return circuit.Errorf(kind, fmt.Sprintf("%s: %v", what, err))
}
