package cli

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const stdinHelp = `  circuit stdin /X88550014d4c82e4d/sort < names.txt
  cat /dev/null | circuit stdin /X88550014d4c82e4d/pippi

Usage: circuit stdin PATH

Copies its own standard input into that of a process, then closes it. If it is
cut off before, the process's input stays open, and the next stdin goes on.
One writer feeds a process at a time; others wait their turn.

Exits 8 if the process ended, or its input was closed, before it took
everything; or before standard input ended, even if nothing came. Where the
process has ended and there is nothing to copy, it exits 0.
`

func (a *app) stdinCommand() command {
	return command{
		use:      "stdin PATH",
		short:    "feed a process, then close its input",
		help:     stdinHelp,
		args:     [2]int{1, 1},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				return a.feed(ctx, anchor.Proc())
			})
		},
	}
}

// lastInput is how long standard input has, once the process has ended and
// nothing was copied, to say that there was nothing to copy, which is no failure.
const lastInput = time.Second

// feed copies standard input into a process.
func (a *app) feed(ctx context.Context, p *client.Proc) error {
	a.noteTerminal("the process's input")
	w := p.Stdin(ctx)
	turn := a.patient("waiting for another writer to finish, or for an answer about " + p.Path().String())
	defer turn()
	var some atomic.Bool
	over, left := make(chan struct{}), make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(left)
	watch.Go(func() {
		defer close(over)
		select {
		case <-w.Done():
		case <-left:
		}
		if !some.Load() {
			select {
			case <-time.After(lastInput):
			case <-left:
			}
		}
	})
	in := a.input(ctx, over)
	_, err := w.ReadFrom(readerFunc(func(b []byte) (int, error) {
		turn()
		n, err := in.Read(b)
		if n > 0 {
			some.Store(true)
		}
		return n, err
	}))
	if errors.Is(err, errEnded) {
		// The input takes no more; Close says whether that is a failure.
		if err := w.Close(); err != nil {
			return err
		}
		return &client.Error{Kind: client.ErrClosed, Err: errors.New("the process took no more before the input ended")}
	}
	if err != nil && ctx.Err() != nil {
		if detached := w.Detach(); inDoubt(detached) {
			return detached
		}
	}
	if err != nil && err != io.EOF {
		return err
	}
	return w.Close()
}
