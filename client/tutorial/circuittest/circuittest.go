// Package circuittest runs the tutorials' programs in tests, on circuits of
// real servers. The tests of each tutorial call it, and nothing else does.
//
// Servers and programs are processes of their own, so that they can be killed:
// a test's binary starts itself again, and Main tells it what to be.
//
// Start, Kill and the other functions are called by a test's own goroutine.
package circuittest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// The environment that tells a test's binary what to be.
const (
	envRole = "CIRCUITTEST"      // "server" or "program"; otherwise it runs its tests
	envDir  = "CIRCUITTEST_DIR"  // a server's directory of dial files
	envJoin = "CIRCUITTEST_JOIN" // the URL that a server joins
)

// Main is the body of TestMain. program is the tutorial's main function.
func Main(m *testing.M, program func()) {
	switch os.Getenv(envRole) {
	case "server":
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "program":
		program()
	default:
		os.Exit(m.Run())
	}
}

// serve runs a server until its standard input ends, as it does with the test.
func serve() error {
	cfg := server.Config{Addr: "127.0.0.1:0", DialFiles: os.Getenv(envDir), Grace: time.Second}
	if join := os.Getenv(envJoin); join != "" {
		u, err := circuit.ParseURL(join)
		if err != nil {
			return err
		}
		cfg.Join = append(cfg.Join, u)
	}
	s, err := server.Start(context.Background(), cfg)
	if err != nil {
		return err
	}
	fmt.Println(s.URL().Secret())
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
	return nil
}

// Circuit is a circuit of servers that run for a test.
type Circuit struct {
	t       testing.TB
	servers []*process
	client  *client.Client
}

type process struct {
	cmd  *exec.Cmd
	feed io.Closer
	url  circuit.URL
}

// Start starts a circuit of n servers, and stops them when the test ends.
func Start(t testing.TB, n int) *Circuit {
	t.Helper()
	c := &Circuit{t: t}
	for range n {
		c.start()
	}
	var urls []string
	for _, p := range c.servers {
		urls = append(urls, p.url.Secret())
	}
	var err error
	if c.client, err = client.Dial(t.Context(), c.URL(), client.WithFallback(urls[1:]...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.client.Close() })
	c.Eventually(fmt.Sprintf("%d servers see each other", n), func() bool { return len(c.Servers()) == n })
	return c
}

func (c *Circuit) start() {
	c.t.Helper()
	cmd := exec.Command(self(c.t))
	cmd.Env = append(os.Environ(), envRole+"=server", envDir+"="+c.t.TempDir()+"/servers")
	if len(c.servers) > 0 {
		cmd.Env = append(cmd.Env, envJoin+"="+c.URL())
	}
	cmd.Stderr = c.t.Output()
	feed, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{cmd: cmd, feed: feed}
	c.t.Cleanup(func() {
		feed.Close()
		_ = cmd.Wait() // some are killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.t.Fatalf("a server printed no URL: %v", err)
	}
	if p.url, err = circuit.ParseURL(line); err != nil {
		c.t.Fatal(err)
	}
	c.servers = append(c.servers, p)
}

func self(t testing.TB) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// URL returns the URL of the first server, at which programs dial in.
func (c *Circuit) URL() string { return c.servers[0].url.Secret() }

// Client is dialled in at the first server, or another one when that is killed.
func (c *Circuit) Client() *client.Client { return c.client }

// Servers returns the servers that the first one sees.
func (c *Circuit) Servers() []client.ServerID {
	c.t.Helper()
	var ids []client.ServerID
	for m, err := range c.client.Servers(c.t.Context()) {
		if err != nil {
			c.t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

// Kill kills a server as kill -9 does.
func (c *Circuit) Kill(id client.ServerID) {
	c.t.Helper()
	for _, p := range c.servers {
		if p.url.ID == id {
			if err := p.cmd.Process.Kill(); err != nil {
				c.t.Fatal(err)
			}
			return
		}
	}
	c.t.Fatalf("no server %v to kill", id)
}

// Program returns the tutorial's program, ready to run with arguments, with
// CIRCUIT in its environment.
func (c *Circuit) Program(args ...string) *exec.Cmd {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), self(c.t), args...)
	cmd.Env = append(os.Environ(), envRole+"=program", "CIRCUIT="+c.URL())
	cmd.Stderr = c.t.Output()
	return cmd
}

// Run runs the tutorial's program and returns the lines of its output.
func (c *Circuit) Run(args ...string) ([]string, error) {
	c.t.Helper()
	out, err := c.Program(args...).Output()
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), err
}

// Eventually waits until a condition holds that no event tells of.
func (c *Circuit) Eventually(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Fatalf("not in 20 s: %s", what)
		}
		<-tick.C
	}
}
