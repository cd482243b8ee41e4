package cli

import "github.com/gocircuit/circuit/client"

const stderrHelp = `  circuit stderr /X88550014d4c82e4d/pippi
  circuit stderr --no-follow /X88550014d4c82e4d/build | tail

Usage: circuit stderr [--no-follow] [--offset N] PATH

Prints what a process wrote to its standard error, on standard output, in the
way of circuit stdout.

  --no-follow   end after what there is now
  --offset N    begin at this byte, counted from 0
`

func (a *app) stderrCommand() command {
	return a.outputCommand("stderr", "print what a process writes to its standard error", stderrHelp, (*client.Proc).Stderr)
}
