package circuit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/gocircuit/circuit"
)

func TestErrorText(t *testing.T) {
	err := circuit.At("mkchan", "/X88/q", circuit.Errorf(circuit.Exists, "there is already a proc here; scrub it first"))
	if got, want := err.Error(), "mkchan /X88/q: there is already a proc here; scrub it first"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := circuit.At("peek", "/", err).Error(); got != err.Error() {
		t.Errorf("op and path were replaced: %q", got)
	}
	if circuit.At("peek", "/", nil) != nil {
		t.Error("At made an error of nil")
	}
	if got := (&circuit.Error{Kind: circuit.NotFound}).Error(); got != "not found" {
		t.Errorf("a kind alone is told as %q", got)
	}
}

func TestErrorIs(t *testing.T) {
	wrapped := func(k circuit.ErrorKind) error {
		return fmt.Errorf("outer: %w", &circuit.Error{Kind: k, Err: errors.New("cause")})
	}
	for k, std := range map[circuit.ErrorKind]error{
		circuit.NotFound: fs.ErrNotExist, circuit.Exists: fs.ErrExist, circuit.Denied: fs.ErrPermission, circuit.Closed: fs.ErrClosed,
		circuit.Timeout: context.DeadlineExceeded, circuit.Canceled: context.Canceled, circuit.Unsupported: errors.ErrUnsupported,
	} {
		if !errors.Is(wrapped(k), std) || !errors.Is(wrapped(k), k) || errors.Is(wrapped(k), circuit.Internal) {
			t.Errorf("%v is not matched by its kind and %v alone", k, std)
		}
	}
	for err, want := range map[error]circuit.ErrorKind{
		wrapped(circuit.Lost): circuit.Lost, circuit.Exhausted: circuit.Exhausted, context.Canceled: circuit.Canceled,
		context.DeadlineExceeded: circuit.Timeout, errors.New("other"): circuit.Internal, nil: 0,
	} {
		if got := circuit.KindOf(err); got != want {
			t.Errorf("kind of %v is %v, want %v", err, got, want)
		}
	}
}
