package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const mkjoinHelp = `  circuit mk@join /X88550014d4c82e4d/came && circuit recv --all /X88550014d4c82e4d/came
  circuit recv --all $S | while read -r x; do circuit mkproc $x/agent < agent.json; done

Usage: circuit mk@join PATH

Makes a subscription at a free anchor: it first tells of each server that is in
the circuit, and then of each that joins, as the server that hosts it sees it, in
order and each once. recv prints the paths of the servers. Several that receive
share them, as with a channel. What comes while nobody receives waits; beyond the
server's limit events (circuit help start) the oldest are given up, and recv tells
how many. circuit scrub removes the subscription.
`

func (a *app) mkjoinCommand() command {
	return a.subscribeCommand("mk@join", "subscribe to servers that join", mkjoinHelp, (*client.Anchor).MakeOnJoin)
}

// subscribeCommand is a command that makes a subscription.
func (a *app) subscribeCommand(name, short, help string, subscribe func(*client.Anchor, context.Context) (*client.Subscription, error)) command {
	return command{
		use:      name + " PATH",
		short:    short,
		help:     help,
		args:     [2]int{1, 1},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.ask(ctx, args[0], func(ctx context.Context, anchor *client.Anchor) error {
				_, err := subscribe(anchor, ctx)
				return err
			})
		},
	}
}
