package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
)

// reason says what the system said, without Go's operation and address.
func reason(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// fault is what happened in the circuit's words. Programs find the cause below
// it: syscall.ECONNREFUSED, a *credential.WrongServerError.
type fault struct {
	text  string
	cause error // may be nil
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.cause }

// dialError says why addr cannot be connected to. connected tells whether
// something accepted the connection.
func dialError(caller context.Context, addr string, connected bool, err error) error {
	kind, cause := circuit.Unreachable, err
	var why string
	var dns *net.DNSError
	var wrong *credential.WrongServerError
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		kind, cause, why = circuit.Canceled, nil, "connecting was canceled"
	case caller.Err() != nil:
		kind, cause, why = circuit.Timeout, nil, "no connection within the time given"
	case errors.As(err, &wrong):
		why = wrong.Error()
	case credential.OtherCircuit(err):
		kind, why = circuit.Denied, "this server belongs to another circuit: its key differs"
	case timedOut(err) && connected:
		cause, why = nil, fmt.Sprintf("something accepts connections there, but does not answer as a circuit server within %v", connectTime)
	case timedOut(err):
		cause, why = nil, fmt.Sprintf("no answer within %v; the host may be down, or a firewall in between", connectTime)
	case errors.As(err, &dns):
		why = "the host name is not known"
	case !connected && errors.Is(err, syscall.ECONNREFUSED):
		why = "nothing listens there; is the server running?"
	case !connected:
		why = reason(err)
	case cutOff(err):
		why = "the connection is closed before it is established; the server may be overloaded or at a limit, or it is not a circuit server"
	default:
		why = "what answers there is not a circuit server"
	}
	return &circuit.Error{Path: addr, Kind: kind, Err: &fault{why, cause}}
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

// cutOff reports whether the other end closed the connection without a word.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
