package access

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
)

func TestAllow(t *testing.T) {
	client := credential.Peer{Role: credential.Client}
	server := credential.Peer{Role: credential.Server, ID: 7}
	for _, c := range []struct {
		name    string
		request Request
		allowed bool
	}{
		{"client makes a process", Request{Principal: client, Verb: circuitv1.Procs_Make_FullMethodName}, true},
		{"client of a kind of the future", Request{Principal: client, Verb: "/circuit.v9.Moons/Rise"}, true},
		{"client forges the forwarded mark", Request{Principal: client, Verb: circuitv1.Procs_Make_FullMethodName, Forwarded: true}, false},
		{"client links up", Request{Principal: client, Verb: circuitv1.Mesh_Link_FullMethodName}, false},
		{"server links up", Request{Principal: server, Verb: circuitv1.Mesh_Link_FullMethodName}, true},
		{"server forwards", Request{Principal: server, Verb: circuitv1.Procs_Make_FullMethodName, Forwarded: true}, true},
		{"nobody", Request{Verb: circuitv1.Procs_Make_FullMethodName}, false},
	} {
		err := Allow(c.request)
		if c.allowed != (err == nil) || err != nil && !errors.Is(err, circuit.Denied) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestInterceptorStopsBeforeTheHandler(t *testing.T) {
	i := Interceptor{Principal: func(context.Context) credential.Peer { return credential.Peer{Role: credential.Client} }}
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("circuit-forwarded", "1"))
	reached := false
	_, err := i.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: circuitv1.Anchors_Get_FullMethodName}, func(context.Context, any) (any, error) {
		reached = true
		return nil, nil
	})
	if !errors.Is(err, circuit.Denied) || reached {
		t.Errorf("a forged mark: %v, handler reached: %v", err, reached)
	}
	bad := metadata.NewIncomingContext(t.Context(), metadata.Pairs("circuit-path", "nonsense"))
	if _, err := i.Unary(bad, nil, &grpc.UnaryServerInfo{}, nil); !errors.Is(err, circuit.Invalid) {
		t.Errorf("a bad path: %v", err)
	}
}
