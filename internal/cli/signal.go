package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const signalHelp = `  circuit signal TERM /X88550014d4c82e4d/pippi
  circuit signal STOP /X88550014d4c82e4d/build

Usage: circuit signal NAME PATH

Sends a signal to a process, and to the others of its process group. NAME is
TERM, SIGTERM or the number that the hosting system gives it.

Exits 8 if the process, and all of its process group, has ended.
`

func (a *app) signalCommand() command {
	return command{
		use:   "signal NAME PATH",
		short: "send a signal to a process",
		help:  signalHelp,
		args:  [2]int{2, 2},
		plain: true,
		complete: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return a.completePath(cmd, args[1:], word)
			}
			names := []string{"TERM", "KILL", "INT", "HUP", "QUIT", "STOP", "CONT", "USR1", "USR2"}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.ask(ctx, args[1], func(ctx context.Context, anchor *client.Anchor) error {
				return anchor.Proc().Signal(ctx, args[0])
			})
		},
	}
}
