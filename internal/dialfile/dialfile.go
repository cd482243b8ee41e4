// Package dialfile is how local clients find local servers: each server keeps
// a file with its URL in a directory that only its user can read, locked for as
// long as the server runs. Package server writes them, package client reads
// them. The functions may be called concurrently, by several programs as well.
package dialfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gocircuit/circuit"
)

// Limits of reading.
const (
	maxFile  = 4096 // bytes of one file
	maxFiles = 1024 // files looked at
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".new-"

// Dir returns the directory of the user's own dial files: circuit below
// $XDG_RUNTIME_DIR, else circuit/servers below $XDG_STATE_HOME or
// ~/.local/state, else a directory of the user's below the temporary one.
func Dir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "circuit")
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "circuit", "servers")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "circuit", "servers")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("circuit-servers-%d", os.Geteuid()))
}

// File is the dial file of a running server.
type File struct {
	path string
	file *os.File
}

// Write makes the dial file of the server at u, which carries the key, in dir.
// The directory is made if it is not there, with mode 0700; one that others
// can enter is refused, as Denied.
func Write(dir string, u circuit.URL) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failed(dir, err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, tempPrefix) // mode 0600
	if err != nil {
		return nil, failed(dir, err)
	}
	// Locked before it has its name, the file never looks like a dead server's.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = f.WriteString(u.Secret() + "\n")
	}
	// A name of its own: a server of the same identity may run, from a copy of the
	// data directory, and either keeps its file whatever becomes of the other.
	path := filepath.Join(dir, u.ID.String()+"-"+strings.TrimPrefix(filepath.Base(f.Name()), tempPrefix))
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, failed(dir, err)
	}
	return &File{path: path, file: f}, nil
}

// Close removes the file. A nil File, and one closed before, are left alone.
func (f *File) Close() {
	if f == nil || f.file == nil {
		return
	}
	ours, err := f.file.Stat()
	if there, thereErr := os.Lstat(f.path); err == nil && thereErr == nil && os.SameFile(ours, there) {
		os.Remove(f.path) // otherwise a later server with this identity has its own
	}
	f.file.Close()
	f.file = nil
}

// List returns the URLs, keys included, of the servers that run, the newest
// first. It removes the files of servers that were killed. A directory that is
// not there is empty; one that others can enter is refused, as Denied.
func List(dir string) ([]circuit.URL, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(dir, err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	type server struct {
		url     circuit.URL
		started time.Time
	}
	var servers []server
	for _, e := range entries[:min(len(entries), maxFiles)] {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if u, started, ok := read(filepath.Join(dir, e.Name())); ok {
			servers = append(servers, server{u, started})
		}
	}
	slices.SortFunc(servers, func(a, b server) int { return b.started.Compare(a.started) })
	urls := make([]circuit.URL, len(servers))
	for i, s := range servers {
		urls[i] = s.url
	}
	return urls, nil
}

// read returns what a dial file says, if its server runs.
func read(path string) (u circuit.URL, started time.Time, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return u, started, false
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		// Nobody holds it: the server was killed. Its successor may just have
		// put its own file there.
		ours, err := f.Stat()
		if there, thereErr := os.Lstat(path); err == nil && thereErr == nil && os.SameFile(ours, there) {
			os.Remove(path)
		}
		return u, started, false
	}
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 != 0 || !owned(info) {
		return u, started, false
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return u, started, false
	}
	u, err = circuit.ParseURL(string(b))
	return u, info.ModTime(), err == nil
}

// private refuses a directory that is not the user's own.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return failed(dir, err)
	}
	if !info.IsDir() || !owned(info) || info.Mode().Perm()&0o077 != 0 {
		return &circuit.Error{Path: dir, Kind: circuit.Denied, Err: errors.New("this must be a directory that only you can enter (mode 0700); it holds keys")}
	}
	return nil
}

func owned(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func failed(dir string, err error) error {
	kind := circuit.Internal
	if errors.Is(err, fs.ErrPermission) {
		kind = circuit.Denied
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &circuit.Error{Path: dir, Kind: kind, Err: fmt.Errorf("the directory of local servers cannot be used: %w", err)}
}
