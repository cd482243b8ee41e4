package cli

import (
	"context"
	"errors"
	"io"

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
everything.
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

// feed copies standard input into a process.
func (a *app) feed(ctx context.Context, p *client.Proc) error {
	a.noteTerminal("the process's input")
	w := p.Stdin(ctx)
	turn := a.patient("waiting for another writer to finish, or for an answer about " + p.Path().String())
	defer turn()
	in := a.input(ctx, w.Done())
	_, err := w.ReadFrom(readerFunc(func(b []byte) (int, error) {
		turn()
		return in.Read(b)
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
