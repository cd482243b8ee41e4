package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const serversHelp = `  circuit servers
  circuit servers -o json | jq -r 'select(.RoundTrip > 10000000) | .Path'

Usage: circuit servers

Lists the servers of the circuit, as the dial-in server knows them, and asks each
for its state, 64 at a time. A line holds

  PATH         the server's anchor
  ADDRESS      where it is reached
  AGE          how long the dial-in server has known it
  ROUND-TRIP   how long a small call takes, through the dial-in server and back
  NEIGHBOURS   how many servers it has a link with
  VERSION      of its software

A server that does not answer is named on standard error, and has - for what it
did not tell; then the exit code is 7. With -o json, times are in nanoseconds.

  --timeout TIME   how long to wait for a server that does not answer (2s)
`

func (a *app) serversCommand() command {
	return command{
		use:     "servers",
		short:   "list the servers and ask each how it is",
		help:    serversHelp,
		patient: true,
		run: func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.listServers(ctx, c)
		},
	}
}

// serverRow is a server as circuit servers -o json prints it.
type serverRow struct {
	Path       client.Path
	Address    string
	Version    string
	Joined     time.Time
	Age        time.Duration
	RoundTrip  *time.Duration // null if it did not answer
	Neighbours []client.Path  // null if it did not answer
}

func (a *app) listServers(ctx context.Context, c *client.Client) error {
	if !a.flags.json() {
		if err := a.printServer("PATH", "ADDRESS", "AGE", "ROUND-TRIP", "NEIGHBOURS", "VERSION"); err != nil {
			return err
		}
	}
	silent := 0
	for v, err := range c.ViewServers(ctx, a.viewOptions()...) {
		switch {
		case err != nil && v.ID == 0:
			return err
		case err != nil:
			silent++
			a.tellSilent("servers", err)
		}
		if err := a.printServerView(v, err == nil); err != nil {
			return err
		}
	}
	if silent > 0 {
		return status(exitSome)
	}
	return nil
}

// viewOptions is --timeout for what asks many servers.
func (a *app) viewOptions() []client.ViewOption {
	if a.flags.timeout == 0 {
		return nil
	}
	return []client.ViewOption{client.Patience(time.Duration(a.flags.timeout))}
}

// tellSilent tells of one server that does not answer, while the others do.
func (a *app) tellSilent(op string, err error) {
	fmt.Fprintf(a.stderr, "circuit: %s\n", plainError(at(op, "", err)))
}

func (a *app) printServerView(v client.ServerView, answered bool) error {
	row := serverRow{Path: v.ID.Path(), Address: v.Address, Version: v.Version, Joined: v.Joined, Age: max(0, time.Since(v.Joined))}
	trip, links := "-", "-"
	if answered {
		row.RoundTrip, row.Neighbours = &v.RoundTrip, paths(v.Stat.Neighbours)
		trip, links = fmt.Sprintf("%.2fms", v.RoundTrip.Seconds()*1000), fmt.Sprint(len(row.Neighbours))
	}
	if a.flags.json() {
		return a.printJSON(row)
	}
	return a.printServer(row.Path.String(), row.Address, age(row.Age), trip, links, orDash(strings.TrimPrefix(v.Version, "circuit ")))
}

func (a *app) printServer(path, address, age, trip, links, version string) error {
	_, err := fmt.Fprintf(a.stdout, "%-18s %-21s %8s %10s %10s %s\n", path, address, age, trip, links, version)
	return err
}

// age is a length of time in its two largest units.
func age(d time.Duration) string {
	s := int(d.Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%dh", s/86400, s/3600%24)
}
