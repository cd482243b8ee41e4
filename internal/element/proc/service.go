package proc

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

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
	// MaxProcs limits the process elements. So does a quarter of the open files
	// allowed, less some for connections.
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

	tasks sync.WaitGroup // those that await the end of processes
	calls sync.WaitGroup // receivers of calls that have ended

	starting sync.RWMutex // read-held while a process is started
	stopping bool         // guarded by starting

	mu    sync.Mutex
	procs map[*Proc]struct{} // elements, and abandoned processes that run
	count int64              // of them, and of those being started
}

var _ circuitv1.ProcsServer = (*Service)(nil)

// Descriptors: what a running process takes, and what is left for connections.
const (
	procFiles    = 4
	reserveFiles = 256
)

// NewService returns the Procs service. Shutdown must be called in the end.
func NewService(cfg Config) *Service {
	s := &Service{
		cfg: cfg, budget: spool.NewBudget(cfg.Spool, cfg.SpoolMemory), procs: make(map[*Proc]struct{}),
		max: int64(cfg.MaxProcs), limit: "the limit processes",
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		most := (files.Cur - min(reserveFiles, files.Cur/4)) / procFiles
		if most < uint64(s.max) {
			s.max, s.limit = int64(most), fmt.Sprintf("as its %d open files (ulimit -n) allow", files.Cur)
		}
	}
	return s
}

// Count returns how many process elements there are.
func (s *Service) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.procs)
}

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
	s.starting.RLock()
	defer s.starting.RUnlock()
	if s.stopping {
		return nil, circuit.Errorf(circuit.Unreachable, "the server is stopping")
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	child, err := s.cfg.Host.Start(cmd)
	if err != nil {
		s.dismiss(nil)
		return nil, err
	}
	p := &Proc{
		service: s, path: path, generation: generation, cmd: cmd, child: child, started: time.Now(), pid: child.Pid(), mark: child.Mark(),
		stdin: newInput(child.Stdin()), settled: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}),
	}
	p.stdout = &output{pipe: child.Stdout(), spool: spool.New(p.spoolConfig(stdoutName))}
	p.stderr = &output{pipe: child.Stderr(), spool: spool.New(p.spoolConfig(stderrName))}
	s.mu.Lock()
	s.procs[p] = struct{}{}
	s.mu.Unlock()
	err = s.keepRecord(p)
	p.begin()
	if err != nil {
		_ = p.signal(syscall.SIGKILL) // fails only if it has ended
		<-p.ended
		p.end()
		return nil, err
	}
	return p, nil
}

// admit counts a process that is about to be started, if there may be one more.
func (s *Service) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= s.max {
		return circuit.Errorf(circuit.Exhausted, fmt.Sprintf("this server has its limit of %d processes, %s; scrub some that have ended, or raise it", s.max, s.limit))
	}
	s.count++
	return nil
}

// dismiss is the end of what admit counted.
func (s *Service) dismiss(p *Proc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.procs, p)
	s.count--
}

// all returns all processes that hold anything.
func (s *Service) all() []*Proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.procs))
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

// drainWait is how long Shutdown waits for the last output of processes that
// have ended, where it is to be kept.
const drainWait = time.Second

// killWait is how long Shutdown waits for killed processes. One that the
// system does not let go of must not keep the server.
const killWait = 5 * time.Second

// Shutdown ends all processes and their groups: TERM, then KILL after the grace time, or at once
// when ctx ends. It returns when all is given up but what Restore finds; nothing can be
// made after.
func (s *Service) Shutdown(ctx context.Context, grace time.Duration) {
	s.starting.Lock()
	s.stopping = true
	s.starting.Unlock()
	all := s.all()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		for _, p := range all {
			_ = p.signal(sig) // fails only if it has ended
		}
	}
	soft, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for _, p := range all {
		if p.groupEnds(soft) != nil {
			_ = p.signal(syscall.SIGKILL)
		}
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), killWait)
	defer cancel()
	drained, cancel := context.WithTimeout(hard, drainWait)
	defer cancel()
	stuck := false
	for _, p := range all {
		if p.groupEnds(hard) != nil {
			s.cfg.Log.Warn("a process that was killed does not end, and is left", slog.Int("pid", p.pid))
		}
		if !p.hasEnded() {
			stuck = true
			continue
		}
		p.leave(drained)
	}
	if stuck {
		return // what awaits the process cannot end before it does
	}
	s.tasks.Wait()
	_ = s.cfg.Host.Close() // has nothing left to fail at
}

// Drain waits for what calls left behind. It is called once the gRPC servers
// that the service was registered with have stopped.
func (s *Service) Drain() { s.calls.Wait() }
