package client_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// world is a circuit of real servers in this process.
type world struct {
	t       testing.TB
	servers []*server.Server
}

// newWorld starts a circuit of n servers, and stops it when the test ends.
func newWorld(t testing.TB, n int) *world {
	t.Helper()
	w := &world{t: t}
	for range n {
		w.start(server.Config{})
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		known := 0
		for _, s := range w.servers {
			known += len(s.Members())
		}
		if known == n*n {
			return w
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d servers do not see each other after 10 s", n)
		}
	}
}

// start starts one more server, which joins the first.
func (w *world) start(cfg server.Config) *server.Server {
	w.t.Helper()
	cfg.DialFiles = filepath.Join(w.t.TempDir(), "servers")
	cfg.Grace = time.Second
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if len(w.servers) > 0 {
		cfg.Join = append(cfg.Join, w.servers[0].URL())
	}
	s, err := server.Start(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers = append(w.servers, s)
	w.t.Cleanup(func() { stop(s) })
	return s
}

func stop(s *server.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
}

// url returns the URL of a server, with the key.
func (w *world) url(i int) string { return w.servers[i].URL().Secret() }

// dial dials in at a server.
func (w *world) dial(i int, opts ...client.Option) *client.Client {
	w.t.Helper()
	opts = append([]client.Option{client.WithEnv(func(string) string { return "" })}, opts...)
	c, err := client.Dial(w.t.Context(), w.url(i), opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// anchor returns the anchor called name on a server, as c sees it.
func (w *world) anchor(c *client.Client, i int, name string) *client.Anchor {
	w.t.Helper()
	a, err := c.Server(w.servers[i].URL().ID).Anchor().Walk(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func wantKind(t testing.TB, err error, kind client.ErrorKind) {
	t.Helper()
	if client.KindOf(err) != kind {
		t.Fatalf("error is %v, want %v", err, kind)
	}
}
