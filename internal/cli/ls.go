package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const lsHelp = `  circuit ls /...
  circuit ls -l /X88550014d4c82e4d/this

Usage: circuit ls [-l] [PATH | PATH/...]

Lists the children of an anchor; with /... everything below it. Without a path,
lists the servers, as the dial-in server knows them. A line holds what the anchor
has, and its path:

  ---- /X88550014d4c82e4d                     no element, as all servers
  proc /X88550014d4c82e4d/pippi               a process
  chan /X88550014d4c82e4d/this/is/charlie     a channel
  @join /X88550014d4c82e4d/came               a subscription; also @leave

/... asks the servers; one that does not answer is named on standard error, the
others are listed, and the exit code is 7.

  -l               add a column with the state
  --timeout TIME   how long to wait for a server that does not answer (2s)
`

func (a *app) lsCommand() command {
	var long bool
	return command{
		use:   "ls [PATH]",
		short: "list anchors",
		help:  lsHelp,
		args:  [2]int{0, 1},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVarP(&long, "long", "l", false, "add a column with the state")
		},
		complete: a.completePath,
		patient:  true,
		run: func(ctx context.Context, cmd *cobra.Command, args []string) error {
			path := "/"
			if len(args) == 1 {
				path = args[0]
			}
			if path == "" {
				return usageErrorf(cmd, "the path is empty; without one, the servers are listed")
			}
			return a.ls(ctx, path, long)
		},
	}
}

// ls lists what path says.
func (a *app) ls(ctx context.Context, path string, long bool) error {
	top, all := strings.CutSuffix(strings.TrimRight(path, "/"), "/...")
	if top == "" {
		top = "/"
	}
	p, err := client.ParsePath(top)
	if err != nil {
		return err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if !all {
		limited, cancel := a.withTimeout(ctx)
		defer cancel()
		defer a.patient("still waiting for an answer about " + path)()
		return overdue(limited, a.printEntries(c.Anchor(p).View(limited), long, nil))
	}
	silent := 0
	err = a.printEntries(c.Anchor(p).ViewAll(ctx, a.viewOptions()...), long, func(err error) bool {
		if !p.IsRoot() || !oneServer(err) {
			return false
		}
		silent++
		a.tellSilent("ls", err)
		return true
	})
	if err == nil && silent > 0 {
		return status(exitSome)
	}
	return err
}

// oneServer reports whether err says that a server did not answer, while the
// listing goes on.
func oneServer(err error) bool {
	var e *client.Error
	if !errors.As(err, &e) || (e.Kind != client.ErrTimeout && e.Kind != client.ErrUnreachable) {
		return false
	}
	p, perr := client.ParsePath(e.Path)
	return perr == nil && !p.IsRoot()
}

// printEntries prints a listing as it comes. Errors that passed takes do not
// end it.
func (a *app) printEntries(entries iter.Seq2[client.Entry, error], long bool, passed func(error) bool) error {
	for e, err := range entries {
		switch {
		case err != nil && passed != nil && passed(err):
			continue
		case err != nil:
			return err
		case a.flags.json():
			err = a.printJSON(e)
		case long:
			_, err = fmt.Fprintf(a.stdout, "%-25s %s\n", fmt.Sprintf("%-4s %s", e.Kind, orDash(e.State)), e.Path)
		default:
			_, err = fmt.Fprintf(a.stdout, "%-4s %s\n", e.Kind, e.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
