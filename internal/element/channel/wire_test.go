package channel

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

const self = circuit.ServerID(0x56e7a2a0d47a7b5d)

// wire is a server with the service, and clients of it.
type wire struct {
	testing.TB
	svc  *Service
	tree *anchor.Tree
	net  transport.Network
	key  circuit.Key
	addr string
}

func newWire(t testing.TB, net transport.Network, addr string, cfg Config) *wire {
	t.Helper()
	w := &wire{TB: t, tree: anchor.New(anchor.Config{Self: self}), net: net, key: credential.NewKey()}
	cfg.Tree = w.tree
	w.svc = NewService(cfg)
	cred, err := credential.New(w.key, credential.Server, self)
	if err != nil {
		t.Fatal(err)
	}
	l, err := transport.Listen(net, addr, transport.ListenConfig{Credential: cred})
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	var outer rpc.Interceptor
	opts := append(transport.ServerOptions(credential.Client, rpc.Codec()),
		grpc.UnaryInterceptor(outer.Unary), grpc.StreamInterceptor(outer.Stream), grpc.WaitForHandlers(true))
	g := grpc.NewServer(opts...)
	circuitv1.RegisterChansServer(g, w.svc)
	circuitv1.RegisterAnchorsServer(g, anchor.NewService(w.tree))
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

// dial returns a new connection of a client.
func (w *wire) dial() *transport.Conn { return w.dialFrom(w.net) }

func (w *wire) dialFrom(net transport.Network) *transport.Conn {
	w.Helper()
	cred, err := credential.New(w.key, credential.Client, 0)
	if err != nil {
		w.Fatal(err)
	}
	d := transport.Dialer{Cred: cred, Network: net, Codec: rpc.Codec()}
	conn, err := d.Dial(context.Background(), w.addr, self)
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

// make makes a channel and returns it.
func (w *wire) make(conn grpc.ClientConnInterface, rel string, cap int) *Chan {
	w.Helper()
	ctx := w.at(context.Background(), rel)
	if _, err := circuitv1.NewChansClient(conn).Make(ctx, &circuitv1.MakeChanRequest{Cap: uint32(cap)}); err != nil {
		w.Fatal(err)
	}
	p, _ := self.Path().Join(rel)
	e, _, err := w.tree.Get(p, 0)
	if err != nil {
		w.Fatal(err)
	}
	return e.(*Chan)
}

// wireSend is a Send call; wireRecv a Recv call. Their methods fail with the
// errors of package circuit.
type wireSend struct {
	grpc.BidiStreamingClient[circuitv1.Frame, circuitv1.SendReply]
	num  uint64
	sure map[uint64]error
}

type wireRecv struct {
	grpc.BidiStreamingClient[circuitv1.RecvRequest, circuitv1.Frame]
	frame rpc.Frame
	last  uint64 // last message that came whole
	sure  uint64
}

func openSend(ctx context.Context, conn grpc.ClientConnInterface) (*wireSend, error) {
	s, err := circuitv1.NewChansClient(conn).Send(ctx)
	return &wireSend{BidiStreamingClient: s, sure: make(map[uint64]error)}, rpc.FromStatus("send", "", err)
}

func openRecv(ctx context.Context, conn grpc.ClientConnInterface) (*wireRecv, error) {
	s, err := circuitv1.NewChansClient(conn).Recv(ctx)
	return &wireRecv{BidiStreamingClient: s}, rpc.FromStatus("recv", "", err)
}

// put sends whole messages in one frame.
func (s *wireSend) put(msgs ...[]byte) error {
	f := rpc.Frame{Message: s.num + 1}
	s.num += uint64(len(msgs))
	if len(msgs) == 1 {
		f.Data, f.End = mem.BufferSlice{mem.SliceBuffer(msgs[0])}, true
		return s.SendMsg(&f)
	}
	var all []byte
	for _, m := range msgs {
		f.Sizes = append(f.Sizes, uint32(len(m)))
		all = append(all, m...)
	}
	f.Data = mem.BufferSlice{mem.SliceBuffer(all)}
	return s.SendMsg(&f)
}

// wait returns once message num has an outcome.
func (s *wireSend) wait(num uint64) error {
	for {
		if err, ok := s.sure[num]; ok {
			delete(s.sure, num)
			return err
		}
		reply, err := s.Recv()
		if err != nil {
			return rpc.FromStatus("send", "", err)
		}
		for _, o := range reply.Outcomes {
			for i := range max(o.Count, 1) {
				s.sure[o.Message+i] = nil
				if o.Error != nil {
					s.sure[o.Message+i] = rpc.ErrorFromProto(o.Error)
				}
			}
		}
	}
}

func (s *wireSend) send(msg []byte) error {
	if err := s.put(msg); err != nil && err != io.EOF {
		return err
	}
	return s.wait(s.num)
}

func (r *wireRecv) ask(credit uint32, ack uint64) error {
	return r.Send(&circuitv1.RecvRequest{Credit: credit, Ack: ack})
}

// wireMessage is what a frame holds.
type wireMessage struct {
	data        []byte
	redelivered bool
}

// read returns the whole messages of the next frame that has some; it takes no
// streamed ones.
func (r *wireRecv) read() ([]wireMessage, error) {
	for {
		if err := r.RecvMsg(&r.frame); err != nil {
			return nil, rpc.FromStatus("recv", "", err)
		}
		f := &r.frame
		r.sure = max(r.sure, f.Confirmed)
		if f.Message == 0 {
			continue
		}
		b := f.Data.Materialize()
		f.Free()
		if len(f.Sizes) == 0 {
			r.last = f.Message
			return []wireMessage{{b, f.Redelivered}}, nil
		}
		var msgs []wireMessage
		for _, n := range f.Sizes {
			msgs = append(msgs, wireMessage{b[:n:n], f.Redelivered})
			b = b[n:]
		}
		r.last = f.Message + uint64(len(f.Sizes)) - 1
		return msgs, nil
	}
}

// confirm returns once message num is confirmed.
func (r *wireRecv) confirm(num uint64) error {
	for r.sure < num {
		if err := r.RecvMsg(&r.frame); err != nil {
			return rpc.FromStatus("recv", "", err)
		}
		r.sure = max(r.sure, r.frame.Confirmed)
		r.frame.Free()
	}
	return nil
}
