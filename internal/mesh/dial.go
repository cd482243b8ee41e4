package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// MaxAddress is how many bytes the address that a server advertises has at most:
// the records of the membership hold no more.
const MaxAddress = 512

// dial makes one connection, as the overlay asked, and carries its link.
func (m *Mesh) dial(want overlay.Connect) {
	failed := func(why overlay.Failure) {
		m.do(func() { m.tellOverlay(overlay.ConnectFailed{Dial: want.Dial, Failure: why}) })
	}
	ctx, end := context.WithCancel(m.ctx)
	defer end()
	limit := time.AfterFunc(dialTimeout, end)
	defer limit.Stop()
	conn, err := m.cfg.Dial(ctx, want.Address, want.Want)
	if err != nil {
		failed(failureOf(err))
		return
	}
	defer conn.Close()
	s, err := circuitv1.NewMeshClient(conn).Link(ctx)
	if err != nil {
		failed(failureOf(err))
		return
	}
	l, err := m.greet(ctx, end, s, conn.Peer(), conn.Binding())
	if err != nil {
		failed(failureOf(err))
		return
	}
	defer l.flow.Close()
	if !limit.Stop() {
		failed(overlay.Unreachable)
		return
	}
	m.carry(l, s, want.Dial)
}

// greet sends our hello and takes the peer's. The link that it returns ends with
// ctx, and has a flow for the caller to close.
func (m *Mesh) greet(ctx context.Context, end context.CancelFunc, s stream, proved credential.Peer, binding transport.Binding) (_ *link, err error) {
	flow := m.cfg.Datagrams.NewFlow()
	defer func() {
		if err != nil {
			flow.Close()
		}
	}()
	if err := s.Send(&circuitv1.LinkFrame{Hello: m.cfg.Hello, DatagramTag: flow.Tag()}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	first, err := s.Recv()
	if err != nil {
		return nil, err
	}
	peer, err := m.introduced(first.GetHello(), proved)
	if err != nil {
		return nil, err
	}
	l := newLink(ctx, end, peer, flow)
	if err := flow.Open(transport.Link{
		Binding: binding, PeerTag: first.GetDatagramTag(), PeerAddr: peer.Address,
		Receive: func(data [transport.DatagramData]byte) { m.receiveDatagram(l, data) },
	}); err != nil {
		m.log.Debug("a link has no datagrams", slog.Any("server", peer.ID), slog.Any("reason", err))
	}
	return l, nil
}

// introduced returns who says hello, if it can be a neighbour.
func (m *Mesh) introduced(hello *circuitv1.Hello, proved credential.Peer) (overlay.Peer, error) {
	if err := rpc.Compatible(m.cfg.Hello, hello); err != nil {
		return overlay.Peer{}, err
	}
	if circuit.ServerID(hello.GetServer()) != proved.ID {
		return overlay.Peer{}, circuit.Errorf(circuit.Denied, fmt.Sprintf("a server that is %v by its certificate says that it is another", proved.ID))
	}
	if _, err := circuit.ParseURL(hello.GetAddress()); err != nil {
		return overlay.Peer{}, circuit.Errorf(circuit.Invalid, "a server advertises an address that is none")
	}
	if n := len(hello.GetAddress()); n > MaxAddress {
		return overlay.Peer{}, circuit.Errorf(circuit.Invalid, fmt.Sprintf("a server advertises an address of %d bytes, and %d are the most", n, MaxAddress))
	}
	return overlay.Peer{ID: proved.ID, Address: hello.GetAddress(), Instance: hello.GetInstance()}, nil
}

// Link implements circuitv1.MeshServer: a neighbour dialled.
func (m *Mesh) Link(s grpc.BidiStreamingServer[circuitv1.LinkFrame, circuitv1.LinkFrame]) error {
	proved, ok := transport.PeerFrom(s.Context())
	binding, bound := transport.BindingFrom(s.Context())
	if !ok || !bound || proved.Role != credential.Server {
		return circuit.Errorf(circuit.Denied, "only servers link up with servers")
	}
	// A receive ends with the stream at the latest, and the stream ends when
	// this method returns; so the goroutine is waited for by Close only.
	greeted := make(chan error, 1)
	ctx, end := context.WithCancel(s.Context())
	defer end()
	carried := make(chan struct{})
	if !m.spawn(func() {
		defer close(carried)
		l, err := m.greet(ctx, end, s, proved, binding)
		greeted <- err
		if err == nil {
			defer l.flow.Close()
			m.carry(l, s, 0)
		}
	}) {
		return errStopping()
	}
	select {
	case err := <-greeted:
		if err != nil {
			return err
		}
	case <-time.After(dialTimeout):
		return circuit.Errorf(circuit.Timeout, "no hello")
	case <-m.ctx.Done():
		return errStopping()
	}
	select {
	case <-ctx.Done():
	case <-m.ctx.Done():
	case <-carried:
	}
	return nil
}

// failureOf says in the overlay's terms why a dial failed.
func failureOf(err error) overlay.Failure {
	err = rpc.FromStatus("", "", err)
	var wrong *credential.WrongServerError
	switch {
	case errors.As(err, &wrong):
		return overlay.WrongServer
	case errors.Is(err, syscall.ECONNREFUSED):
		return overlay.Refused
	case errors.Is(err, circuit.Denied):
		return overlay.WrongKey
	case errors.Is(err, circuit.Unsupported):
		return overlay.Unsupported
	}
	return overlay.Unreachable
}

// reason puts a failure in words.
func reason(f overlay.Failure) string {
	switch f {
	case overlay.Refused:
		return "nobody listens there"
	case overlay.WrongServer:
		return "another server than the expected one answers there"
	case overlay.WrongKey:
		return "it belongs to another circuit: its key differs"
	case overlay.IDTaken:
		return "the ID of this server is that of another one there"
	case overlay.Unsupported:
		return "it speaks no protocol version that this server speaks"
	case overlay.TooMany:
		return fmt.Sprintf("it is not tried, for this server has its limit of %d servers to join", overlay.MaxSeeds)
	}
	return "no answer"
}
