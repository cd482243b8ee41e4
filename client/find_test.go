package client

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/dialfile"
	"github.com/gocircuit/circuit/internal/transport"
)

// environment is the environment of Dial in a test, with a directory of its
// own for local servers.
func environment(t *testing.T, vars map[string]string) Option {
	t.Helper()
	run := t.TempDir()
	return WithEnv(func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return run
		}
		return vars[name]
	})
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDialByEnvironment(t *testing.T) {
	f := newFake(t)
	url := "circuit://" + f.key.Encode() + "@" + f.addr
	keyFile := writeFile(t, f.key.Encode()+"\n")
	network := withNetwork(f.mem.Host("client"))
	for name, vars := range map[string]map[string]string{
		"a file with a URL": {envCircuit: writeFile(t, "\n"+url+"\n")},
		"a URL":             {envCircuit: url},
		"a URL and a key":   {envCircuit: "circuit://" + f.addr, envKey: keyFile},
		"an address":        {envCircuit: f.addr, envKey: keyFile},
		"twice the key":     {envCircuit: url, envKey: keyFile},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(t.Context(), "", environment(t, vars), network)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
	other := writeFile(t, credential.NewKey().Encode()+"\n")
	for name, test := range map[string]struct {
		vars map[string]string
		opts []Option
		says string
	}{
		"no such file":          {vars: map[string]string{envCircuit: "/no/such/file"}, says: "/no/such/file"},
		"an empty file":         {vars: map[string]string{envCircuit: writeFile(t, "")}, says: "empty"},
		"a file without a URL":  {vars: map[string]string{envCircuit: writeFile(t, "hello")}, says: "not a circuit URL"},
		"no key":                {vars: map[string]string{envCircuit: f.addr}, says: "no key"},
		"a key that disagrees":  {vars: map[string]string{envCircuit: url, envKey: other}, says: "two different keys"},
		"keys that disagree":    {vars: map[string]string{envCircuit: f.addr, envKey: other}, opts: []Option{WithKeyFile(keyFile)}, says: "two different keys"},
		"a bad fallback":        {vars: map[string]string{envCircuit: url}, opts: []Option{WithFallback("x")}, says: "not a circuit URL"},
		"a key in a value":      {vars: map[string]string{envCircuit: "x" + f.key.Encode() + "@127.0.0.1:9"}, says: "CIRCUIT is neither"},
		"a key as the value":    {vars: map[string]string{envCircuit: "/" + f.key.Encode()}, says: "CIRCUIT is neither"},
		"a key for its file":    {vars: map[string]string{envCircuit: url, envKey: f.key.Encode()}, says: "CIRCUIT_KEY must name a file"},
		"the key for its file":  {vars: map[string]string{envCircuit: url}, opts: []Option{WithKeyFile(f.key.Encode())}, says: "the key file must name a file"},
		"a key file, not there": {vars: map[string]string{envCircuit: url, envKey: "/no/such/key"}, says: "/no/such/key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(t.Context(), "", append(test.opts, environment(t, test.vars), network)...)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v does not say %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), f.key.Encode()) {
				t.Errorf("error %q tells the key", err)
			}
		})
	}
}

// local writes the dial file of a server that may or may not answer.
func local(t *testing.T, run, host string, id ServerID, key Key) {
	t.Helper()
	file, err := dialfile.Write(filepath.Join(run, "circuit"), URL{Key: key, Host: host, Port: 1, PID: 1, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(file.Close)
	// The newest is told by its time.
	now := time.Now().Add(time.Duration(id) * time.Second)
	names, err := filepath.Glob(filepath.Join(run, "circuit", id.String()+"-*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	if err := os.Chtimes(names[0], now, now); err != nil {
		t.Fatal(err)
	}
}

func TestDialFindsLocalServers(t *testing.T) {
	mem := transport.NewMemory()
	key := credential.NewKey()
	run := t.TempDir()
	env := WithEnv(func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return run
		}
		return ""
	})
	network := withNetwork(mem.Host("client"))

	_, err := Dial(t.Context(), "", env, network)
	wantKind(t, err, ErrUnreachable)
	if !strings.Contains(err.Error(), run) {
		t.Errorf("error %q does not say where was looked", err)
	}

	for i, host := range []string{"oldest", "old", "new", "frozen", "dead", "other"} {
		id, k := circuit.ServerID(i+1), key
		if host == "other" {
			k = credential.NewKey()
		}
		if host != "dead" {
			newFakeAt(t, mem, host, id, k)
		}
		local(t, run, host, id, k)
	}
	mem.Cut("client", "frozen")
	dialled := func(want ServerID, opts ...Option) {
		t.Helper()
		c, err := Dial(t.Context(), "", append(opts, env, network)...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.DialIn().ID; got != want {
			t.Errorf("found server %d, want %d", got, want)
		}
		if err := firstError(c.Root().View(t.Context())); err != nil {
			t.Error(err)
		}
	}
	dialled(6)               // the newest
	dialled(3, WithKey(key)) // the newest of this circuit that answers

	mem.Cut("client", "new")
	mem.Cut("client", "old")
	mem.Cut("client", "oldest")
	_, err = Dial(t.Context(), "", env, network, WithKey(key))
	wantKind(t, err, ErrUnreachable)
	for _, says := range []string{"dead:1: nothing listens there", "frozen:1: no answer within 3s", "other:1 has another key", "name a server with -d"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("error %q does not say %q", err, says)
		}
	}
}

// lagging is a network that takes its time to connect to some hosts.
type lagging struct {
	transport.Network
	lag map[string]time.Duration
}

func (l lagging) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	select {
	case <-time.After(l.lag[host]):
		return l.Network.Dial(ctx, addr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A local server that is late is worth waiting for as long as none answers, and
// no longer.
func TestDialWaitsForLateLocalServers(t *testing.T) {
	for name, test := range map[string]struct {
		lag  map[string]time.Duration // of the oldest, the newer, and the newest
		want ServerID
		took time.Duration
	}{
		"all at once":       {nil, 3, 0},
		"the newest late":   {map[string]time.Duration{"h3": 250 * time.Millisecond}, 3, 250 * time.Millisecond},
		"the newest silent": {map[string]time.Duration{"h3": time.Hour}, 2, 300 * time.Millisecond},
		"all late":          {map[string]time.Duration{"h1": time.Second, "h2": 2 * time.Second, "h3": 3 * time.Second}, 1, 1100 * time.Millisecond},
		"one very late":     {map[string]time.Duration{"h1": time.Hour, "h2": time.Hour, "h3": 2900 * time.Millisecond}, 3, 2900 * time.Millisecond},
		"all silent":        {map[string]time.Duration{"h1": time.Hour, "h2": time.Hour, "h3": time.Hour}, 0, localTime},
	} {
		t.Run(name, func(t *testing.T) {
			run := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				mem, key := transport.NewMemory(), credential.NewKey()
				for id, host := range []string{1: "h1", 2: "h2", 3: "h3"} {
					if id > 0 {
						newFakeAt(t, mem, host, ServerID(id), key)
						local(t, run, host, ServerID(id), key)
					}
				}
				env := WithEnv(func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[name] })
				began := time.Now()
				c, err := Dial(t.Context(), "", env, withNetwork(lagging{mem.Host("client"), test.lag}))
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if test.want == 0 {
					wantKind(t, err, ErrUnreachable)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.DialIn().ID; got != test.want {
					t.Errorf("found server %d, want %d", got, test.want)
				}
			})
		})
	}
}
