package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// ways are the ways to reach an element on the last of three servers.
func ways(t *testing.T, f func(t *testing.T, w *world, c *client.Client)) {
	w := newWorld(t, 3)
	t.Run("direct", func(t *testing.T) { f(t, w, w.dial(2)) })
	t.Run("through another", func(t *testing.T) { f(t, w, w.dial(1)) })
}

func TestRunProcess(t *testing.T) {
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		a := w.anchor(c, 2, "cat")
		p, err := a.MakeProc(t.Context(), client.Cmd{Path: "/bin/sh", Args: []string{"-c", "cat; echo done >&2; exit 7"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.MakeProc(t.Context(), client.Cmd{Path: "/bin/true"})
		wantKind(t, err, client.ErrExists)
		wantKind(t, a.Scrub(t.Context()), client.ErrExists)

		in := p.Stdin(t.Context())
		if _, err := io.WriteString(in, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []struct {
			out  *client.Output
			want string
		}{{p.Stdout(t.Context()), "hello"}, {p.Stderr(t.Context()), "done\n"}, {p.Stdout(t.Context(), client.FromOffset(3)), "lo"}} {
			if got, err := io.ReadAll(s.out); string(got) != s.want || err != nil {
				t.Errorf("read %q, %v, want %q", got, err, s.want)
			}
		}
		stat, err := p.Wait(t.Context())
		if err != nil || stat.ExitCode != 7 || stat.Exit == nil || *stat.Exit != "exit status 7" {
			t.Errorf("wait: %+v, %v", stat, err)
		}
		wantKind(t, p.Signal(t.Context(), "TERM"), client.ErrClosed)
		if err := p.Stdin(t.Context()).Close(); err != nil {
			t.Errorf("to close the input of an ended process: %v", err)
		}
		if err := p.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = p.Stat(t.Context())
		wantKind(t, err, client.ErrNotFound)
	})
}

func TestProcessesThatCannotStart(t *testing.T) {
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		a := w.anchor(c, 2, "p")
		_, err := a.MakeProc(t.Context(), client.Cmd{Path: "/no/such/program"})
		wantKind(t, err, client.ErrNotFound)
		_, err = a.MakeProc(t.Context(), client.Cmd{Path: "/etc/passwd"})
		wantKind(t, err, client.ErrDenied)
		_, err = a.Get(t.Context())
		wantKind(t, err, client.ErrNotFound)
	})
}

func TestSignalAndScrubKill(t *testing.T) {
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		a := w.anchor(c, 2, "sleep")
		p, err := a.MakeProc(t.Context(), client.Cmd{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(t.Context(), "KILL"); err != nil {
			t.Fatal(err)
		}
		stat, err := p.Wait(t.Context())
		if err != nil || stat.Phase != client.Signaled || stat.ExitCode != 137 || stat.Signal != "KILL" {
			t.Errorf("wait: %+v, %v", stat, err)
		}
		if err := p.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p, err = a.MakeProc(t.Context(), client.Cmd{Path: "sleep", Args: []string{"1000"}}); err != nil {
			t.Fatal(err)
		}
		if err := p.Scrub(t.Context(), client.ScrubKill(0)); err != nil {
			t.Fatal(err)
		}
		_, err = a.Get(t.Context())
		wantKind(t, err, client.ErrNotFound)
	})
}

// noise gives bytes that are the same each time.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
}

func TestBulk(t *testing.T) {
	const size = 24 << 20
	want := sha256.New()
	if _, err := io.Copy(want, noise(size)); err != nil {
		t.Fatal(err)
	}
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		a := w.anchor(c, 2, "cat")
		p, err := a.MakeProc(t.Context(), client.Cmd{Path: "cat", Spool: 2 * size})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Scrub(context.WithoutCancel(t.Context()), client.ScrubKill(0))
		fed := make(chan error)
		go func() {
			in := p.Stdin(t.Context())
			_, err := io.Copy(in, noise(size))
			fed <- errors.Join(err, in.Close())
		}()
		for range 2 { // two readers, one now and one afterwards
			got := sha256.New()
			n, err := io.Copy(got, p.Stdout(t.Context()))
			if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
				t.Errorf("read %d bytes, %v", n, err)
			}
		}
		if err := <-fed; err != nil {
			t.Error(err)
		}
	})
}

// A process is held back until what it wrote is used; each reader goes on where
// the one before it stopped.
func TestReadersOneAfterTheOther(t *testing.T) {
	w := newWorld(t, 1)
	c := w.dial(0)
	p, err := w.anchor(c, 0, "count").MakeProc(t.Context(), client.Cmd{Path: "seq", Args: []string{"200000"}, Spool: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for err == nil {
		out := p.Stdout(t.Context(), client.FromOffset(uint64(got.Len())))
		_, err = io.CopyN(&got, out, 100_000)
		if out.Offset() != uint64(got.Len()) {
			t.Fatalf("the reader is at %d, %d bytes were read", out.Offset(), got.Len())
		}
		out.Close()
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintln(&want, i+1)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("read %d bytes, different from the %d written", got.Len(), want.Len())
	}
}

func TestListings(t *testing.T) {
	w := newWorld(t, 3)
	c := w.dial(0)
	var want []string
	for i := range w.servers {
		a := w.anchor(c, i, "a/b")
		if _, err := a.MakeChan(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		server := "/" + w.servers[i].URL().ID.String()
		want = append(want, "---- "+server, "---- "+server+"/a", "chan "+server+"/a/b")
	}
	byPath := func(a, b string) int { return strings.Compare(a[5:], b[5:]) }
	slices.SortFunc(want, byPath)
	var got []string
	for e, err := range c.Root().ViewAll(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%v %v", e.Kind, e.Path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("listing is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestServerHandle(t *testing.T) {
	ways(t, func(t *testing.T, w *world, c *client.Client) {
		s := c.Server(w.servers[2].URL().ID)
		stat, err := s.Stat(t.Context())
		if err != nil || stat.ID != s.ID() || stat.Servers != 3 {
			t.Errorf("stat: %+v, %v", stat, err)
		}
		var text bytes.Buffer
		if err := s.Stacks(t.Context(), &text); err != nil || !strings.Contains(text.String(), "goroutine ") {
			t.Errorf("stacks: %d bytes, %v", text.Len(), err)
		}
		_, err = c.Server(12345).Stat(t.Context())
		wantKind(t, err, client.ErrNotFound)
	})
}

func TestSuicideAndJoin(t *testing.T) {
	w := newWorld(t, 2)
	c := w.dial(0)
	other := newWorld(t, 1)
	wantKind(t, c.Server(w.servers[0].URL().ID).Join(t.Context(), other.url(0)), client.ErrDenied)
	second := c.Server(w.servers[1].URL().ID)
	if err := second.Suicide(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-w.servers[1].Done()
	_, err := second.Stat(t.Context())
	wantKind(t, err, client.ErrUnreachable)

	alone, err := server.Start(t.Context(), server.Config{Addr: "127.0.0.1:0", DialFiles: t.TempDir() + "/servers", Key: w.servers[0].URL().Key})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(alone)
	if err := c.Server(w.servers[0].URL().ID).Join(t.Context(), alone.URL().String()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Server(alone.URL().ID).Stat(t.Context()); err != nil {
		t.Errorf("a server that joined: %v", err)
	}
}

// A program can hand its circuit on to others.
func TestURLOfMembers(t *testing.T) {
	w := newWorld(t, 2)
	c := w.dial(0)
	for m, err := range c.Servers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		u, err := c.URL(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(u.String(), u.Key.Encode()) {
			t.Errorf("%v tells the key", u)
		}
		d, err := client.Dial(t.Context(), u.Secret())
		if err != nil {
			t.Fatal(err)
		}
		if got := d.DialIn().ID; got != m.ID {
			t.Errorf("dialled in at %v, want %v", got, m.ID)
		}
		d.Close()
	}
}
