package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/spool"
)

// Config configures a Service.
type Config struct {
	Tree *anchor.Tree
	Host Host
	// SpoolDir is where output is kept that does not fit in memory.
	SpoolDir string
	// RecordDir is where it is recorded which processes there are, for Restore.
	// Empty means nowhere.
	RecordDir string
	// StreamSpool is how many bytes are kept of an output stream whose command
	// does not say; Spool of all streams, and SpoolMemory of those in memory.
	StreamSpool, Spool, SpoolMemory int64
	// MaxProcs limits the process elements. A quarter of the open files allowed
	// is a limit as well.
	MaxProcs int
	// Grace is the default time between TERM and KILL.
	Grace time.Duration
	Log   *slog.Logger
}

// The names of the streams in those of spool files.
const (
	stdoutName = "stdout"
	stderrName = "stderr"
)

// Service is the Procs service of a server.
type Service struct {
	circuitv1.UnimplementedProcsServer
	cfg    Config
	budget *spool.Budget
	max    int64
	limit  string // which limit max is

	count atomic.Int64   // elements, and abandoned processes that run
	tasks sync.WaitGroup // those that await the end of processes
	calls sync.WaitGroup // receivers of calls that have ended

	mu       sync.Mutex
	live     map[*Proc]struct{} // processes that have not ended
	stopping bool
}

var _ circuitv1.ProcsServer = (*Service)(nil)

// NewService returns the Procs service. Shutdown must be called in the end.
func NewService(cfg Config) *Service {
	s := &Service{cfg: cfg, budget: spool.NewBudget(cfg.Spool, cfg.SpoolMemory), max: int64(cfg.MaxProcs), limit: "processes", live: make(map[*Proc]struct{})}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/4 < uint64(s.max) {
		s.max, s.limit = int64(min(files.Cur/4, math.MaxInt32)), "a quarter of its open files (ulimit -n)"
	}
	return s
}

// Count returns how many process elements there are.
func (s *Service) Count() int { return int(s.count.Load()) }

// SpoolBytes returns how many bytes of output are kept.
func (s *Service) SpoolBytes() circuit.Size { return circuit.Size(s.budget.Kept()) }

// Make implements circuitv1.ProcsServer.
func (s *Service) Make(ctx context.Context, req *circuitv1.MakeProcRequest) (*circuitv1.MakeReply, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, err
	}
	cmd := rpc.CmdFromProto(req.GetCmd())
	if err := cmd.Validate(); err != nil {
		return nil, circuit.At("mkproc", path.String(), err)
	}
	generation, err := s.cfg.Tree.Make(ctx, path, req.GetNonce(), func(generation uint64) (anchor.Element, error) {
		return s.start(path, generation, cmd)
	})
	if err != nil {
		return nil, circuit.At("mkproc", path.String(), err)
	}
	return &circuitv1.MakeReply{Generation: generation}, nil
}

// start starts a process and makes its element.
func (s *Service) start(path circuit.Path, generation uint64, cmd circuit.Cmd) (anchor.Element, error) {
	if n := s.count.Add(1); n > s.max {
		s.count.Add(-1)
		return nil, circuit.Errorf(circuit.Exhausted, fmt.Sprintf("this server has its limit of %d processes, which is %s; scrub some that have ended, or raise it", s.max, s.limit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		s.count.Add(-1)
		return nil, circuit.Errorf(circuit.Unreachable, "the server is stopping")
	}
	child, err := s.cfg.Host.Start(cmd)
	if err != nil {
		s.count.Add(-1)
		return nil, err
	}
	p := &Proc{
		service: s, path: path, generation: generation, cmd: cmd, child: child, started: time.Now(), pid: child.Pid(),
		stdin: newInput(child.Stdin()), ended: make(chan struct{}),
	}
	p.stdout = &output{pipe: child.Stdout(), spool: spool.New(p.spoolConfig(stdoutName))}
	p.stderr = &output{pipe: child.Stderr(), spool: spool.New(p.spoolConfig(stderrName))}
	s.live[p] = struct{}{}
	s.keepRecord(p)
	p.begin()
	return p, nil
}

func (s *Service) forgetLive(p *Proc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, p)
}

// find returns the process that a call concerns.
func (s *Service) find(ctx context.Context, op string) (*Proc, circuit.Path, error) {
	path, err := rpc.PathFrom(ctx)
	if err != nil {
		return nil, path, err
	}
	generation, err := rpc.GenerationFrom(ctx)
	if err != nil {
		return nil, path, err
	}
	e, _, err := s.cfg.Tree.Get(path, generation)
	if err != nil {
		return nil, path, circuit.At(op, path.String(), err)
	}
	p, ok := e.(*Proc)
	if !ok {
		return nil, path, &circuit.Error{Op: op, Path: path.String(), Kind: circuit.Invalid, Err: fmt.Errorf("this is a %v, not a process", e.Kind())}
	}
	return p, path, nil
}

// Stat implements circuitv1.ProcsServer.
func (s *Service) Stat(ctx context.Context, _ *circuitv1.StatProcRequest) (*circuitv1.ProcStat, error) {
	p, _, err := s.find(ctx, "peek")
	if err != nil {
		return nil, err
	}
	return rpc.ProcStatToProto(p.Stat()), nil
}

// Wait implements circuitv1.ProcsServer.
func (s *Service) Wait(ctx context.Context, _ *circuitv1.WaitProcRequest) (*circuitv1.ProcStat, error) {
	p, path, err := s.find(ctx, "wait")
	if err != nil {
		return nil, err
	}
	stat, err := p.Wait(ctx)
	if err != nil {
		return nil, circuit.At("wait", path.String(), err)
	}
	return rpc.ProcStatToProto(stat), nil
}

// Signal implements circuitv1.ProcsServer.
func (s *Service) Signal(ctx context.Context, req *circuitv1.SignalProcRequest) (*circuitv1.SignalProcReply, error) {
	p, path, err := s.find(ctx, "signal")
	if err != nil {
		return nil, err
	}
	if err := p.Signal(req.GetSignal()); err != nil {
		return nil, circuit.At("signal", path.String(), err)
	}
	return &circuitv1.SignalProcReply{}, nil
}

// Stdin implements circuitv1.ProcsServer.
func (s *Service) Stdin(stream grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]) error {
	ctx := stream.Context()
	p, path, err := s.find(ctx, "stdin")
	if err != nil {
		return err
	}
	release, err := p.stdin.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := stream.Send(&circuitv1.StdinReply{Turn: true}); err != nil {
		return err
	}
	written := uint64(0)
	for {
		var f rpc.Frame
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // without end: the input stays open
			}
			return err
		}
		n, err := p.stdin.write(ctx, f.Data)
		f.Free()
		if err != nil {
			return circuit.At("stdin", path.String(), err)
		}
		written += uint64(n)
		if f.End {
			p.stdin.close()
			return stream.Send(&circuitv1.StdinReply{Written: written, Closed: true})
		}
		if err := stream.Send(&circuitv1.StdinReply{Written: written}); err != nil {
			return err
		}
	}
}

// Output implements circuitv1.ProcsServer.
func (s *Service) Output(stream grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]) error {
	p, path, err := s.find(stream.Context(), "stdout")
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	op, from := "stdout", p.stdout
	switch first.GetOpen().GetStream() {
	case circuitv1.OutputRequest_STDOUT:
	case circuitv1.OutputRequest_STDERR:
		op, from = "stderr", p.stderr
	default:
		return circuit.At(op, path.String(), circuit.Errorf(circuit.Invalid, "the first message must open stdout or stderr"))
	}
	cursor, done := from.open(first.GetOpen().GetOffset(), !first.GetOpen().GetNoFollow())
	defer done()
	acked := make(chan struct{}) // closed once the reader has nothing more to say
	s.calls.Go(func() {          // ends with the call
		defer close(acked)
		for {
			req, err := stream.Recv()
			if err != nil {
				return
			}
			cursor.Ack(req.GetAck())
		}
	})
	return circuit.At(op, path.String(), sendOutput(stream, cursor, acked))
}

// lastAck is how long a reader has, after the end, to acknowledge the rest.
const lastAck = 10 * time.Second

func sendOutput(stream grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame], cursor *spool.Cursor, acked <-chan struct{}) error {
	offset := uint64(0)
	for {
		chunk, err := cursor.Next(stream.Context())
		switch {
		case errors.Is(err, io.EOF):
			if err := stream.SendMsg(&rpc.Frame{Offset: offset, End: true}); err != nil {
				return err
			}
			select {
			case <-acked:
			case <-time.After(lastAck):
			}
			return nil
		case errors.Is(err, spool.ErrClosed):
			return circuit.Errorf(circuit.Closed, "the process was scrubbed, and its output with it")
		case stream.Context().Err() != nil:
			return stream.Context().Err()
		case err != nil:
			return circuit.Errorf(circuit.Internal, fmt.Sprintf("the kept output cannot be read: %v", err))
		}
		offset = chunk.Offset + uint64(len(chunk.Data))
		f := rpc.Frame{Data: buffer(chunk), Offset: chunk.Offset, Lost: chunk.Lost}
		err = stream.SendMsg(&f)
		f.Free()
		if err != nil {
			return err
		}
	}
}

// Shutdown ends all processes: TERM, then KILL after the grace time, or at once
// when ctx ends. It returns when all is given up; nothing can be made after.
func (s *Service) Shutdown(ctx context.Context, grace time.Duration) {
	s.mu.Lock()
	s.stopping = true
	live := slices.Collect(maps.Keys(s.live))
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		for _, p := range live {
			_ = p.signal(sig) // fails only if it has just ended
		}
	}
	for _, p := range live {
		if _, err := p.Wait(ctx); err != nil {
			_ = p.signal(syscall.SIGKILL)
		}
	}
	for _, p := range live {
		<-p.ended
	}
	for _, e := range s.cfg.Tree.Elements() {
		if p, ok := e.(*Proc); ok {
			p.end()
		}
	}
	s.tasks.Wait()
	_ = s.cfg.Host.Close() // has nothing left to fail at
}

// Drain waits for what calls left behind. It is called once the gRPC servers
// that the service was registered with have stopped.
func (s *Service) Drain() { s.calls.Wait() }
