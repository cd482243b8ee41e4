package transport

import (
	"context"
	"crypto/tls"
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

// dialError says in the circuit's words why addr cannot be connected to.
// connected tells whether something accepted the connection.
func dialError(caller context.Context, addr string, connected bool, err error) error {
	kind, cause := circuit.Unreachable, err
	say := func(format string, args ...any) { cause = fmt.Errorf(format, args...) }
	var dns *net.DNSError
	var wrong *credential.WrongServerError
	var alert tls.AlertError
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		kind = circuit.Canceled
		say("connecting was canceled")
	case caller.Err() != nil:
		kind = circuit.Timeout
		say("no connection within the time given")
	case errors.As(err, &wrong): // says it well itself
	case credential.OtherCircuit(err):
		kind = circuit.Denied
		say("this server belongs to another circuit: its key differs")
	case timedOut(err):
		say("no answer within %v; the host may be down, or a firewall in between", connectTime)
		if connected {
			say("something accepts connections there but does not answer as a circuit server within %v", connectTime)
		}
	case errors.As(err, &dns):
		say("the host name is not known")
	case !connected && errors.Is(err, syscall.ECONNREFUSED):
		say("nothing listens there; is the server running?")
	case !connected:
		say("%s", reason(err))
	case errors.As(err, &alert):
		kind = circuit.Denied
		say("the server refuses this certificate; it may belong to another circuit")
	case cutOff(err):
		say("the connection is closed before it is established; the server may be overloaded or at a limit, or it is not a circuit server")
	default:
		say("what answers there is not a circuit server")
	}
	return &circuit.Error{Path: addr, Kind: kind, Err: cause}
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
