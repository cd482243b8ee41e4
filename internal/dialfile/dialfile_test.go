package dialfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

func url(t *testing.T, id circuit.ServerID) circuit.URL {
	return circuit.URL{Key: circuit.Key{1, 2, byte(id)}, Host: "127.0.0.1", Port: 11022, PID: os.Getpid(), ID: id}
}

func TestNewestFirstAndGoneAtClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if urls, err := List(dir); len(urls) != 0 || err != nil {
		t.Fatalf("without a directory: %v, %v", urls, err)
	}
	var files []*File
	for id := circuit.ServerID(1); id <= 3; id++ {
		f, err := Write(dir, url(t, id))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(id) * time.Minute)
		if err := os.Chtimes(f.path, at, at); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	files[1].Close()
	files[1].Close()
	urls, err := List(dir)
	if err != nil || len(urls) != 2 || urls[0] != url(t, 3) || urls[1] != url(t, 1) {
		t.Fatalf("got %v, %v", urls, err)
	}
	if info, err := os.Stat(files[0].path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestKilledServersFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := Write(dir, url(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	f.file.Close() // as the end of the process does
	if urls, err := List(dir); len(urls) != 0 || err != nil {
		t.Errorf("got %v, %v", urls, err)
	}
	if _, err := os.Stat(f.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// TestCopyRemovedOriginalsFile: of two servers of the same identity, each removes
// its own file, whichever ends first.
func TestCopyRemovedOriginalsFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	for _, firstEndsFirst := range []bool{true, false} {
		first, err := Write(dir, url(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		second, err := Write(dir, url(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		if !firstEndsFirst {
			first, second = second, first
		}
		first.Close()
		if urls, err := List(dir); len(urls) != 1 || err != nil {
			t.Errorf("one of two is gone: %v, %v", urls, err)
		}
		second.Close()
		if urls, err := List(dir); len(urls) != 0 || err != nil {
			t.Errorf("both are gone: %v, %v", urls, err)
		}
	}
}

func TestOpenDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, url(t, 1)); !errors.Is(err, circuit.Denied) {
		t.Errorf("write: %v", err)
	}
	if _, err := List(dir); !errors.Is(err, circuit.Denied) {
		t.Errorf("list: %v", err)
	}
}

func TestGarbageIsIgnored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := Write(dir, url(t, 1)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"x": "nonsense", tempPrefix + "y": url(t, 2).Secret()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if urls, err := List(dir); len(urls) != 1 || err != nil {
		t.Errorf("got %v, %v", urls, err)
	}
}

func TestDir(t *testing.T) {
	for env, want := range map[[2]string]string{
		{"XDG_RUNTIME_DIR", "/run/user/7"}: "/run/user/7/circuit",
		{"XDG_STATE_HOME", "/state"}:       "/state/circuit/servers",
		{"HOME", "/home/u"}:                "/home/u/.local/state/circuit/servers",
	} {
		got := Dir(func(name string) string {
			if name == env[0] {
				return env[1]
			}
			return ""
		})
		if got != want {
			t.Errorf("%v: %s, want %s", env, got, want)
		}
	}
	if got := Dir(func(string) string { return "" }); !filepath.IsAbs(got) {
		t.Errorf("without environment: %s", got)
	}
}
