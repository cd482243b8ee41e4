package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// rootHelp is what circuit help prints: all commands on one screen.
const rootHelp = `The circuit runs and synchronizes processes across machines.

  circuit start -a 10.0.0.1:11022          start a server; it prints its URL
  circuit ls -d circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d /...

Servers                                Processes
  start    run a server                  mkproc    start a process
  join     merge two circuits            stdin     feed it, then close its input
  servers  list them, ask how they are   stdout    print what it writes
  overlay  the graph of their links      stderr    print its error output
  stk      goroutine stacks of one       signal    send it a signal
  suicide  stop one from afar            wait      wait until it ends
Anchors                                  waitall   wait for many
  ls       list them                   Channels, and who comes and goes
  peek     state of what one holds       mkchan    make a channel
  scrub    remove what one holds         send      send messages
This program                             recv      receive messages or events
  demo     a tour, on this machine       close     let no more messages in
  keygen   make a circuit's key          mk@join   subscribe to servers that join
  version, completion, man, help         mk@leave  subscribe to those that leave

-d URL (or CIRCUIT, a file that holds it) says where to dial in; without, the
newest server on this machine. circuit help COMMAND, help flags, help codes.
`

// flagsHelp is the topic about flags that every command takes.
const flagsHelp = `  circuit ls -d circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d /...
  circuit recv --timeout 5s -d @/run/circuit/url /X88550014d4c82e4d/charlie

These flags stand before or after any command's arguments.

  -d, --dial URL   Dial in to this server: a URL; @FILE, a file that holds it; or
                   -, the first line of standard input. All servers are equally
                   good. May be repeated: the first that answers is used, and
                   the others when it goes away. HOST:PORT is enough where a key
                   is configured.
  --key FILE       The circuit's key, in a file that only its owner can read.
  --timeout TIME   Give up after this long, as 500ms, 5s or 2m (exit code 124).
  -o json          Print JSON, one value to a line.

Environment:
  CIRCUIT          Where to dial in, if there is no -d: a file that holds the
                   URL, or the URL itself. Without both, circuit takes the newest
                   server that you run on this machine.
  CIRCUIT_KEY      As --key. Keys given in several ways must be the same.
  NO_COLOR         If set, no colours on terminals.
`

// codesHelp is the topic about exit codes.
const codesHelp = `  circuit recv /X88550014d4c82e4d/charlie > got || echo "not received: $?"
  circuit wait /X88550014d4c82e4d/pippi; echo "its own exit code: $?"

Exit codes:
    0  done
    1  failed; also: a limit is reached, data is gone, the outcome is unknown
    2  called wrongly
    3  not found
    4  the anchor is taken
    5  unreachable
    6  denied
    7  done for some, not for all
    8  closed
  124  --timeout passed
  130  interrupted

wait exits with the process's own code, 128+n if signal n ended it. Its own
failures are 125 (the circuit failed), 124 and 130 only, and always say why on
standard error. A cut connection is never exit code 0.
`

const helpHelp = `  circuit help
  circuit help mkproc

Usage: circuit help [COMMAND]

Explains a command, or lists all. circuit help flags explains the flags that
every command takes, circuit help codes the exit codes.
`

// topics are the helps that belong to no command.
func topics() map[string]string { return map[string]string{"flags": flagsHelp, "codes": codesHelp} }

func (a *app) helpCommand() command {
	return command{
		use:   "help [COMMAND]",
		short: "explain a command",
		help:  helpHelp,
		args:  [2]int{0, 1},
		local: true,
		plain: true,
		run:   a.help,
		complete: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names := []string{"flags", "codes"}
			for _, c := range cmd.Root().Commands() {
				if c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func (a *app) help(_ context.Context, cmd *cobra.Command, args []string) error {
	root := cmd.Root()
	if len(args) == 0 {
		return root.Help()
	}
	if text, ok := topics()[args[0]]; ok {
		_, err := fmt.Fprint(a.stdout, text)
		return err
	}
	found, _, err := root.Find(args)
	if err != nil || found == root {
		return unknownCommand(root, args[0])
	}
	return found.Help()
}

// printHelp prints a command's help text as it is written.
func (a *app) printHelp(cmd *cobra.Command, _ []string) {
	if !cmd.HasParent() {
		fmt.Fprint(a.stdout, cmd.Long)
		return
	}
	fmt.Fprintf(a.stdout, "circuit %s: %s\n\n%s", cmd.Name(), cmd.Short, cmd.Long)
	if flags, ok := cmd.Annotations[dialsAnnotation]; ok {
		fmt.Fprintf(a.stdout, "\n%s: see circuit help flags.\n", flags)
	}
}

// noteTerminal tells people at a terminal that a command waits for them to
// type.
func (a *app) noteTerminal(what string) {
	if a.env.IsTerminal(a.env.Stdin) {
		fmt.Fprintf(a.stderr, "circuit: reading %s from the terminal; end it with ctrl-D\n", strings.TrimSpace(what))
	}
}
