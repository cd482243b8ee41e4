package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const peekHelp = `  circuit peek /X88550014d4c82e4d/pippi
  circuit peek -o json /X88550014d4c82e4d/this/is/charlie | jq .NumSend

Usage: circuit peek PATH

Prints the state of what an anchor holds, as JSON. A process:

  Cmd                     what it runs
  Exit                    null while it runs; then such as "exit status 7"
  Phase                   running, stopped, exited, signaled or lost
  ExitCode, Signal        how it ended: -1 while it runs, 128+n for signal n
  Pid, Started, Ended, CPUTime (nanoseconds), MaxRSS (bytes)
  Stdin, Stdout, Stderr   bytes written; of output also kept, given up, and why
                          the process is held back, if it is

A channel:

  Cap                     messages that its buffer can hold
  Closed, Aborted         closed to further messages; scrubbed
  NumSend, NumRecv        messages accepted, and confirmed by receivers
  Buffered, BufferedBytes, Senders, Receivers, Redelivered

A subscription:

  Kind                    @join or @leave
  Pending                 events that wait, those that receivers have included
  Overflow, Limit         events given up, and how many may wait
  NumEvents, NumRecv, Receivers, Redelivered

A server: its ID, Address, PID, Version, when it Started and Joined a circuit, how
much it hosts, and the paths of the Neighbours that it has links with.
`

func (a *app) peekCommand() command {
	return command{
		use:      "peek PATH",
		short:    "print the state of what an anchor holds",
		help:     peekHelp,
		args:     [2]int{1, 1},
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.ask(ctx, args[0], func(ctx context.Context, anchor *client.Anchor) error {
				state, err := peek(ctx, anchor)
				if err != nil {
					return err
				}
				return a.printState(state)
			})
		},
	}
}

// peek returns the state of what an anchor holds.
func peek(ctx context.Context, anchor *client.Anchor) (any, error) {
	element, err := anchor.Get(ctx)
	if err != nil {
		return nil, err
	}
	switch e := element.(type) {
	case *client.Proc:
		stat, err := e.Stat(ctx)
		return procState(stat), err
	case *client.Chan:
		return e.Stat(ctx)
	case *client.Subscription:
		return e.Stat(ctx)
	case *client.Server:
		stat, err := e.Stat(ctx)
		return serverState{stat, paths(stat.Neighbours)}, err
	case *client.Opaque:
		return client.Entry{Path: e.Path(), Kind: e.Kind(), Generation: e.Generation(), State: e.State()}, nil
	}
	return nil, &client.Error{Kind: client.ErrUnsupported}
}

// procState returns the state of a process as it is printed.
func procState(s client.ProcStat) client.ProcStat {
	if s.Cmd.Args == nil {
		s.Cmd.Args = []string{}
	}
	return s
}

// serverState is the state of a server as circuit peek prints it.
type serverState struct {
	client.ServerStat
	Neighbours []client.Path
}

// paths returns the anchors of servers, as lists of them are printed.
func paths(ids []client.ServerID) []client.Path {
	all := make([]client.Path, 0, len(ids))
	for _, id := range ids {
		all = append(all, id.Path())
	}
	return all
}
