package subscription

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// wire is a server with the service on a network in memory, and clients of it.
type wire struct {
	testing.TB
	svc *Service
	net *transport.Memory
	key circuit.Key
}

func newWire(t testing.TB, cfg Config) *wire {
	t.Helper()
	w := &wire{TB: t, net: transport.NewMemory(), key: credential.NewKey()}
	cfg.Tree, cfg.Self = anchor.New(anchor.Config{Self: self}), circuit.Member{ID: self, Address: "server:1"}
	w.svc = NewService(cfg)
	cred, err := credential.New(w.key, credential.Server, self)
	if err != nil {
		t.Fatal(err)
	}
	l, err := transport.Listen(w.net.Host("server"), "server:1", transport.ListenConfig{Credential: cred})
	if err != nil {
		t.Fatal(err)
	}
	var outer rpc.Interceptor
	opts := append(transport.ServerOptions(credential.Client, rpc.Codec()),
		grpc.UnaryInterceptor(outer.Unary), grpc.StreamInterceptor(outer.Stream), grpc.WaitForHandlers(true))
	g := grpc.NewServer(opts...)
	circuitv1.RegisterSubscriptionsServer(g, w.svc)
	circuitv1.RegisterAnchorsServer(g, anchor.NewService(cfg.Tree))
	grpc_health_v1.RegisterHealthServer(g, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- g.Serve(l.Role(credential.Client)) }()
	t.Cleanup(func() {
		g.Stop()
		<-served
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		w.svc.Wait()
	})
	return w
}

func (w *wire) dial(host string) *transport.Conn {
	w.Helper()
	cred, err := credential.New(w.key, credential.Client, 0)
	if err != nil {
		w.Fatal(err)
	}
	d := transport.Dialer{Cred: cred, Network: w.net.Host(host), Codec: rpc.Codec()}
	conn, err := d.Dial(context.Background(), "server:1", self)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	return conn
}

// at returns a context for calls about the anchor rel.
func (w *wire) at(ctx context.Context, rel string) context.Context {
	p, err := self.Path().Join(rel)
	if err != nil {
		w.Fatal(err)
	}
	return rpc.WithPath(ctx, p)
}

func is(t testing.TB, what string, err error, kind circuit.ErrorKind) {
	t.Helper()
	if err = rpc.FromStatus("", "", err); !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func TestMakeAndStat(t *testing.T) {
	w := newWire(t, Config{MaxSubscriptions: 1})
	conn := w.dial("client")
	subs, anchors := circuitv1.NewSubscriptionsClient(conn), circuitv1.NewAnchorsClient(conn)
	ctx := w.at(t.Context(), "who")
	req := &circuitv1.MakeSubscriptionRequest{Kind: "@join", Nonce: []byte("once")}
	made, err := subs.Make(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := subs.Make(ctx, req); err != nil || again.Generation != made.Generation {
		t.Errorf("the same nonce: %v, %v", again, err)
	}
	_, err = subs.Make(ctx, &circuitv1.MakeSubscriptionRequest{Kind: "@leave"})
	is(t, "make at a taken anchor", err, circuit.Exists)
	_, err = subs.Make(w.at(t.Context(), "more"), &circuitv1.MakeSubscriptionRequest{Kind: "@leave"})
	is(t, "make beyond the limit", err, circuit.Exhausted)
	_, err = subs.Make(w.at(t.Context(), "more"), &circuitv1.MakeSubscriptionRequest{Kind: "@sleep"})
	is(t, "make of an unknown kind", err, circuit.Unsupported)
	stat, err := subs.Stat(ctx, &circuitv1.StatSubscriptionRequest{})
	if want := (circuit.SubscriptionStat{Kind: circuit.OnJoin, Pending: 1, Limit: DefaultEvents, NumEvents: 1}); err != nil || rpc.SubscriptionStatFromProto(stat) != want {
		t.Errorf("state %v, %v", stat, err)
	}
	_, err = subs.Stat(rpc.WithGeneration(ctx, made.Generation+1), &circuitv1.StatSubscriptionRequest{})
	is(t, "state of a successor", err, circuit.NotFound)
	entry, err := anchors.Get(ctx, &circuitv1.GetRequest{})
	if err != nil || entry.Kind != "@join" || entry.State != "1 pending" {
		t.Errorf("entry %v, %v", entry, err)
	}
	if _, err = anchors.Scrub(ctx, &circuitv1.ScrubRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err = subs.Stat(ctx, &circuitv1.StatSubscriptionRequest{})
	is(t, "state of a scrubbed one", err, circuit.NotFound)
}

func (w *wire) make(conn grpc.ClientConnInterface, kind circuit.Kind) *Subscription {
	w.Helper()
	if _, err := circuitv1.NewSubscriptionsClient(conn).Make(w.at(context.Background(), "who"), &circuitv1.MakeSubscriptionRequest{Kind: string(kind)}); err != nil {
		w.Fatal(err)
	}
	p, _ := self.Path().Join("who")
	e, _, err := w.svc.cfg.Tree.Get(p, 0)
	if err != nil {
		w.Fatal(err)
	}
	return e.(*Subscription)
}

func (w *wire) recv(conn grpc.ClientConnInterface) grpc.BidiStreamingClient[circuitv1.RecvRequest, circuitv1.RecvEventsReply] {
	w.Helper()
	stream, err := circuitv1.NewSubscriptionsClient(conn).Recv(w.at(context.Background(), "who"))
	if err != nil {
		w.Fatal(err)
	}
	return stream
}

// A receiver that waits is told at the moment when something happens, however
// long it has waited, and its acknowledgement is confirmed.
func TestBlockedReceiverIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Config{})
		conn := w.dial("client")
		w.make(conn, circuit.OnLeave)
		stream := w.recv(conn)
		if err := stream.Send(&circuitv1.RecvRequest{Credit: 1}); err != nil {
			t.Fatal(err)
		}
		w.svc.Tell(event(circuit.Joined, 3))
		time.Sleep(time.Hour)
		failed := time.Now()
		e := event(circuit.Failed, 3)
		e.Time = failed
		w.svc.Tell(e)
		reply, err := stream.Recv()
		if err != nil || reply.Number != 1 || len(reply.Events) != 1 {
			t.Fatalf("received %v, %v", reply, err)
		}
		if got := rpc.EventFromProto(reply.Events[0]); brief(got) != "!3" || !got.Time.Equal(failed) || got.Address != "3" {
			t.Errorf("received %+v", got)
		}
		if took := time.Since(failed); took > 0 {
			t.Errorf("told after %v", took)
		}
		if err := stream.Send(&circuitv1.RecvRequest{Ack: 1}); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if reply, err = stream.Recv(); err != nil || reply.Confirmed != 1 {
			t.Errorf("confirmation %v, %v", reply, err)
		}
		if _, err = stream.Recv(); err != io.EOF {
			t.Errorf("the call ends with %v", err)
		}
	})
}

// What a client has not acknowledged whose connection breaks goes to the next.
func TestCutReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Config{})
		one, other := w.dial("one"), w.dial("other")
		sub := w.make(one, circuit.OnLeave)
		w.svc.Tell(event(circuit.Left, 1))
		w.svc.Tell(event(circuit.Left, 2))
		stream := w.recv(one)
		if err := stream.Send(&circuitv1.RecvRequest{Credit: 2}); err != nil {
			t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil || len(reply.Events) != 2 {
			t.Fatalf("received %v, %v", reply, err)
		}
		if err := stream.Send(&circuitv1.RecvRequest{Ack: 1}); err != nil {
			t.Fatal(err)
		}
		if reply, err = stream.Recv(); err != nil || reply.Confirmed != 1 {
			t.Fatalf("confirmation %v, %v", reply, err)
		}
		stream2 := w.recv(other)
		if err := stream2.Send(&circuitv1.RecvRequest{Credit: 9}); err != nil {
			t.Fatal(err)
		}
		w.net.Reset("one", "server")
		if reply, err = stream2.Recv(); err != nil || len(reply.Events) != 1 || brief(rpc.EventFromProto(reply.Events[0])) != "-2*" {
			t.Errorf("the next receiver got %v, %v", reply, err)
		}
		if stat := sub.Stat(); stat.Pending != 1 || stat.NumRecv != 1 || stat.Receivers != 1 || stat.Redelivered != 1 {
			t.Errorf("state %+v", stat)
		}
	})
}

func TestReceiveErrors(t *testing.T) {
	w := newWire(t, Config{})
	conn := w.dial("client")
	stream := w.recv(conn)
	_, err := stream.Recv()
	is(t, "receive from nothing", err, circuit.NotFound)
	sub := w.make(conn, circuit.OnLeave)
	stream = w.recv(conn)
	if err := stream.Send(&circuitv1.RecvRequest{Credit: 1, Ack: 1}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	is(t, "to acknowledge what did not come", err, circuit.Invalid)
	stream = w.recv(conn)
	if err := stream.Send(&circuitv1.RecvRequest{Credit: 1}); err != nil {
		t.Fatal(err)
	}
	if err := sub.Scrub(t.Context(), anchor.Scrub{}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	is(t, "receive from a scrubbed one", err, circuit.Closed)
}
