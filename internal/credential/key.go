package credential

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gocircuit/circuit"
)

// maxKeyFile is the most that is read of a key file; a key's line has 44 bytes.
const maxKeyFile = 1024

// NewKey makes the key of a new circuit from the system's source of
// randomness.
func NewKey() circuit.Key {
	var k circuit.Key
	rand.Read(k[:]) // ends the program rather than fail
	return k
}

// LoadKey reads a key from a file that holds its line, as circuit keygen
// makes it. A file that anyone but its owner can read or write is refused, as
// Denied. Errors name the file and never the key.
func LoadKey(path string) (circuit.Key, error) {
	fail := func(kind circuit.ErrorKind, err error) (circuit.Key, error) {
		return circuit.Key{}, &circuit.Error{Path: path, Kind: kind, Err: err}
	}
	f, err := os.Open(path)
	if redacted := circuit.Redact(path); errors.Is(err, fs.ErrNotExist) && redacted != path {
		path = redacted
		return fail(circuit.NotFound, errors.New("there is no such file; name the file that holds the key, and do not give the key itself"))
	}
	if err != nil {
		return fail(fileKind(err), fmt.Errorf("the key file cannot be read: %w", reason(err)))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(fileKind(err), fmt.Errorf("the key file cannot be read: %w", reason(err)))
	}
	if info.IsDir() {
		return fail(circuit.Invalid, errors.New("the key file is a directory"))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fail(circuit.Denied, fmt.Errorf("others can read the key file (its mode is %04o); run chmod 600 on it", mode))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return fail(fileKind(err), fmt.Errorf("the key file cannot be read: %w", reason(err)))
	}
	if len(b) > maxKeyFile {
		return fail(circuit.Invalid, errors.New("not a key file: it is too long"))
	}
	k, err := circuit.ParseKey(string(bytes.TrimSpace(b)))
	if err != nil {
		return fail(circuit.Invalid, err)
	}
	return k, nil
}

// SaveKey writes a key's line to a new file of mode 0600, as a whole or not at
// all. A file that is there already is left alone: Exists.
func SaveKey(path string, key circuit.Key) error {
	fail := func(err error) error {
		kind := fileKind(err)
		if kind == circuit.Exists {
			err = errors.New("the file is there already; a key is never written over another")
		} else {
			err = fmt.Errorf("the key file cannot be written: %w", reason(err))
		}
		return &circuit.Error{Path: path, Kind: kind, Err: err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key.Encode() + "\n")
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Link(f.Name(), path) // fails where there is one
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// fileKind says what kind of error a failed file operation is.
func fileKind(err error) circuit.ErrorKind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return circuit.NotFound
	case errors.Is(err, fs.ErrExist):
		return circuit.Exists
	case errors.Is(err, fs.ErrPermission):
		return circuit.Denied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return circuit.Exhausted
	}
	return circuit.Invalid
}

// reason strips the operation and the path, which the error around it names.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
