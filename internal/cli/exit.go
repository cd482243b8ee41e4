package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

// Exit codes. They are part of what users rely on; circuit help codes lists
// them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitTaken       = 4
	exitUnreachable = 5
	exitDenied      = 6
	exitSome        = 7
	exitClosed      = 8
	exitTimeout     = 124
	exitCircuit     = 125 // wait: the circuit failed, not the process
	exitInterrupted = 130
)

// errorCode returns the exit code for a kind of error.
func errorCode(kind client.ErrorKind) int {
	switch kind {
	case client.ErrNotFound:
		return exitNotFound
	case client.ErrExists:
		return exitTaken
	case client.ErrInvalid:
		return exitUsage
	case client.ErrUnreachable:
		return exitUnreachable
	case client.ErrClosed:
		return exitClosed
	case client.ErrDenied:
		return exitDenied
	case client.ErrTimeout:
		return exitTimeout
	case client.ErrCanceled:
		return exitInterrupted
	}
	return exitFailed
}

// status is an error that only carries an exit code: everything that there was
// to say has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// passesCode reports whether a command exits with a process's own code, so that
// its own failures need codes that processes do not use.
func passesCode(cmd *cobra.Command) bool { return cmd != nil && cmd.Name() == "wait" }

// at returns err with the command and what it was about filled in where they
// are missing.
func at(op, path string, err error) error {
	var code status
	var out *errOutput
	if err == nil || errors.As(err, &code) || errors.As(err, &out) {
		return err
	}
	e, ok := err.(*client.Error)
	if !ok {
		return &client.Error{Op: op, Path: path, Kind: client.KindOf(err), Err: errors.New(plainError(err))}
	}
	c := *e
	if c.Op == "" {
		c.Op = op
	}
	if c.Path == "" && c.Op == op { // what another Op is about stands in its own text
		c.Path = path
	}
	return &c
}

// about returns err as an error of the command op, of which what failed is a part.
func about(op string, err error) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Op = op
	return &c
}

// report prints what went wrong, once, and returns the exit code.
func (a *app) report(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil && a.stdout.broken != nil {
		err = a.stdout.broken
	}
	var code status
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case isBrokenPipe(err) && !passesCode(cmd):
		return exitFailed // quietly
	}
	text, n := plainError(err), errorCode(client.KindOf(err))
	if errors.Is(context.Cause(ctx), errInterrupted) {
		text, n = withDoubt(errInterrupted, err).Error(), exitInterrupted
	}
	fmt.Fprintf(a.stderr, "circuit: %s\n", text)
	return own(cmd, n)
}

// own turns the code of a failure into one that cannot be a process's own,
// where the command passes those on.
func own(cmd *cobra.Command, code int) int {
	if passesCode(cmd) && code != exitTimeout && code != exitInterrupted {
		return exitCircuit
	}
	return code
}

// usageErrorf is an error in how the program was called.
func usageErrorf(cmd *cobra.Command, text string, args ...any) error {
	name, hint := "", "circuit help"
	if cmd.HasParent() {
		name, hint = cmd.Name(), "circuit help "+cmd.Name()
	}
	return &client.Error{Op: name, Kind: client.ErrInvalid, Err: fmt.Errorf(text+"; see "+hint, args...)}
}

// unknownCommand says which commands may have been meant.
func unknownCommand(root *cobra.Command, name string) error {
	root.SuggestionsMinimumDistance = 2
	text := "there is no such command; see circuit help"
	isIt := func(c *cobra.Command) bool { return c.Name() == name }
	if slices.ContainsFunc(root.Commands(), isIt) {
		text = "a command stands before --, not after it"
	} else if like := root.SuggestionsFor(name); len(like) > 0 {
		text = fmt.Sprintf("there is no such command; did you mean %s?", strings.Join(like, " or "))
	}
	return &client.Error{Op: name, Kind: client.ErrInvalid, Err: errors.New(text)}
}

// plainError returns what err says, in words that people who don't know Go
// understand.
func plainError(err error) string {
	var out *errOutput
	var path *fs.PathError
	var call *os.SyscallError
	var errno syscall.Errno
	switch {
	case errors.As(err, &out):
		return out.Error()
	case errors.As(err, new(*client.Error)):
		return err.Error()
	case errors.As(err, &path):
		return path.Path + ": " + plainError(path.Err)
	case errors.As(err, &call):
		return plainError(call.Err)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the input ends too early"
	}
	return err.Error()
}
