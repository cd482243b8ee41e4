package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const mkchanHelp = `  circuit mkchan /X88550014d4c82e4d/this/is/charlie 3
  circuit mkchan /X88550014d4c82e4d/handover

Usage: circuit mkchan PATH [CAP]

Makes a channel at a free anchor. CAP is how many messages its buffer can hold, as
with Go's channels. Without it a send waits for a receiver.
`

func (a *app) mkchanCommand() command {
	return command{
		use:      "mkchan PATH [CAP]",
		short:    "make a channel",
		help:     mkchanHelp,
		args:     [2]int{1, 2},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, cmd *cobra.Command, args []string) error {
			var capacity count
			if len(args) == 2 {
				if err := capacity.Set(args[1]); err != nil {
					return usageErrorf(cmd, "CAP %q: %w", args[1], err)
				}
			}
			return a.ask(ctx, args[0], func(ctx context.Context, anchor *client.Anchor) error {
				_, err := anchor.MakeChan(ctx, int(capacity))
				return err
			})
		},
	}
}
