package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gocircuit/circuit"
)

func TestErrorsCrossTheWire(t *testing.T) {
	for k := circuit.Internal; k <= circuit.Unsupported; k++ {
		sent := &circuit.Error{Op: "mkchan", Path: "/X56e7a2a0d47a7b5d/q", Kind: k, Err: errors.New("it is " + k.Error())}
		got := FromStatus("other", "/", ToStatus(fmt.Errorf("wrapped: %w", sent)))
		if !errors.Is(got, k) || got.Error() != sent.Error() {
			t.Errorf("%v arrives as %q", sent, got)
		}
	}
	got := FromStatus("peek", "/X56e7a2a0d47a7b5d", ToStatus(circuit.NotFound))
	if want := "peek /X56e7a2a0d47a7b5d: not found"; got.Error() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := FromStatus("peek", "", ToStatus(context.DeadlineExceeded)); !errors.Is(got, circuit.Timeout) {
		t.Errorf("a deadline arrives as %v", got)
	}
}

func TestNoGRPCTextReachesUsers(t *testing.T) {
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		got := FromStatus("peek", "/", status.Error(c, "rpc error: transport is closing")).Error()
		if strings.Contains(got, "rpc") || strings.Contains(got, "transport") {
			t.Errorf("%v: %q", c, got)
		}
	}
}

func TestBrokenConnection(t *testing.T) {
	err := FromStatus("mkproc", "/", status.Error(codes.Unavailable, "EOF"))
	if !errors.Is(err, circuit.Lost) {
		t.Errorf("a broken connection is %v, want Lost", err)
	}
	if !errors.Is(Read(err), circuit.Unreachable) {
		t.Errorf("for a read it is %v, want Unreachable", Read(err))
	}
}

func TestPathMetadata(t *testing.T) {
	for _, s := range []string{"/", "/X56e7a2a0d47a7b5d", "/X56e7a2a0d47a7b5d/grüße/100% sure/日本"} {
		p, err := circuit.ParsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		md, _ := metadata.FromOutgoingContext(WithGeneration(WithPath(context.Background(), p), 42))
		in := metadata.NewIncomingContext(context.Background(), md)
		if got, err := PathFrom(in); got != p || err != nil {
			t.Errorf("%s arrives as %v, %v", s, got, err)
		}
		if g, err := GenerationFrom(in); g != 42 || err != nil {
			t.Errorf("generation 42 arrives as %d, %v", g, err)
		}
		out, _ := metadata.FromOutgoingContext(Forward(in))
		fwd := metadata.NewIncomingContext(context.Background(), out)
		if got, _ := PathFrom(fwd); got != p || !IsForwarded(fwd) || IsForwarded(in) {
			t.Errorf("%s is forwarded as %v, marked %v", s, got, IsForwarded(fwd))
		}
	}
	for _, bad := range []string{"%", "%4", "%zz", "X", "/hello"} {
		in := metadata.NewIncomingContext(context.Background(), metadata.Pairs(keyPath, bad))
		if _, err := PathFrom(in); !errors.Is(err, circuit.Invalid) {
			t.Errorf("path %q: %v, want Invalid", bad, err)
		}
	}
}
