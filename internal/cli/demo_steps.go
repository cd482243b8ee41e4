package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gocircuit/circuit/client"
)

// startServers starts three servers and dials into each.
func (t *tour) startServers(ctx context.Context) error {
	for i := range 3 {
		var join []string
		if i > 0 {
			join = []string{"-j", "@" + t.servers[0].file}
		}
		s, err := t.startServer(ctx, join...)
		if err != nil {
			return err
		}
		if i == 0 {
			t.typed("circuit start -a %s", s.url.Address())
		} else {
			t.typed("circuit start -a %s -j %s", s.url.Address(), t.servers[0].url)
		}
		t.say("   %s\n", s.url)
		c, err := client.Dial(ctx, s.url.Secret(), client.WithEnv(func(string) string { return "" }))
		if err != nil {
			return err
		}
		t.clients = append(t.clients, c)
	}
	_, err := t.awaitServers(ctx, t.clients, 3)
	return err
}

// list shows the whole hierarchy, as the second server sees it.
func (t *tour) list(ctx context.Context) error {
	t.typed("circuit ls /...")
	for e, err := range t.clients[1].Root().ViewAll(ctx) {
		if err != nil {
			return err
		}
		t.say("   %s %s\n", e.Kind, e.Path)
	}
	return nil
}

// runProcess runs a process on the third server by way of the first.
func (t *tour) runProcess(ctx context.Context) error {
	anchor, err := t.clients[0].Server(t.servers[2].url.ID).Anchor().Walk("hello")
	if err != nil {
		return err
	}
	t.typed(`echo '{"Path":"/bin/sh", "Args":["-c","echo hello from process $$; exit 7"]}' | circuit mkproc %s`, anchor)
	p, err := anchor.MakeProc(ctx, client.Cmd{Path: "/bin/sh", Args: []string{"-c", "echo hello from process $$; exit 7"}})
	if err != nil {
		return err
	}
	t.typed("circuit stdout %s", anchor)
	out, err := readOutput(ctx, p)
	if err != nil {
		return err
	}
	t.say("   %s\n", out)
	t.typed("circuit wait %s", anchor)
	stat, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	t.say("   it exited with code %d\n", stat.ExitCode)
	if !strings.HasPrefix(out, "hello from process ") || stat.ExitCode != 7 {
		return fmt.Errorf("the process was to say hello and to exit with code 7")
	}
	return p.Scrub(ctx)
}

// useChannel lets two processes on different servers pass a message through a
// channel: each is this very program as a client of its own server.
func (t *tour) useChannel(ctx context.Context) error {
	const message = "a message from one process to another"
	anchor, err := t.clients[0].Server(t.servers[0].url.ID).Anchor().Walk("mailbox")
	if err != nil {
		return err
	}
	t.typed("circuit mkchan %s 1", anchor)
	if _, err := anchor.MakeChan(ctx, 1); err != nil {
		return err
	}
	sender, err := t.runCircuit(ctx, 1, "sender", "send", anchor.String())
	if err != nil {
		return err
	}
	receiver, err := t.runCircuit(ctx, 2, "receiver", "recv", anchor.String())
	if err != nil {
		return err
	}
	t.typed("echo '%s' | circuit stdin %s", message, sender.Path())
	in := sender.Stdin(ctx)
	if _, err := io.WriteString(in, message+"\n"); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	t.typed("circuit stdout %s", receiver.Path())
	out, err := readOutput(ctx, receiver)
	if err != nil {
		return err
	}
	t.say("   %s\n", out)
	for _, p := range []*client.Proc{sender, receiver} {
		stat, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		if stat.ExitCode != 0 {
			return fmt.Errorf("%s exited with code %d", p.Path(), stat.ExitCode)
		}
	}
	if out != message {
		return fmt.Errorf("%q was received instead of %q", out, message)
	}
	return nil
}

// runCircuit runs this program as a process on a server, which it dials into.
func (t *tour) runCircuit(ctx context.Context, server int, name, verb, path string) (*client.Proc, error) {
	s := t.servers[server]
	anchor, err := t.clients[0].Server(s.url.ID).Anchor().Walk(name)
	if err != nil {
		return nil, err
	}
	t.typed(`echo '{"Path":"circuit", "Args":["%s","%s"]}' | circuit mkproc %s`, verb, path, anchor)
	return anchor.MakeProc(ctx, client.Cmd{Path: t.app.env.Executable, Args: []string{verb, "-d", "@" + s.file, path}})
}

// killServer kills the third server and waits until the others list it no more.
func (t *tour) killServer(ctx context.Context) error {
	t.typed("kill -KILL %d", t.servers[2].url.PID)
	t.servers[2].kill()
	began := time.Now()
	seen, err := t.awaitServers(ctx, t.clients[:2], 2)
	if err != nil {
		return err
	}
	t.typed("circuit ls /")
	for _, id := range seen {
		t.say("   ---- %s\n", id.Path())
	}
	t.say("   both of them knew %s after the kill\n", elapsed(began))
	if slices.Contains(seen, t.servers[2].url.ID) {
		return fmt.Errorf("the killed server is still listed")
	}
	return nil
}

// awaitServers waits until each of some clients lists n servers, and returns
// them.
func (t *tour) awaitServers(ctx context.Context, clients []*client.Client, n int) ([]client.ServerID, error) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var ids []client.ServerID
	for _, c := range clients {
		for ids = nil; len(ids) != n; {
			ids = nil
			for m, err := range c.Servers(ctx) {
				if err != nil {
					return nil, err
				}
				ids = append(ids, m.ID)
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return ids, nil
}

// readOutput returns all that a process writes to its standard output, without
// the last newline.
func readOutput(ctx context.Context, p *client.Proc) (string, error) {
	out := p.Stdout(ctx)
	defer out.Close()
	b, err := io.ReadAll(io.LimitReader(out, 64<<10))
	return strings.TrimSuffix(string(b), "\n"), err
}
