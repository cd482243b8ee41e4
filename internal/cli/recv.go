package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const recvHelp = `  circuit recv /X88550014d4c82e4d/this/is/charlie > got
  circuit recv --all /X88550014d4c82e4d/work | while read -r job; do ...; done

Usage: circuit recv [-n N | --all] PATH

Waits for a message of a channel and prints it as it is. Exits 0 only once the
circuit has confirmed that nobody else gets it; if recv is cut off before, another
receiver gets it, marked as redelivered, which recv tells on standard error.

  -n N    receive this many messages
  --all   receive until the channel is closed and drained, and then exit 0

Exits 8 if the channel is closed and drained, or scrubbed. With -o json, prints
each message as {"Redelivered":false,"Data":"base64"}.

From a subscription (mk@join, mk@leave), recv receives in the same way, a message
an event, and prints the path of the server that joined or left, on a line. Where
events were given up because too many waited, it prints a line with overflow and
how many, and exits 1 in the end, also where that is a scrub, for which it exits 8
otherwise; circuit ls / tells who is there. With -o json:
Change (present, joined, left, failed or overflow), Path, Address, Version, Time,
and where they say something, Lost and Redelivered.
`

func (a *app) recvCommand() command {
	var all bool
	n := count(1)
	return command{
		use:   "recv PATH",
		short: "receive messages from a channel, or events from a subscription",
		help:  recvHelp,
		args:  [2]int{1, 1},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().VarP(&n, "number", "n", "receive this many messages")
			cmd.Flags().BoolVar(&all, "all", false, "receive until the channel is closed")
		},
		complete: a.completePath,
		run: func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if all && cmd.Flags().Changed("number") {
				return usageErrorf(cmd, "-n and --all exclude each other")
			}
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				element, err := anchor.Get(ctx)
				if sub, ok := element.(*client.Subscription); ok {
					return a.receiveEvents(args[0], sub.Receiver(ctx), int(n), all)
				}
				if err != nil {
					return about("recv", err)
				}
				return a.receive(args[0], anchor.Chan().Receiver(ctx), int(n), all)
			})
		},
	}
}

// receive receives and prints n messages, or all until the channel is closed.
func (a *app) receive(path string, r *client.Receiver, n int, all bool) (err error) {
	defer func() {
		if cerr := r.Close(); err == nil || inDoubt(cerr) {
			err = cerr
		}
	}()
	if all {
		for m, err := range r.All() {
			if err == nil {
				err = a.printMessage(path, m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for range n {
		m, err := r.Next()
		if err == nil {
			err = a.printMessage(path, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printMessage prints one message, and acknowledges it once it is printed.
func (a *app) printMessage(path string, m *client.Message) error {
	if m.Redelivered() {
		fmt.Fprintf(a.stderr, "circuit: recv %s: this message is redelivered; another receiver may have used it\n", path)
	}
	var err error
	if a.flags.json() {
		err = a.messageJSON(m)
	} else {
		_, err = m.WriteTo(a.stdout)
	}
	if err != nil {
		return err
	}
	return m.Ack()
}

// messageJSON prints a message of any length as one line of JSON.
func (a *app) messageJSON(m *client.Message) error {
	if _, err := fmt.Fprintf(a.stdout, `{"Redelivered":%t,"Data":"`, m.Redelivered()); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, a.stdout)
	if _, err := m.WriteTo(enc); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(a.stdout, "\"}\n")
	return err
}

// receiveEvents receives and prints n events, or all until an error.
func (a *app) receiveEvents(path string, r *client.EventReceiver, n int, all bool) (err error) {
	defer func() {
		if cerr := r.Close(); err == nil || inDoubt(cerr) {
			err = cerr
		}
	}()
	missed := false
	for i := 0; all || i < n; i++ {
		e, err := r.Next()
		if err == nil {
			err = a.printEvent(path, e)
		}
		if missed && errors.Is(err, client.ErrClosed) { // not all of them
			fmt.Fprintf(a.stderr, "circuit: %s\n", plainError(err))
			break
		}
		if err != nil {
			return err
		}
		r.Ack()
		missed = missed || e.Change == client.Overflowed
	}
	if missed {
		return status(exitFailed)
	}
	return nil
}

// printEvent prints one event.
func (a *app) printEvent(path string, e client.Event) error {
	if e.Redelivered {
		fmt.Fprintf(a.stderr, "circuit: recv %s: this event is redelivered; another receiver may have used it\n", path)
	}
	line := e.Path.String()
	if e.Change == client.Overflowed {
		line = fmt.Sprintf("%s %d", e.Change, e.Lost)
		fmt.Fprintf(a.stderr, "circuit: recv %s: too many events waited; lost: %d; circuit ls / tells which servers there are now\n", path, e.Lost)
	}
	if a.flags.json() {
		return a.printJSON(e)
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}
