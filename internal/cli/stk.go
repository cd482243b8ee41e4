package cli

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const stkHelp = `  circuit stk /X88550014d4c82e4d
  circuit stk /X88550014d4c82e4d | grep -c ^goroutine

Usage: circuit stk /X...

Prints the stacks of a server's goroutines, to find out what it is doing.
`

func (a *app) stkCommand() command {
	return command{
		use:      "stk /X...",
		short:    "print the goroutine stacks of a server",
		help:     stkHelp,
		args:     [2]int{1, 1},
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.askServer(ctx, args[0], func(ctx context.Context, s *client.Server) error {
				if !a.flags.json() {
					return s.Stacks(ctx, a.stdout)
				}
				var b bytes.Buffer
				if err := s.Stacks(ctx, &b); err != nil {
					return err
				}
				return a.printJSON(struct{ Stacks string }{b.String()})
			})
		},
	}
}
