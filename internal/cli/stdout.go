package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const stdoutHelp = `  circuit stdout /X88550014d4c82e4d/pippi
  circuit stdout --no-follow /X88550014d4c82e4d/build | tail

Usage: circuit stdout [--no-follow] [--offset N] PATH

Prints what a process wrote to its standard output, from the oldest byte that is
kept, follows it as it writes, and ends when the process has closed it. Any
number of readers get the same, during and after the process's life.

  --no-follow   end after what there is now
  --offset N    begin at this byte, counted from 0

Exits 1, and says how many, if bytes are gone that it was to print. With -o json,
prints pieces as {"Offset":0,"Data":"base64"}, and gaps as {"Offset":9,"Lost":3}.
`

func (a *app) stdoutCommand() command {
	return a.outputCommand("stdout", "print what a process writes", stdoutHelp, (*client.Proc).Stdout)
}

// outputCommand is stdout or stderr.
func (a *app) outputCommand(name, short, help string, open func(*client.Proc, context.Context, ...client.OutputOption) *client.Output) command {
	var noFollow bool
	var from offset
	return command{
		use:   name + " PATH",
		short: short,
		help:  help,
		args:  [2]int{1, 1},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&noFollow, "no-follow", false, "end after what there is now")
			cmd.Flags().Var(&from, "offset", "begin at this byte")
		},
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				opts := []client.OutputOption{client.FromOffset(uint64(from))}
				if noFollow {
					opts = append(opts, client.NoFollow())
				}
				out := open(anchor.Proc(), ctx, opts...)
				err := a.copyOutput(name+" "+args[0], out)
				if cerr := out.Close(); err == nil {
					err = cerr
				}
				return err
			})
		},
	}
}

// copyOutput prints a process's output, and tells of bytes that are gone.
func (a *app) copyOutput(name string, out *client.Output) error {
	read := func() error { _, err := out.WriteTo(a.stdout); return err }
	if a.flags.json() {
		read = func() error { return a.outputJSON(out) }
	}
	missed := false
	for {
		err := read()
		var lost *client.LostError
		if !errors.As(err, &lost) {
			if err == nil && missed {
				return status(exitFailed)
			}
			return err
		}
		missed = true
		fmt.Fprintf(a.stderr, "circuit: %s: %v\n", name, lost)
		if a.flags.json() {
			if err := a.printJSON(struct{ Offset, Lost uint64 }{lost.Offset, lost.Bytes}); err != nil {
				return err
			}
		}
	}
}

// outputJSON prints output in pieces, until its end or a gap.
func (a *app) outputJSON(out *client.Output) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			piece := struct {
				Offset uint64
				Data   []byte
			}{out.Offset() - uint64(n), buf[:n]}
			if err := a.printJSON(piece); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
