package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/server"
	"github.com/gocircuit/circuit/internal/transport"
)

// config returns the configuration of a server for a test.
func config(t testing.TB) server.Config {
	return server.Config{
		Addr: "127.0.0.1:0", DialFiles: filepath.Join(t.TempDir(), "dial"), Version: "test", Grace: time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

func start(t testing.TB, cfg server.Config) *server.Server {
	s, err := server.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(s) })
	return s
}

// stop stops a server in 5 seconds at most.
func stop(s *server.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
}

// eventually waits until a condition holds that no event tells of.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			tick.Stop()
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

func TestJoinAndLeave(t *testing.T) {
	first := start(t, config(t))
	if first.URL().Key.IsZero() {
		t.Error("no key was configured, and the URL carries none")
	}
	cfg := config(t)
	cfg.Join = []circuit.URL{first.URL()}
	second := start(t, cfg)
	eventually(t, "both servers see two", func() bool { return len(first.Members()) == 2 && len(second.Members()) == 2 })
	stop(second)
	eventually(t, "the second is gone", func() bool { return len(first.Members()) == 1 })
	if err := second.Err(); err != nil {
		t.Errorf("a server that was asked to stop says %v", err)
	}
}

func TestConfiguredKeyIsNotInURL(t *testing.T) {
	cfg := config(t)
	cfg.Key = credential.NewKey()
	if s := start(t, cfg); !s.URL().Key.IsZero() || strings.Contains(s.URL().Secret(), "@") {
		t.Error("the URL carries a configured key")
	}
}

func TestStartRefuses(t *testing.T) {
	running := start(t, config(t))
	data := filepath.Join(t.TempDir(), "data")
	cfg := config(t)
	cfg.DataDir = data
	start(t, cfg)
	other := running.URL()
	other.Key = credential.NewKey()
	bare := running.URL()
	bare.Key = circuit.Key{}
	many := []circuit.URL{running.URL(), running.URL()} // the same again is no other
	for port := range overlay.MaxSeeds {
		u := running.URL()
		u.Port = 1 + port
		many = append(many, u)
	}
	for name, c := range map[string]struct {
		change func(*server.Config)
		kind   circuit.ErrorKind
		says   string
	}{
		"port in use":           {func(c *server.Config) { c.Addr = running.URL().Address() }, circuit.Exists, "in use"},
		"data directory in use": {func(c *server.Config) { c.DataDir = data }, circuit.Exists, "data directory"},
		"no port":               {func(c *server.Config) { c.Addr = "127.0.0.1" }, circuit.Invalid, "HOST:PORT"},
		"bad port":              {func(c *server.Config) { c.Addr = "127.0.0.1:x" }, circuit.Invalid, "65535"},
		"no such interface":     {func(c *server.Config) { c.Interface = "nonesuch0" }, circuit.Invalid, "nonesuch0"},
		"not the interface's":   {func(c *server.Config) { c.Addr, c.Interface = "127.0.0.64:0", loopback(t) }, circuit.Invalid, "127.0.0.64"},
		"all, and an interface": {func(c *server.Config) { c.Addr, c.Interface = "0.0.0.0:0", loopback(t) }, circuit.Invalid, "0.0.0.0"},
		"too many to join":      {func(c *server.Config) { c.Join = many }, circuit.Invalid, "65 servers"},
		"bad advertise":         {func(c *server.Config) { c.Advertise = "nowhere" }, circuit.Invalid, "advertise"},
		"too long an address":   {func(c *server.Config) { c.Advertise = strings.Repeat("h", 600) + ":1" }, circuit.Invalid, "602 bytes, and 512"},
		"two keys":              {func(c *server.Config) { c.Join = []circuit.URL{running.URL(), other} }, circuit.Invalid, "one circuit"},
		"no key":                {func(c *server.Config) { c.Join = []circuit.URL{bare} }, circuit.Invalid, "no key"},
		"address of another":    {func(c *server.Config) { c.Addr = "192.0.2.1:0" }, circuit.Invalid, "192.0.2.1"},
	} {
		cfg := config(t)
		c.change(&cfg)
		s, err := server.Start(t.Context(), cfg)
		if err == nil {
			stop(s)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, c.kind, c.says)
		}
		if err != nil && strings.Contains(err.Error(), other.Key.Encode()) {
			t.Errorf("%s: the error tells a key", name)
		}
	}
}

// TestLoopbackWasNotWarnedOf starts servers that join others elsewhere, and says
// who cannot be reached from there.
func TestLoopbackWasNotWarnedOf(t *testing.T) {
	for _, tt := range []struct {
		advertise, join string
		warned          bool
	}{
		{"", "192.0.2.1:11022", true},
		{"localhost:1", "example.invalid:11022", true},
		{"[::1]:1", "192.0.2.1:11022", true},
		{"", "127.0.0.2:1", false},
		{"", "localhost:1", false},
		{"", "[::1]:1", false},
		{"192.0.2.2:1", "192.0.2.1:11022", false},
	} {
		u, err := circuit.ParseURL(tt.join)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		cfg := config(t)
		cfg.Network = transport.NewMemory().Host("127.0.0.1")
		cfg.Key, cfg.Advertise, cfg.Join = credential.NewKey(), tt.advertise, []circuit.URL{u}
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		stop(start(t, cfg))
		if got := strings.Contains(log.String(), "-a or --advertise"); got != tt.warned {
			t.Errorf("advertise %q, join %s: warned %v\n%s", tt.advertise, tt.join, got, &log)
		}
	}
}

// loopback returns the name of the loopback interface.
func loopback(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Name
		}
	}
	t.Skip("this machine has no loopback interface")
	return ""
}

func TestInterfaceAndPort(t *testing.T) {
	for _, addr := range []string{":0", "127.0.0.1:0"} {
		cfg := config(t)
		cfg.Addr, cfg.Interface = addr, loopback(t)
		if u := start(t, cfg).URL(); u.Host != "127.0.0.1" {
			t.Errorf("-a %s listens on %v", addr, u)
		}
	}
}

// A server that is stopped before it accepted anybody has nothing to complain of.
func TestStoppedAtOnce(t *testing.T) {
	for range 20 {
		var log bytes.Buffer
		cfg := config(t)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		s, err := server.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop(s)
		if log.Len() > 0 {
			t.Fatalf("the log says %s", &log)
		}
	}
}

func TestDataDirectoryKeepsIdentityAndKey(t *testing.T) {
	cfg := config(t)
	cfg.DataDir = filepath.Join(t.TempDir(), "deep", "data")
	first := start(t, cfg)
	was := first.URL()
	stop(first)
	second := start(t, cfg)
	if now := second.URL(); now.ID != was.ID || now.Key != was.Key {
		t.Errorf("it was %v and is %v; the keys are the same: %v", was, now, now.Key == was.Key)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "key": 0o600} {
		if info, err := os.Stat(filepath.Join(cfg.DataDir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v; want mode %v", name, info.Mode(), err, mode)
		}
	}
}

// A server that was told its key once goes on in the same circuit without.
func TestDataDirectoryKeepsConfiguredKey(t *testing.T) {
	cfg := config(t)
	cfg.DataDir, cfg.Key = filepath.Join(t.TempDir(), "data"), credential.NewKey()
	first := start(t, cfg)
	if !first.URL().Key.IsZero() {
		t.Error("the URL carries a configured key")
	}
	stop(first)
	again := cfg
	again.Key = circuit.Key{}
	second := start(t, again)
	if now := second.URL(); now.ID != first.URL().ID || now.Key != cfg.Key {
		t.Errorf("it was %v and is %v; with the same key: %v", first.URL(), now, now.Key == cfg.Key)
	}
	stop(second)
	cfg.Key = credential.NewKey()
	_, err := server.Start(t.Context(), cfg)
	if !errors.Is(err, circuit.Invalid) || !strings.Contains(err.Error(), cfg.DataDir) || !strings.Contains(err.Error(), "start without that key") {
		t.Errorf("with another key: %v", err)
	}
}

// A data directory that was used and has no key begins no circuit of its own.
func TestDataDirectoryWithoutKeyIsRefused(t *testing.T) {
	cfg := config(t)
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	first := start(t, cfg)
	key := first.URL().Key
	stop(first)
	file := filepath.Join(cfg.DataDir, "key")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err := server.Start(t.Context(), cfg)
	if !errors.Is(err, circuit.Invalid) || !strings.Contains(err.Error(), "give that with --key FILE") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key that was refused is there: %v", err)
	}
	cfg.Key = key
	if s := start(t, cfg); s.URL().ID != first.URL().ID {
		t.Errorf("with its key, it was %v and is %v", first.URL(), s.URL())
	}
}

func TestClonedDataDirectoryIsRefused(t *testing.T) {
	cfg := config(t)
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	original := start(t, cfg)
	clone := config(t)
	clone.DataDir = filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone.DataDir, os.DirFS(cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(clone.DataDir, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	bystander := config(t)
	bystander.Join = []circuit.URL{original.URL()}
	third := start(t, bystander)
	eventually(t, "two servers", func() bool { return len(third.Members()) == 2 })
	for _, join := range []circuit.URL{third.URL(), original.URL()} {
		clone.Join = []circuit.URL{join}
		copied := start(t, clone)
		select {
		case <-copied.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("the clone that joins %v goes on", join)
		}
		if err := copied.Err(); !errors.Is(err, circuit.Exists) || !strings.Contains(err.Error(), original.URL().Address()) {
			t.Errorf("the clone that joins %v says %v", join, err)
		}
	}
	if n := len(third.Members()); n != 2 {
		t.Errorf("%d servers after the clone was refused", n)
	}
}

func TestTemporaryDirectoriesAreRemoved(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := start(t, config(t))
	if dirs, _ := filepath.Glob(filepath.Join(tmp, "circuit-server-*")); len(dirs) != 1 {
		t.Errorf("a running server has %v", dirs)
	}
	stop(s)
	if dirs, _ := filepath.Glob(filepath.Join(tmp, "circuit-server-*")); len(dirs) != 0 {
		t.Errorf("a stopped server leaves %v", dirs)
	}
	stale, starting := filepath.Join(tmp, "circuit-server-stale"), filepath.Join(tmp, "circuit-server-starting")
	demo, lock, err := server.DemoDir()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	killed, dead, err := server.DemoDir()
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for _, dir := range []string{stale, starting} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	for _, dir := range []string{stale, demo, killed} {
		if err := os.Chtimes(dir, long, long); err != nil {
			t.Fatal(err)
		}
	}
	start(t, config(t))
	for _, dir := range []string{stale, killed} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a killed program left is still there: %s, %v", dir, err)
		}
	}
	for _, dir := range []string{starting, demo} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("what is in use, or not locked yet, is gone or not private: %s, %v", dir, err)
		}
	}
}

func TestLimits(t *testing.T) {
	var l server.Limits
	for _, ok := range []string{"anchors=5000", "spool=8GiB", "channel-bytes=1MiB"} {
		if err := l.Set(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	if l.Anchors != 5000 || l.Spool != 8<<30 || l.ChannelBytes != 1<<20 {
		t.Errorf("got %+v", l)
	}
	for _, bad := range []string{"anchors", "anchors=", "anchors=0", "anchors=-1", "moons=1", "spool=1"} {
		if err := l.Set(bad); !errors.Is(err, circuit.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A call that waits when its server stops is told so.
func TestStopIsTold(t *testing.T) {
	s := start(t, config(t))
	c, err := client.Dial(t.Context(), s.URL().Secret())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Walk(s.URL().ID.Path().String() + "/q")
	if err != nil {
		t.Fatal(err)
	}
	q, err := a.MakeChan(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error, 1)
	go func() {
		_, err := q.Recv(t.Context())
		received <- err
	}()
	eventually(t, "the receiver waits", func() bool {
		stat, err := q.Stat(t.Context())
		return err == nil && stat.Receivers == 1
	})
	stop(s)
	if err := <-received; !errors.Is(err, circuit.Unreachable) || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the receiver is told %v", err)
	}
}
