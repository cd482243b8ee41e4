package circuit

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// ErrorKind says what class of thing went wrong. A kind is itself an error, so
// that errors.Is(err, circuit.NotFound) asks for it, on a client just as on
// the server where it happened.
type ErrorKind uint8

// The kinds of errors. Their numbers are those of the wire.
const (
	Internal    ErrorKind = 1 + iota // a defect of the circuit itself
	NotFound                         // nothing there, or an identity never seen
	Exists                           // the anchor is taken
	Invalid                          // the request itself is wrong
	Unreachable                      // a server cannot be reached; nothing was done
	Closed                           // the element takes no more
	Denied                           // the caller may not
	Timeout                          // a time limit passed
	Canceled                         // the caller gave up
	Exhausted                        // a limit is reached
	Lost                             // the outcome is unknown, or data is gone
	Unsupported                      // this server does not know how
)

var kindNames = [...]string{
	Internal: "internal error", NotFound: "not found", Exists: "already exists", Invalid: "invalid",
	Unreachable: "unreachable", Closed: "closed", Denied: "denied", Timeout: "timed out",
	Canceled: "canceled", Exhausted: "limit reached", Lost: "outcome unknown", Unsupported: "not supported",
}

// Error returns the kind in words.
func (k ErrorKind) Error() string {
	if k == 0 || int(k) >= len(kindNames) {
		return kindNames[Internal]
	}
	return kindNames[k]
}

// Error is what every operation of the circuit fails with.
type Error struct {
	Op   string    // the verb, as the command line spells it: "mkchan"; may be empty
	Path string    // the anchor, or whatever else the operation was about; may be empty
	Kind ErrorKind // never zero
	Err  error     // what happened and what to do next; nil says no more than Kind
}

// Error returns "op path: what happened".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Path != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Path)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString(e.Kind.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the error's kind, and the standard library's error that means the
// same: context.DeadlineExceeded, context.Canceled, fs.ErrNotExist,
// fs.ErrExist, fs.ErrPermission, fs.ErrClosed, errors.ErrUnsupported.
func (e *Error) Is(target error) bool {
	if k, ok := target.(ErrorKind); ok {
		return e.Kind == k
	}
	switch e.Kind {
	case Timeout:
		return target == context.DeadlineExceeded
	case Canceled:
		return target == context.Canceled
	case NotFound:
		return target == fs.ErrNotExist
	case Exists:
		return target == fs.ErrExist
	case Denied:
		return target == fs.ErrPermission
	case Closed:
		return target == fs.ErrClosed
	case Unsupported:
		return target == errors.ErrUnsupported
	}
	return false
}

// KindOf returns the kind of the first *Error or ErrorKind in err's tree,
// Timeout and Canceled for the context's errors, Internal for any other error,
// and 0 for nil.
func KindOf(err error) ErrorKind {
	var e *Error
	var k ErrorKind
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Kind
	case errors.As(err, &k):
		return k
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Errorf returns an *Error of a kind whose cause is text. It is short for the
// literal where Op and Path are filled in later, by At.
func Errorf(kind ErrorKind, text string) error { return &Error{Kind: kind, Err: errors.New(text)} }

// At returns err with op and path filled in where they are missing. An error
// that is no *Error becomes one, of kind KindOf(err). At(op, path, nil) is nil.
func At(op, path string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := err.(*Error)
	if !ok {
		return &Error{Op: op, Path: path, Kind: KindOf(err), Err: err}
	}
	c := *e
	if c.Op == "" {
		c.Op = op
	}
	if c.Path == "" {
		c.Path = path
	}
	return &c
}
