package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
)

func TestKeyFile(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "key"), NewKey()
	if err := SaveKey(path, key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := LoadKey(path)
	if err != nil || got != key {
		t.Errorf("loading it: %v", err)
	}
	if err := SaveKey(path, NewKey()); circuit.KindOf(err) != circuit.Exists {
		t.Errorf("saving over it: %v", err)
	}
	if again, _ := LoadKey(path); again != key {
		t.Error("the key was overwritten")
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	key := NewKey()
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		kind       circuit.ErrorKind
		says       string
	}{
		{"group can read", key.Encode(), 0o640, circuit.Denied, "chmod 600"},
		{"all can write", key.Encode(), 0o602, circuit.Denied, "chmod 600"},
		{"empty", "", 0o600, circuit.Invalid, "not a circuit key"},
		{"two keys", key.Encode() + "\n" + key.Encode(), 0o600, circuit.Invalid, "not a circuit key"},
		{"too long", strings.Repeat(" ", maxKeyFile) + key.Encode(), 0o600, circuit.Invalid, "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKey(path)
			if circuit.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), key.Encode()) {
				t.Error("the error holds the key")
			}
		})
	}
	if _, err := LoadKey(filepath.Join(t.TempDir(), "none")); circuit.KindOf(err) != circuit.NotFound {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadKey(t.TempDir()); circuit.KindOf(err) != circuit.Invalid {
		t.Errorf("a directory: %v", err)
	}
}

func TestKeyFileMayEndInSpace(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "key"), NewKey()
	if err := os.WriteFile(path, []byte("  "+key.Encode()+"\r\n\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadKey(path); err != nil || got != key {
		t.Errorf("loading it: %v", err)
	}
}
