package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const manHelp = `  circuit man | man -l -
  circuit man mkproc > circuit-mkproc.1

Usage: circuit man [COMMAND]
       circuit man --dir DIR

Prints a manual page: that of a command, or that of the whole program.

  --dir DIR   write all pages into this directory instead, as circuit.1,
              circuit-start.1 and so on; existing ones are replaced
`

func (a *app) manCommand() command {
	var dir string
	return command{
		use:   "man [COMMAND]",
		short: "print manual pages",
		help:  manHelp,
		args:  [2]int{0, 1},
		local: true,
		plain: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&dir, "dir", "", "write all pages into this directory")
			_ = cmd.MarkFlagDirname("dir")
		},
		complete: a.helpCommand().complete,
		run: func(_ context.Context, cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if dir != "" {
				if len(args) > 0 {
					return usageErrorf(cmd, "--dir writes all pages; name no command")
				}
				return writeManPages(root, dir)
			}
			if len(args) == 0 {
				return writeManPage(a.stdout, root)
			}
			found, _, err := root.Find(args)
			if err != nil || found == root {
				return unknownCommand(root, args[0])
			}
			return writeManPage(a.stdout, found)
		},
	}
}

// writeManPages writes the pages of root and of all its commands into dir.
func writeManPages(root *cobra.Command, dir string) error {
	pages := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			pages = append(pages, c)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range pages {
		var b strings.Builder
		if err := writeManPage(&b, c); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manName returns "circuit" or "circuit-mkproc".
func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// writeManPage writes one page in the man macros. The help texts are laid out
// by hand, and stay as they are.
func writeManPage(w io.Writer, c *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(manName(c)), roff(manName(c)), roff(c.Short))
	if !c.HasParent() {
		section(&b, "DESCRIPTION", c.Long)
		section(&b, "FLAGS AND ENVIRONMENT", flagsHelp)
		section(&b, "EXIT STATUS", codesHelp)
		b.WriteString(".SH SEE ALSO\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".BR %s (1)\n", roff(manName(sub)))
			}
		}
	} else {
		section(&b, "DESCRIPTION", c.Long)
		b.WriteString(".SH SEE ALSO\n.BR circuit (1)\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, title, text string) {
	fmt.Fprintf(b, ".SH %s\n.nf\n", title)
	for line := range strings.Lines(text) {
		line = roff(strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(".fi\n")
}

// roff escapes text.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}
