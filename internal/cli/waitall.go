package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const waitallHelp = `  circuit ls /X88550014d4c82e4d/jobs/... | grep ^proc | circuit waitall
  printf '%s\n' /X88550014d4c82e4d/a /X938fe923bcdef239/b | circuit waitall

Usage: circuit waitall < PATHS

Waits until all processes have ended whose paths stand on standard input, one to
a line, alone or as circuit ls prints them. Exits 0 if all exited 0, else 7; tells
each failure on standard error at once, and with --timeout, in the end, those that
have not ended. With -o json, prints the state of each as it ends.
`

// waitallWidth is how many processes are waited for at once. More wait until
// one of these has ended.
const waitallWidth = 1000

func (a *app) waitallCommand() command {
	return command{
		use:   "waitall",
		short: "wait until many processes have ended",
		help:  waitallHelp,
		run: func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			a.noteTerminal("paths")
			return a.waitAll(ctx, c)
		},
	}
}

// waitAll waits for all processes that standard input names.
func (a *app) waitAll(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := waiting{app: a, client: c, room: make(chan struct{}, waitallWidth)}
	lines := bufio.NewScanner(a.input(ctx, nil))
	for lines.Scan() {
		_, path, ok := strings.Cut(lines.Text(), "/")
		if !ok {
			if strings.TrimSpace(lines.Text()) != "" {
				w.fail(lines.Text(), "is no path")
			}
			continue
		}
		path = "/" + strings.TrimSpace(path)
		select {
		case w.room <- struct{}{}:
			w.all.Go(func() { w.one(ctx, path) })
		case <-ctx.Done():
			w.leave(path)
		}
	}
	if lines.Err() != nil {
		cancel()
	}
	w.all.Wait()
	switch err := w.givenUp(ctx, lines.Err()); {
	case err != nil:
		return err
	case w.broken != nil:
		return w.broken
	case w.failed > 0:
		return status(exitSome)
	}
	return nil
}

// waiting is what the waits of one waitall share.
type waiting struct {
	app    *app
	client *client.Client
	room   chan struct{}
	all    sync.WaitGroup

	mu     sync.Mutex
	failed int
	left   []string // paths that were given up
	broken error    // standard output failed
}

// one waits for one process.
func (w *waiting) one(ctx context.Context, path string) {
	defer func() { <-w.room }()
	anchor, err := w.client.Walk(path)
	var stat client.ProcStat
	if err == nil {
		stat, err = anchor.Proc().Wait(ctx)
	}
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, client.ErrTimeout)):
		w.leave(path)
		return
	case err != nil:
		w.fail("", plainError(at("waitall", path, about("waitall", err))))
		return
	case stat.Phase == client.LostProc:
		w.fail("waitall "+path, "its server was killed; what became of it is not known")
	case stat.ExitCode != 0 && stat.Exit != nil:
		w.fail("waitall "+path, *stat.Exit)
	}
	if w.app.flags.json() {
		w.mu.Lock()
		defer w.mu.Unlock()
		err := w.app.printJSON(struct {
			Path string
			client.ProcStat
		}{path, procState(stat)})
		if w.broken == nil {
			w.broken = err
		}
	}
}

// leave notes a process whose end is not waited for any more.
func (w *waiting) leave(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = append(w.left, path)
}

// givenUp returns why not all processes were waited for, nil if all were; input
// is what reading the paths failed with. Where time was up, it names those that
// had not ended.
func (w *waiting) givenUp(ctx context.Context, input error) error {
	err := input
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && len(w.left) > 0 { // a server noticed before we did
		err = &client.Error{Kind: client.ErrTimeout}
	}
	err = overdue(ctx, err)
	if errors.As(err, new(*gaveUp)) {
		slices.Sort(w.left)
		for _, path := range w.left {
			fmt.Fprintf(w.app.stderr, "circuit: waitall %s: has not ended\n", path)
		}
	}
	return err
}

// fail counts and tells one failure.
func (w *waiting) fail(what, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed++
	if what != "" {
		what += ": "
	}
	fmt.Fprintf(w.app.stderr, "circuit: %s%s\n", what, why)
}
