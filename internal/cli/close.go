package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const closeHelp = `  circuit close /X88550014d4c82e4d/this/is/charlie
  circuit send --lines $C < list && circuit close $C

Usage: circuit close PATH

Closes a channel: it takes no more messages. Those in its buffer can still be
received; then recv exits 8. Exits 8 if the channel is closed already.
`

func (a *app) closeCommand() command {
	return command{
		use:      "close PATH",
		short:    "let no more messages into a channel",
		help:     closeHelp,
		args:     [2]int{1, 1},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.ask(ctx, args[0], func(ctx context.Context, anchor *client.Anchor) error {
				return anchor.Chan().Close(ctx)
			})
		},
	}
}
