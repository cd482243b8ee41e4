package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const suicideHelp = `  circuit suicide /X88550014d4c82e4d
  circuit ls -o json / | jq -r .Path | while read -r x; do circuit suicide "$x"; done

Usage: circuit suicide /X...

Lets a server leave the circuit, end the processes that it hosts, and exit, as if
it got the signal TERM.
`

// errNotServer is what is wrong with a path that is not a server's.
var errNotServer = errors.New("expected the anchor of a server, such as /X88550014d4c82e4d")

func (a *app) suicideCommand() command {
	return command{
		use:      "suicide /X...",
		short:    "stop a server",
		help:     suicideHelp,
		args:     [2]int{1, 1},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.askServer(ctx, args[0], func(ctx context.Context, s *client.Server) error {
				return s.Suicide(ctx)
			})
		},
	}
}
