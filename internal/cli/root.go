package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gocircuit/circuit/client"
)

// globalFlags are the flags that every command takes.
type globalFlags struct {
	dial    []string
	key     string
	timeout duration
	output  format
}

// json reports whether -o json was given.
func (g *globalFlags) json() bool { return g.output == formatJSON }

// command is what every command is made of: cobra's command, with the help
// written by hand and arguments counted in our words.
type command struct {
	use   string // name and arguments: "mkchan PATH [CAP]"
	short string // a few words
	help  string // the help text, from the examples on
	args  [2]int // fewest and most arguments
	run   func(ctx context.Context, cmd *cobra.Command, args []string) error
	// complete completes arguments, flags those of the command; nil for none.
	complete cobra.CompletionFunc
	flags    func(cmd *cobra.Command)
	// local marks commands that dial no server: -d and --timeout make no sense.
	local bool
	// patient marks commands that --timeout does not end as a whole.
	patient bool
	// plain marks commands without anything that -o could change.
	plain bool
}

// build makes the cobra command.
func (a *app) build(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   c.use,
		Short:                 c.short,
		Long:                  c.help,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	if c.complete != nil {
		cmd.ValidArgsFunction = c.complete
	}
	if c.flags != nil {
		c.flags(cmd)
	}
	if !c.local {
		flags := "-d, --key, --timeout and -o"
		if c.plain {
			flags = "-d, --key and --timeout"
		}
		cmd.Annotations = map[string]string{dialsAnnotation: flags}
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < c.args[0] || len(args) > c.args[1] {
			return usageErrorf(cmd, "expected %s, got %s", orNone(expected(cmd)), countArgs(len(args)))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.checkGlobals(cmd, c); err != nil {
			return err
		}
		return a.runLimited(cmd, c, args)
	}
	return cmd
}

// dialsAnnotation marks cobra commands that dial a server; its value is the
// flags of all commands that this one takes.
const dialsAnnotation = "dials"

// expected returns the arguments of cmd as its help spells them.
func expected(cmd *cobra.Command) string {
	_, args, _ := strings.Cut(cmd.Use, " ")
	return args
}

func orNone(s string) string {
	if s == "" {
		return "no arguments"
	}
	return s
}

func countArgs(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// checkGlobals refuses global flags that would be ignored silently.
func (a *app) checkGlobals(cmd *cobra.Command, c command) error {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case c.local && given("dial"):
		return usageErrorf(cmd, "-d names a server to dial, and %s dials none", cmd.Name())
	case c.local && given("timeout"):
		return usageErrorf(cmd, "there is no --timeout here")
	case c.plain && given("output"):
		return usageErrorf(cmd, "there is no -o here")
	}
	return checkEmpty(cmd)
}

// checkEmpty refuses texts that are given and empty, as of a variable that is not
// set: they would count as not given.
func checkEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() != "string" || f.Value.String() != "" || err != nil {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		err = usageErrorf(cmd, "%s is empty", name)
	})
	return err
}

// rootCommand assembles the program.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "circuit",
		Short:             "run and synchronize processes across machines",
		Long:              rootHelp,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.env.Stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(a.printHelp)
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }

	flags := root.PersistentFlags()
	flags.StringArrayVarP(&a.flags.dial, "dial", "d", nil, "dial in to this server: a URL, @FILE, or - for standard input")
	flags.StringVar(&a.flags.key, "key", "", "file with the circuit's key")
	flags.Var(&a.flags.timeout, "timeout", "give up after this long")
	flags.VarP(&a.flags.output, "output", "o", "text or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("timeout", cobra.NoFileCompletions)

	for _, c := range a.commands() {
		root.AddCommand(a.build(c))
	}
	root.SetHelpCommand(a.build(a.helpCommand()))
	return root
}

// commands returns all commands but help, in the order of the help.
func (a *app) commands() []command {
	return []command{
		a.startCommand(), a.joinCommand(), a.serversCommand(), a.overlayCommand(), a.stkCommand(), a.suicideCommand(),
		a.lsCommand(), a.peekCommand(), a.scrubCommand(),
		a.mkprocCommand(), a.stdinCommand(), a.stdoutCommand(), a.stderrCommand(),
		a.signalCommand(), a.waitCommand(), a.waitallCommand(),
		a.mkchanCommand(), a.sendCommand(), a.recvCommand(), a.closeCommand(),
		a.mkjoinCommand(), a.mkleaveCommand(),
		a.keygenCommand(), a.demoCommand(), a.versionCommand(), a.completionCommand(), a.manCommand(),
	}
}

// runLimited runs a command within --timeout. An error that it ends with says
// which command failed, and on what.
func (a *app) runLimited(cmd *cobra.Command, c command, args []string) error {
	ctx := cmd.Context()
	if !c.patient {
		var cancel context.CancelFunc
		ctx, cancel = a.withTimeout(ctx)
		defer cancel()
	}
	err := overdue(ctx, c.run(ctx, cmd, args))
	path := ""
	for _, arg := range args {
		if strings.HasPrefix(arg, "/") {
			path = arg
			break
		}
	}
	return at(cmd.Name(), path, err)
}

// withTimeout limits ctx to --timeout, if that was given.
func (a *app) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := time.Duration(a.flags.timeout)
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, &gaveUp{limit})
}

// overdue makes err say that --timeout passed, if that is what happened.
func overdue(ctx context.Context, err error) error {
	if client.KindOf(err) != client.ErrTimeout {
		return err
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < clockGrain {
		<-ctx.Done() // servers know the deadline, and their timers may be ahead of ours
	}
	var late *gaveUp
	if errors.As(context.Cause(ctx), &late) {
		return &client.Error{Kind: client.ErrTimeout, Err: withDoubt(late, err)}
	}
	return err
}

// inDoubt reports whether err says that a command was cut short and left an
// outcome unknown.
func inDoubt(err error) bool {
	return client.KindOf(err) != client.ErrLost && errors.Is(err, client.ErrLost)
}

// withDoubt returns why, and what err says about an outcome that is not known,
// if it says anything.
func withDoubt(why, err error) error {
	var e, doubt *client.Error
	if errors.As(err, &e) && errors.As(e.Err, &doubt) && doubt.Kind == client.ErrLost {
		return fmt.Errorf("%w; %w", why, doubt)
	}
	return why
}

// clockGrain is how much earlier than a deadline a server may notice it.
const clockGrain = 50 * time.Millisecond

// gaveUp is the cause of a context that --timeout ended.
type gaveUp struct{ after time.Duration }

func (g *gaveUp) Error() string { return fmt.Sprintf("gave up after %v, as --timeout says", g.after) }

// Is makes gaveUp a timeout to errors.Is.
func (g *gaveUp) Is(target error) bool { return target == context.DeadlineExceeded }
