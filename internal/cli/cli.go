// Package cli is the command line of the circuit: one file for each command,
// named as the command. It turns arguments into calls of package client, and
// errors into messages and exit codes; only start, demo and keygen reach
// further. Its one caller is cmd/circuit, and the tests.
//
// Main keeps no state outside its Env, so that several may run at once. Data
// goes to standard output, everything else to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Env is the world that the program runs in. All fields are needed but Signals.
type Env struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Getenv reads an environment variable; unset is empty.
	Getenv func(name string) string
	// Environ is the whole environment, for the programs that demo starts.
	Environ []string
	// Signals brings interruptions: the first cancels the command, the second
	// ends it at once, whatever it waits for. Nil brings none.
	Signals <-chan os.Signal
	// IsTerminal reports whether one of the three files is a terminal.
	IsTerminal func(file any) bool
	// Executable is the program's own file, which demo starts servers from.
	Executable string
}

// errInterrupted is the cause of a context that a signal canceled.
var errInterrupted = errors.New("interrupted")

// app is one run of the program.
type app struct {
	env    Env
	stdout *output
	stderr io.Writer
	flags  globalFlags
	// lingers is set by commands that take their time after a signal.
	lingers atomic.Bool
	// second is closed by the second signal: end now.
	second chan struct{}
}

// Main runs the program and returns its exit code. It returns when the command
// has ended, or soon after a signal; then the command's goroutines may still
// run, and the caller is expected to exit.
func Main(ctx context.Context, env Env) int {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &app{env: env, stderr: &errorWriter{w: env.Stderr}, second: make(chan struct{})}
	a.stdout = &output{w: env.Stdout}

	ended := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { a.watchSignals(cancel, ended) })
	defer watcher.Wait()
	defer close(ended)
	defer cancel(nil)

	code := make(chan int, 1)
	go func() { code <- a.run(ctx) }()
	select {
	case c := <-code:
		return c
	case <-a.second:
	}
	select { // start and demo end at once what they have started
	case <-code:
	case <-time.After(atOnce):
		a.lastWord()
	}
	return exitInterrupted
}

// atOnce is how long a command has to end: after the first signal, unless it
// lingers, and after the second.
const atOnce = time.Second

// lastWordTime is how long standard error has to take the last word of a command
// that was given up.
const lastWordTime = 100 * time.Millisecond

// lastWord says that the command was given up. It may have been because nobody
// reads standard error.
func (a *app) lastWord() {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintf(a.stderr, "circuit: %v\n", errInterrupted)
	}()
	select {
	case <-said:
	case <-time.After(lastWordTime):
	}
}

// run executes the command named by the arguments and reports its failure.
func (a *app) run(ctx context.Context) int {
	root := a.rootCommand()
	root.SetArgs(a.env.Args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(ctx, cmd, err)
}

// watchSignals cancels the command at the first signal, and gives it up at the
// second, or when it is stuck in its files, until ended is closed.
func (a *app) watchSignals(cancel context.CancelCauseFunc, ended <-chan struct{}) {
	select {
	case <-a.env.Signals:
		cancel(errInterrupted)
	case <-ended:
		return
	}
	var stuck <-chan time.Time
	if !a.lingers.Load() {
		stuck = time.After(atOnce)
	}
	select {
	case <-a.env.Signals:
	case <-stuck:
	case <-ended:
		return
	}
	close(a.second)
}

// output is standard output. It remembers that nobody reads any more, which
// ends the program quietly.
type output struct {
	w      io.Writer
	broken error // the first failure of a write
}

// errOutput wraps a failure to write standard output.
type errOutput struct{ err error }

func (e *errOutput) Error() string {
	err := e.err
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return "cannot write standard output: " + plainError(err)
}

func (e *errOutput) Unwrap() error { return e.err }

// Write writes to standard output. After a failure all further writes fail.
func (o *output) Write(p []byte) (int, error) {
	if o.broken != nil {
		return 0, o.broken
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.broken = &errOutput{err}
		return n, o.broken
	}
	return n, nil
}

// isBrokenPipe reports whether err says that standard output's reader is gone.
func isBrokenPipe(err error) bool {
	var out *errOutput
	return errors.As(err, &out) && (errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe))
}
