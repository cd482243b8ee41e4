package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const waitHelp = `  circuit wait /X88550014d4c82e4d/build && echo built
  circuit wait --timeout 10m -o json /X88550014d4c82e4d/build | jq .CPUTime

Usage: circuit wait PATH

Waits until a process has ended, prints its state as circuit peek does, and exits
with the process's own exit code: 128+n if signal n ended it.

Its own failures are 125 (the circuit failed, or was called wrongly), 124
(--timeout passed) and 130 (interrupted), always with a line on standard error.
`

func (a *app) waitCommand() command {
	return command{
		use:      "wait PATH",
		short:    "wait until a process ends, and exit as it did",
		help:     waitHelp,
		args:     [2]int{1, 1},
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				stat, err := anchor.Proc().Wait(ctx)
				if err != nil {
					return err
				}
				if err := a.printState(procState(stat)); err != nil {
					return err
				}
				if stat.Phase == client.LostProc {
					return &client.Error{Kind: client.ErrLost, Err: errors.New("its server was killed; what became of it is not known")}
				}
				return status(stat.ExitCode)
			})
		},
	}
}
