package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const scrubHelp = `  circuit scrub /X88550014d4c82e4d/pippi
  circuit scrub --kill --grace 2s /X88550014d4c82e4d/build

Usage: circuit scrub [--kill [--grace TIME] | --abandon] PATH

Removes what an anchor holds. A process's kept output goes with it, and whoever
is blocked on a channel gets an error. A process that still runs is removed only
with one of

  --kill         end it first, and all of its process group: by the signal
                 TERM, and KILL after the grace time
  --grace TIME   that time (the server's default if not given)
  --abandon      leave it running, nobody's; it still ends with its server
`

func (a *app) scrubCommand() command {
	var kill, abandon bool
	var grace duration
	return command{
		use:   "scrub PATH",
		short: "remove what an anchor holds",
		help:  scrubHelp,
		args:  [2]int{1, 1},
		plain: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&kill, "kill", false, "end a running process first")
			cmd.Flags().Var(&grace, "grace", "time between TERM and KILL")
			cmd.Flags().BoolVar(&abandon, "abandon", false, "leave a running process to itself")
		},
		complete: a.completePath,
		run: func(ctx context.Context, cmd *cobra.Command, args []string) error {
			var opts []client.ScrubOption
			switch {
			case kill && abandon:
				return usageErrorf(cmd, "--kill and --abandon exclude each other")
			case grace != 0 && !kill:
				return usageErrorf(cmd, "--grace goes with --kill")
			case kill:
				opts = append(opts, client.ScrubKill(time.Duration(grace)))
			case abandon:
				opts = append(opts, client.ScrubAbandon())
			}
			return a.ask(ctx, args[0], func(ctx context.Context, anchor *client.Anchor) error {
				return anchor.Scrub(ctx, opts...)
			})
		},
	}
}
