// Command circuit is The Circuit: a server, and the command line by which
// people use servers. It hands its arguments, files and signals to internal/cli
// and exits with the code that comes back.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/gocircuit/circuit/internal/cli"
)

func main() {
	stop := signals() // first of all: whoever starts a server may end it at once
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	os.Exit(cli.Main(context.Background(), cli.Env{
		Args:       os.Args[1:],
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Getenv:     os.Getenv,
		Environ:    os.Environ(),
		Signals:    stop,
		IsTerminal: isTerminal,
		Executable: executable,
	}))
}

// signals returns the interruptions of this program. What its parent had it
// ignore, as nohup does, stays ignored.
func signals() <-chan os.Signal {
	stop := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(stop, s)
		}
	}
	// A write to a pipe that nobody reads is to fail, not to kill a server. The
	// signal is caught rather than ignored, for children inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return stop
}

func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
