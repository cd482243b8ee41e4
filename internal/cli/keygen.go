package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/internal/credential"
)

const keygenHelp = `  circuit keygen circuit.key
  circuit start --key circuit.key -a :11022 -j 10.0.0.1:11022

Usage: circuit keygen [FILE]

Makes the key of a new circuit: whoever has it may join, and run programs on all
servers. Writes it to a new file that only you can read, or prints it. Copy the
file to each machine, and give it to every command by --key or CIRCUIT_KEY; then
URLs hold no secret, and HOST:PORT is enough of one.

Without any of this, the first server makes a key of its own and prints it as
part of its URL.
`

func (a *app) keygenCommand() command {
	return command{
		use:   "keygen [FILE]",
		short: "make the key of a new circuit",
		help:  keygenHelp,
		args:  [2]int{0, 1},
		local: true,
		run: func(_ context.Context, _ *cobra.Command, args []string) error {
			key := credential.NewKey()
			if len(args) == 1 {
				return credential.SaveKey(args[0], key)
			}
			if a.flags.json() {
				return a.printJSON(struct{ Key string }{key.Encode()})
			}
			_, err := fmt.Fprintln(a.stdout, key.Encode())
			return err
		},
		complete: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
}
