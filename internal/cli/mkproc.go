package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const mkprocHelp = `  circuit mkproc /X88550014d4c82e4d/pippi << EOF
  {"Path": "/bin/ls", "Args": ["/"]}
  EOF
  circuit mkproc /X88550014d4c82e4d/build < build.json

Usage: circuit mkproc PATH < COMMAND

Runs a process on a server, at a free anchor, and returns once it runs. Reads
what to run from standard input, as one JSON object:

  Path      the program; without a slash, looked up in the server's PATH
  Args      its arguments, after its name
  Env       the whole environment, as ["NAME=VALUE"]; else the server's
  Dir       the working directory; else the server's
  Scrub     true: remove the element when the process ends
  Spool     how much of each output stream is kept, as "2GiB" ("64MiB")
  Overflow  when that is full: "block", hold the process back until someone has
            read (the default), or "drop", give up the oldest output
`

// maxCommand is more than a command may have, so that a longer one is told.
const maxCommand = 1<<20 + 1

func (a *app) mkprocCommand() command {
	return command{
		use:      "mkproc PATH",
		short:    "run a process on a server",
		help:     mkprocHelp,
		args:     [2]int{1, 1},
		plain:    true,
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				cmd, err := a.readCommand(ctx)
				if err != nil {
					return err
				}
				defer a.patient("still waiting for an answer about " + args[0])()
				_, err = anchor.MakeProc(ctx, cmd)
				return err
			})
		},
	}
}

// readCommand reads the command to run from standard input.
func (a *app) readCommand(ctx context.Context) (client.Cmd, error) {
	a.noteTerminal("the command")
	b, err := io.ReadAll(io.LimitReader(a.input(ctx, nil), maxCommand))
	if err != nil {
		return client.Cmd{}, err
	}
	return client.ParseCmd(b)
}
