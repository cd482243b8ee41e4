package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const joinHelp = `  circuit join /X88550014d4c82e4d circuit://10.0.0.2:11088/411/Q938fe923bcdef239
  circuit join /X88550014d4c82e4d @other-url

Usage: circuit join /X... URL

Lets a running server, with its whole circuit, join the circuit that URL leads
to, and returns once the two are one. Both must have the same key. URL may be
@FILE or -, as for -d.
`

func (a *app) joinCommand() command {
	return command{
		use:      "join /X... URL",
		short:    "merge two running circuits",
		help:     joinHelp,
		args:     [2]int{2, 2},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			urls, err := a.urlArguments(ctx, "join", args[1])
			if err != nil {
				return err
			}
			return a.askServer(ctx, args[0], func(ctx context.Context, s *client.Server) error {
				return s.Join(ctx, urls[0])
			})
		},
	}
}

// askServer is ask for commands about a server itself.
func (a *app) askServer(ctx context.Context, path string, f func(context.Context, *client.Server) error) error {
	p, err := client.ParsePath(path)
	if err == nil && !p.IsServer() {
		err = &client.Error{Kind: client.ErrInvalid, Err: errNotServer}
	}
	if err != nil {
		return err
	}
	return a.ask(ctx, path, func(ctx context.Context, anchor *client.Anchor) error {
		return f(ctx, anchor.Server())
	})
}
