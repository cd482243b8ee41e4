package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const completionHelp = `  source <(circuit completion bash)
  circuit completion zsh > "${fpath[1]}/_circuit"

Usage: circuit completion bash|zsh|fish

Prints a script that lets the shell complete commands, flags and the paths of
live anchors. In bash it needs the package bash-completion. For fish:

  circuit completion fish > ~/.config/fish/completions/circuit.fish
`

// completionLimit is how long the shell waits for paths.
const completionLimit = 700 * time.Millisecond

// completionMost is how many paths are offered.
const completionMost = 1000

func (a *app) completionCommand() command {
	shells := []string{"bash", "zsh", "fish"}
	return command{
		use:      "completion bash|zsh|fish",
		short:    "print a script that completes in your shell",
		help:     completionHelp,
		args:     [2]int{1, 1},
		local:    true,
		plain:    true,
		complete: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		run: func(_ context.Context, cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			}
			return usageErrorf(cmd, "%q: expected %s", args[0], strings.Join(shells, ", "))
		},
	}
}

// completePath completes a path from what is there now. It is silent about
// errors: the shell's line is no place for them.
func (a *app) completePath(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || slices.Contains(a.flags.dial, "-") {
		return nil, none
	}
	if !strings.HasPrefix(word, "/") {
		return []string{"/"}, none | cobra.ShellCompDirectiveNoSpace
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
	defer cancel()
	var paths []string
	directive := none
	_ = a.reach(ctx, word[:strings.LastIndex(word, "/")+1], func(parent *client.Anchor) error {
		for e, err := range parent.View(ctx) {
			if err != nil || len(paths) == completionMost {
				return err
			}
			path := e.Path.String()
			if !strings.HasPrefix(path, word) {
				continue
			}
			if e.Kind == client.KindNone {
				path += "/" // there is, or can be, something below
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			paths = append(paths, path)
		}
		return nil
	})
	return paths, directive
}
