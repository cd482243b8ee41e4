package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const overlayHelp = `  circuit overlay
  circuit overlay -o dot | neato -Tsvg > overlay.svg

Usage: circuit overlay [-o FORMAT]

Asks all servers for their neighbours, 64 at a time, and prints what kind of graph
their links make:

  servers       how many there are
  links         between them; and how many only one end knows of
  degree        links that a server has, at least, at most and on average
  components    parts that are connected in themselves; 1 is as it should be
  |lambda2|/d   how well news spread and the circuit holds together, estimated: 0
                is best, 1 worst; and what the best large graphs of this degree
                have
  diameter      links between the farthest two servers, and between two on average

A server that does not answer is named on standard error; then the links are those
that others tell of, and the exit code is 7.

  -o FORMAT        text, json (with all servers and links) or dot, for the tools of
                   Graphviz; there, what only one end knows of is dashed
  --timeout TIME   how long to wait for a server that does not answer (2s)
`

func (a *app) overlayCommand() command {
	output := graphFormat{formatText}
	return command{
		use:     "overlay",
		short:   "what kind of graph the links between servers make",
		help:    overlayHelp,
		patient: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().VarP(&output, "output", "o", "text, json or dot")
			_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "dot"}, cobra.ShellCompDirectiveNoFileComp))
		},
		run: func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			o, err := c.Overlay(ctx, a.viewOptions()...)
			if err != nil {
				return err
			}
			return a.printOverlay(o, output.format)
		},
	}
}

// graphFormat is the -o flag of overlay.
type graphFormat struct{ format }

const formatDot format = "dot"

// Set implements pflag.Value.
func (f *graphFormat) Set(s string) error {
	switch v := format(s); v {
	case formatText, formatJSON, formatDot:
		f.format = v
		return nil
	}
	return errors.New("expected text, json or dot")
}

func (a *app) printOverlay(o *client.Overlay, as format) error {
	for _, s := range o.Servers {
		if s.Silent {
			a.tellSilent("overlay", s.Err)
		}
	}
	var err error
	switch as {
	case formatJSON:
		err = a.printJSON(o)
	case formatDot:
		_, err = a.stdout.Write(dot(o))
	default:
		_, err = a.stdout.Write(overlayText(o))
	}
	if err == nil && o.Silent > 0 {
		return status(exitSome)
	}
	return err
}

// overlayText tells of an overlay in a few lines.
func overlayText(o *client.Overlay) []byte {
	var b bytes.Buffer
	line := func(name, text string, args ...any) {
		fmt.Fprintf(&b, "%-12s "+text+"\n", append([]any{name}, args...)...)
	}
	servers := fmt.Sprint(len(o.Servers))
	if o.Silent > 0 {
		servers += fmt.Sprintf(", of which %d did not answer", o.Silent)
	}
	links := fmt.Sprintf("%d, all known at both ends", len(o.Links))
	if o.OneSided > 0 {
		links = fmt.Sprintf("%d, of which %d known at one end only", len(o.Links), o.OneSided)
	}
	parts := fmt.Sprint(len(o.Components))
	if len(o.Components) > 1 {
		parts += fmt.Sprintf(", of %s servers", strings.Trim(fmt.Sprint(o.Components), "[]"))
	}
	line("servers", "%s", servers)
	line("links", "%s", links)
	line("degree", "%d to %d, %.2f on average", o.MinDegree, o.MaxDegree, o.MeanDegree)
	line("components", "%s", parts)
	line("|lambda2|/d", "%.3f, ideal %.3f", o.Lambda2, o.Ideal)
	line("diameter", "%d, %.2f on average", o.Diameter, o.MeanDistance)
	return b.Bytes()
}

// dot draws an overlay in the language of Graphviz.
func dot(o *client.Overlay) []byte {
	var b bytes.Buffer
	b.WriteString("graph circuit {\n\tnode [shape=box];\n")
	style := map[bool]string{true: "dashed", false: "solid"}
	for _, s := range o.Servers {
		fmt.Fprintf(&b, "\t%q [label=%q, style=%s];\n", s.Path, s.Path.Base()+"\n"+s.Address, style[s.Silent])
	}
	for _, l := range o.Links {
		fmt.Fprintf(&b, "\t%q -- %q [style=%s];\n", l.A, l.B, style[l.OneSided])
	}
	b.WriteString("}\n")
	return b.Bytes()
}
