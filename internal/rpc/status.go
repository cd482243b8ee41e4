package rpc

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// nearest has for each kind the gRPC code that comes nearest, for callers that
// know no circuit.v1.Error.
var nearest = [...]codes.Code{
	circuit.Internal:    codes.Internal,
	circuit.NotFound:    codes.NotFound,
	circuit.Exists:      codes.AlreadyExists,
	circuit.Invalid:     codes.InvalidArgument,
	circuit.Unreachable: codes.Unavailable,
	circuit.Closed:      codes.FailedPrecondition,
	circuit.Denied:      codes.PermissionDenied,
	circuit.Timeout:     codes.DeadlineExceeded,
	circuit.Canceled:    codes.Canceled,
	circuit.Exhausted:   codes.ResourceExhausted,
	circuit.Lost:        codes.Aborted,
	circuit.Unsupported: codes.Unimplemented,
}

func code(k circuit.ErrorKind) codes.Code {
	if k == 0 || int(k) >= len(nearest) {
		return codes.Internal
	}
	return nearest[k]
}

// ToStatus turns what a service failed with into a gRPC status that carries a
// circuit.v1.Error. Nil and statuses pass unchanged.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var ce *circuit.Error
	if !errors.As(err, &ce) {
		if _, ok := status.FromError(err); ok {
			return err
		}
	}
	e := ErrorToProto(err)
	st := status.New(code(circuit.ErrorKind(e.Kind)), e.Text)
	if with, err := st.WithDetails(e); err == nil {
		st = with
	}
	return st.Err()
}

// FromStatus turns what a call failed with into a *circuit.Error, with op and
// path filled in where the error names none. Nil stays nil.
//
// A connection that broke under a call gives Lost: the server may or may not
// have done what it was asked. For calls that change nothing, see Read.
func FromStatus(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var ce *circuit.Error
	if errors.As(err, &ce) {
		return circuit.At(op, path, ce)
	}
	st, ok := status.FromError(err)
	if !ok {
		return circuit.At(op, path, plain(err))
	}
	for _, d := range st.Details() {
		if e, ok := d.(*circuitv1.Error); ok {
			return circuit.At(op, path, ErrorFromProto(e))
		}
	}
	return circuit.At(op, path, bare(st.Code()))
}

// plain gives an error that is no status the text and kind it has; the
// context's errors are put in words.
func plain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return bare(codes.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return bare(codes.Canceled)
	}
	return &circuit.Error{Kind: circuit.KindOf(err), Err: err}
}

// bare puts a status without details in words.
func bare(c codes.Code) error {
	switch c {
	case codes.Unavailable, codes.Aborted:
		return circuit.Errorf(circuit.Lost, "the connection to the server broke; what was asked may or may not have been done")
	case codes.DeadlineExceeded:
		return circuit.Errorf(circuit.Timeout, "timed out")
	case codes.Canceled:
		return circuit.Errorf(circuit.Canceled, "canceled")
	case codes.ResourceExhausted:
		return circuit.Errorf(circuit.Exhausted, "the request is larger than the server takes, or the server has too many")
	case codes.Unimplemented:
		return circuit.Errorf(circuit.Unsupported, "the server does not know this request; it may run another version")
	case codes.PermissionDenied, codes.Unauthenticated:
		return circuit.Errorf(circuit.Denied, "the server refuses this")
	case codes.InvalidArgument:
		return circuit.Errorf(circuit.Invalid, "the server does not understand the request")
	}
	return circuit.Errorf(circuit.Internal, "the server failed; its log says more")
}

// left begins what callers of a server that left are told.
const left = "the server left "

// Left is the answer to calls to a server that said that it leaves, and when: as
// in 12 s ago.
func Left(when string) error { return circuit.Errorf(circuit.Unreachable, left+when) }

// IsLeft reports whether a call was answered by Left.
func IsLeft(err error) bool {
	var e *circuit.Error
	return errors.As(err, &e) && e.Kind == circuit.Unreachable && e.Err != nil && strings.HasPrefix(e.Err.Error(), left)
}

// Read returns err as the failure of a call that changes nothing: there, an
// unknown outcome is no more than an unreachable server.
func Read(err error) error {
	var e *circuit.Error
	if !errors.As(err, &e) || e.Kind != circuit.Lost {
		return err
	}
	c := *e
	c.Kind, c.Err = circuit.Unreachable, errors.New("the connection to the server broke")
	return &c
}

// ErrorToProto returns err as the wire's message. An error that is no
// *circuit.Error is told as what KindOf makes of it.
func ErrorToProto(err error) *circuitv1.Error {
	var e *circuit.Error
	if !errors.As(err, &e) {
		e = plain(err).(*circuit.Error)
	}
	text := e.Kind.Error()
	if e.Err != nil {
		text = e.Err.Error()
	}
	return &circuitv1.Error{Kind: circuitv1.Error_Kind(e.Kind), Op: e.Op, Path: e.Path, Text: text}
}

// ErrorFromProto is the inverse of ErrorToProto. Kinds of the future become
// Internal.
func ErrorFromProto(e *circuitv1.Error) *circuit.Error {
	kind := circuit.ErrorKind(e.GetKind())
	if e.GetKind() <= 0 || e.GetKind() > circuitv1.Error_UNSUPPORTED {
		kind = circuit.Internal
	}
	return &circuit.Error{Op: e.GetOp(), Path: e.GetPath(), Kind: kind, Err: errors.New(e.GetText())}
}
