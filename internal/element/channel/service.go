package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Config configures a Service.
type Config struct {
	// Tree is where the channels are.
	Tree *anchor.Tree
	// MaxBytes limits what all channels hold together, messages on their way
	// included. At the limit senders wait. 0 means DefaultBytes.
	MaxBytes int64
	// MaxCalls limits the sends and receives that are open on one channel at
	// once. Beyond it they fail with Exhausted. 0 means DefaultCalls.
	MaxCalls int
}

// DefaultCalls is the default of Config.MaxCalls.
const DefaultCalls = 1 << 15

// Service is the Chans service of one tree of anchors. Its methods may be
// called concurrently.
type Service struct {
	circuitv1.UnimplementedChansServer
	cfg     Config
	budget  *Budget
	chans   atomic.Int64
	readers sync.WaitGroup
}

var _ circuitv1.ChansServer = (*Service)(nil)

// NewService returns the Chans service of cfg.Tree.
func NewService(cfg Config) *Service {
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = DefaultCalls
	}
	return &Service{cfg: cfg, budget: NewBudget(cfg.MaxBytes)}
}

// Wait waits for the goroutines that calls left behind. It is called once the
// gRPC servers that the service was registered with have stopped.
func (s *Service) Wait() { s.readers.Wait() }

// Count returns how many channels there are.
func (s *Service) Count() int { return int(s.chans.Load()) }

// Bytes returns what all channels hold together.
func (s *Service) Bytes() circuit.Size { return circuit.Size(s.budget.Used()) }

// Make implements circuitv1.ChansServer.
func (s *Service) Make(ctx context.Context, req *circuitv1.MakeChanRequest) (*circuitv1.MakeReply, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetCap() > math.MaxInt32 {
		return nil, &circuit.Error{Op: "mkchan", Path: path.String(), Kind: circuit.Invalid, Err: errors.New("a channel's capacity is at most 2147483647")}
	}
	generation, err := s.cfg.Tree.Make(ctx, path, req.GetNonce(), func(uint64) (anchor.Element, error) {
		s.chans.Add(1)
		return newChan(int(req.GetCap()), s.cfg.MaxCalls, s.budget, func() { s.chans.Add(-1) }), nil
	})
	if err != nil {
		return nil, circuit.At("mkchan", path.String(), err)
	}
	return &circuitv1.MakeReply{Generation: generation}, nil
}

// Stat implements circuitv1.ChansServer.
func (s *Service) Stat(ctx context.Context, _ *circuitv1.StatChanRequest) (*circuitv1.ChanStat, error) {
	c, _, err := s.find(ctx, "peek")
	if err != nil {
		return nil, err
	}
	return rpc.ChanStatToProto(c.Stat()), nil
}

// Close implements circuitv1.ChansServer.
func (s *Service) Close(ctx context.Context, _ *circuitv1.CloseChanRequest) (*circuitv1.CloseChanReply, error) {
	c, path, err := s.find(ctx, "close")
	if err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, circuit.At("close", path, err)
	}
	return &circuitv1.CloseChanReply{}, nil
}

// find returns the channel that a call concerns, and its path.
func (s *Service) find(ctx context.Context, op string) (*Chan, string, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, "", err
	}
	generation, err := rpc.GenerationFrom(ctx)
	if err != nil {
		return nil, "", err
	}
	e, _, err := s.cfg.Tree.Get(path, generation)
	if err != nil {
		return nil, "", circuit.At(op, path.String(), err)
	}
	c, ok := e.(*Chan)
	if !ok {
		return nil, "", &circuit.Error{Op: op, Path: path.String(), Kind: circuit.Invalid, Err: fmt.Errorf("there is a %s here, not a channel", e.Kind())}
	}
	return c, path.String(), nil
}

// Send implements circuitv1.ChansServer.
func (s *Service) Send(stream grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.SendReply]) error {
	ctx := stream.Context()
	c, path, err := s.find(ctx, "send")
	if err != nil {
		return err
	}
	call, err := c.newSender()
	if err != nil {
		return circuit.At("send", path, err)
	}
	defer call.leave()
	s.readers.Go(func() {
		var f rpc.Frame
		read(stream, &f, call, func() error {
			err := call.put(&f)
			f.Free()
			if err != nil {
				return err
			}
			return call.await(ctx)
		})
	})
	var done []outcome
	for {
		done, err = call.next(ctx, done)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return circuit.At("send", path, err)
		}
		reply := &circuitv1.SendReply{Outcomes: make([]*circuitv1.SendReply_Outcome, len(done))}
		for i, o := range done {
			out := &circuitv1.SendReply_Outcome{Message: o.message, Count: o.count}
			if o.err != nil {
				out.Error = rpc.ErrorToProto(circuit.At("send", path, o.err))
			}
			reply.Outcomes[i] = out
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
}

// read passes what the client sends on: it reads into m, and calls take, until
// there is no more, which it tells the call, or take fails.
func read(stream grpc.ServerStream, m any, call interface {
	finish()
	fail(error)
}, take func() error) {
	for {
		switch err := stream.RecvMsg(m); {
		case err == io.EOF:
			call.finish()
			return
		case err != nil:
			if stream.Context().Err() == nil {
				call.fail(errUnreadable)
			}
			return
		}
		if take() != nil {
			return
		}
	}
}

// errUnreadable ends calls whose next message cannot be read although they are
// not over.
var errUnreadable = circuit.Errorf(circuit.Invalid, "what the client sent is not understood, or too long")

// Recv implements circuitv1.ChansServer.
func (s *Service) Recv(stream grpc.BidiStreamingServer[circuitv1.RecvRequest, circuitv1.Frame]) error {
	ctx := stream.Context()
	c, path, err := s.find(ctx, "recv")
	if err != nil {
		return err
	}
	call, err := c.newReceiver()
	if err != nil {
		return circuit.At("recv", path, err)
	}
	defer call.leave()
	s.readers.Go(func() {
		var req circuitv1.RecvRequest
		read(stream, &req, call, func() error { return call.request(req.GetCredit(), req.GetAck()) })
	})
	var f rpc.Frame
	for {
		d, err := call.next(ctx)
		switch {
		case err == io.EOF:
			return nil
		case err == errDrained:
			if err := stream.SendMsg(&rpc.Frame{End: true}); err != nil {
				return err
			}
			return circuit.At("recv", path, errDrained)
		case err != nil:
			return circuit.At("recv", path, err)
		}
		d.frame(&f, path)
		err = stream.SendMsg(&f)
		f.Free()
		if err != nil {
			return err
		}
	}
}

// frame makes f the frame that carries d. It takes over the references in d.
func (d *delivery) frame(f *rpc.Frame, path string) {
	*f = rpc.Frame{
		Message: d.message, Offset: d.offset, Data: d.data, End: d.end,
		Redelivered: d.redelivered, Confirmed: d.confirmed, Sizes: f.Sizes[:0],
	}
	switch len(d.parts) {
	case 0:
		if d.broken != nil {
			f.Error = rpc.ErrorToProto(circuit.At("recv", path, d.broken))
		}
		return
	case 1:
		f.End, f.Data = true, mem.BufferSlice{mem.SliceBuffer(d.parts[0])}
		return
	}
	total := 0
	for _, p := range d.parts {
		f.Sizes = append(f.Sizes, uint32(len(p)))
		total += len(p)
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(total)
	at := 0
	for _, p := range d.parts {
		at += copy((*buf)[at:], p)
	}
	f.Data = mem.BufferSlice{mem.NewBuffer(buf, pool)}
}
