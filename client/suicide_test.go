package client

import (
	"context"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// A server whose answer is lost has done what it was asked if it left, and only
// then: one that was given up may be frozen, and live on.
func TestSuicideWithoutAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		state error // what the circuit says of the server
		done  bool
	}{
		"left":        {rpc.Left("1 s ago"), true},
		"given up":    {circuit.Errorf(circuit.Unreachable, "the server failed 1 s ago"), false},
		"still there": {nil, false},
		"forgotten":   {circuit.Errorf(circuit.NotFound, "there is no such server in this circuit"), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.servers.stat = func(context.Context, ServerID) (ServerStat, error) { return ServerStat{}, test.state }
			err := f.dial().Server(7).Suicide(t.Context())
			if test.done {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, ErrLost)
			if !strings.Contains(err.Error(), "circuit ls / shows which servers there are now") {
				t.Errorf("error %q does not say where to look", err)
			}
		})
	}
}
