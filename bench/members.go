package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/client"
)

// members is a kind of servers whose presence is measured. It may be used by many
// goroutines at once.
type members interface {
	// start starts a server, which joins a seed if there is one, and returns once
	// it listens.
	start(seed *member) (*member, error)
	// watch lets the views be told what the server sees, from its present view on.
	watch(ctx context.Context, m *member) error
	// unwatch ends that, and leaves nothing of it at the server.
	unwatch(ctx context.Context, m *member)
}

// member is one server of such a kind.
type member struct {
	*server
	id      string // by which the others know it
	watcher *watcher
	doomed  atomic.Bool // its end is being brought about
}

// leave lets the server leave as it does on TERM.
func (m *member) leave() { m.cmd.Process.Signal(syscall.SIGTERM) }

// freeze stops the process; the kernel keeps its connections.
func (m *member) freeze() { m.cmd.Process.Signal(syscall.SIGSTOP) }

// gossipers are servers of memberlist or serf. They tell what they see from the
// start, on their standard output, stamped by themselves.
type gossipers struct {
	role  string
	views *views
	named atomic.Int64
}

func (g *gossipers) start(seed *member) (*member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprint("s", g.named.Add(1))
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+g.role, roleVariable+"_NAME="+name)
	if seed != nil {
		cmd.Env = append(cmd.Env, roleVariable+"_SEED="+seed.url)
	}
	cmd.Stderr = os.Stderr
	s, err := spawn(cmd, func(line string) {
		subject, present, at, err := heard(line)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", g.role, err)
			return
		}
		g.views.tell(name, subject, present, at)
	})
	return &member{server: s, id: name}, err
}

func (*gossipers) watch(context.Context, *member) error { return nil }
func (*gossipers) unwatch(context.Context, *member)     {}

// circuits are servers of the circuit. What one sees is read by a client of it,
// from subscriptions, stamped by the server.
type circuits struct {
	lab   *lab
	views *views
}

func (c *circuits) start(seed *member) (*member, error) {
	var join *server
	if seed != nil {
		join = seed.server
	}
	s, err := c.lab.launch(join)
	if err != nil {
		return nil, err
	}
	u, err := circuit.ParseURL(s.url)
	if err != nil {
		s.kill()
		return nil, err
	}
	return &member{server: s, id: u.ID.Path().String()}, nil
}

// watcher is what reads the view of one server.
type watcher struct {
	client        *client.Client
	subscriptions []*client.Subscription
	stop          context.CancelFunc
	reading       sync.WaitGroup
}

func (c *circuits) watch(ctx context.Context, m *member) error {
	ready, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	dialled, err := c.lab.dial(ready, m.server)
	if err != nil {
		return err
	}
	w := &watcher{client: dialled}
	ctx, w.stop = context.WithCancel(ctx)
	m.watcher = w
	a := dialled.Server(dialled.DialIn().ID).Anchor()
	for name, make := range map[string]func(*client.Anchor, context.Context) (*client.Subscription, error){
		"joins": (*client.Anchor).MakeOnJoin, "leaves": (*client.Anchor).MakeOnLeave,
	} {
		at, err := a.Walk(name)
		if err != nil {
			return err
		}
		s, err := make(at, ready)
		if err != nil {
			return err
		}
		w.subscriptions = append(w.subscriptions, s)
		w.reading.Go(func() { c.read(ctx, m, s) })
	}
	return nil
}

// dialPatience is how long a client may take to dial in and subscribe, while all
// servers start at once.
const dialPatience = time.Minute

// read tells the views what a subscription tells, until the server is gone or is
// no longer watched.
func (c *circuits) read(ctx context.Context, m *member, s *client.Subscription) {
	for e, err := range s.All(ctx, client.Credit(1000)) {
		switch {
		case err == nil && e.Change == circuit.Overflowed:
			err = errors.New("events are missing")
		case err == nil:
			c.views.tell(m.id, e.Path.String(), e.Change == circuit.Present || e.Change == circuit.Joined, e.Time)
			continue
		}
		if ctx.Err() == nil && !m.doomed.Load() {
			fmt.Fprintf(os.Stderr, "what %s sees: %v\n", m.id, err)
		}
		return
	}
}

func (c *circuits) unwatch(ctx context.Context, m *member) {
	w := m.watcher
	if w == nil {
		return
	}
	m.watcher = nil
	w.stop()
	w.reading.Wait()
	for _, s := range w.subscriptions {
		if m.doomed.Load() {
			break
		}
		ctx, cancel := context.WithTimeout(ctx, dialPatience)
		if err := s.Scrub(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "scrubbing at %s: %v\n", m.id, err)
		}
		cancel()
	}
	w.client.Close()
	c.views.forget(m.id)
}
