package proc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
)

const self = circuit.ServerID(0x56e7a2a0d47a7b5d)

// world is a Procs service and a client of it.
type world struct {
	testing.TB
	dir     string
	tree    *anchor.Tree
	service *Service
	client  circuitv1.ProcsClient
	stop    func() // as when the server stops; may be called twice
}

// newWorld makes a service. At the end it is shut down, and nothing may be left.
func newWorld(t testing.TB, change func(*Config)) *world {
	host := newTestHost(t)
	if _, _, exit := run(t, host, circuit.Cmd{Path: "/bin/true"}); exit.Status.ExitStatus() != 0 { // opens what stays open
		t.Fatal("/bin/true failed")
	}
	w := &world{TB: t, dir: t.TempDir(), tree: anchor.New(anchor.Config{Self: self})}
	cfg := Config{
		Tree: w.tree, Host: host, SpoolDir: filepath.Join(w.dir, "spool"),
		StreamSpool: circuit.DefaultSpool, Spool: 1 << 30, SpoolMemory: 16 << 20,
		MaxProcs: 10_000, Grace: time.Minute, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	for _, dir := range []string{cfg.SpoolDir, cfg.RecordDir} {
		if err := os.MkdirAll(dir, 0o700); dir != "" && err != nil {
			t.Fatal(err)
		}
	}
	files := openFiles(t)
	w.service = NewService(cfg)
	if err := w.service.Restore(); err != nil {
		t.Fatal(err)
	}
	w.serve()
	t.Cleanup(func() {
		w.stop()
		// One that is restored ends what another world in the same test runs.
		if n := openFiles(t); n > files || n < files && cfg.RecordDir == "" {
			t.Errorf("%d descriptors are open, %d were at the start", n, files)
		}
		for _, dir := range []string{cfg.SpoolDir, cfg.RecordDir} {
			if left, _ := os.ReadDir(dir); len(left) > 0 && cfg.RecordDir == "" {
				t.Errorf("%s is left in %s", left[0].Name(), dir)
			}
		}
		if b := w.service.budget; b.Kept() != 0 || b.InMemory() != 0 {
			t.Errorf("%d bytes are kept, %d in memory", b.Kept(), b.InMemory())
		}
		if n := w.service.Count(); n != 0 || w.service.count != 0 {
			t.Errorf("%d processes are left, %d counted", n, w.service.count)
		}
	})
	return w
}

func (w *world) serve() {
	intercept := rpc.Interceptor{Log: slog.New(slog.DiscardHandler)}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec()), grpc.UnaryInterceptor(intercept.Unary), grpc.StreamInterceptor(intercept.Stream),
		grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(8<<20))
	circuitv1.RegisterProcsServer(server, w.service)
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rpc.Codec())),
		grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(8<<20))
	if err != nil {
		w.Fatal(err)
	}
	w.client = circuitv1.NewProcsClient(conn)
	w.stop = func() {
		w.service.Shutdown(context.Background(), time.Minute)
		conn.Close()
		server.Stop()
		w.service.Drain()
		if err := <-served; err != nil {
			w.Error(err)
		}
		w.stop = func() {}
	}
}

func (w *world) path(name string) circuit.Path {
	p, err := self.Path().Join(name)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// proc is a process of a world, as a client sees it.
type proc struct {
	*world
	name       string
	generation uint64
}

func (w *world) try(name string, c circuit.Cmd) (*proc, error) {
	r, err := w.client.Make(rpc.WithPath(w.Context(), w.path(name)), &circuitv1.MakeProcRequest{Cmd: rpc.CmdToProto(c)})
	return &proc{w, name, r.GetGeneration()}, rpc.FromStatus("", "", err)
}

func (w *world) start(name string, c circuit.Cmd) *proc {
	w.Helper()
	p, err := w.try(name, c)
	if err != nil {
		w.Fatalf("start %s %q: %v", c.Path, c.Args, err)
	}
	return p
}

// on is the context of a call on the process.
func (p *proc) on() context.Context { return p.within(p.Context()) }

func (p *proc) within(ctx context.Context) context.Context {
	return rpc.WithGeneration(rpc.WithPath(ctx, p.path(p.name)), p.generation)
}

func (p *proc) stat() circuit.ProcStat {
	p.Helper()
	s, err := p.client.Stat(p.on(), &circuitv1.StatProcRequest{})
	if err != nil {
		p.Fatal(err)
	}
	return rpc.ProcStatFromProto(s)
}

func (p *proc) wait() circuit.ProcStat {
	p.Helper()
	s, err := p.client.Wait(p.on(), &circuitv1.WaitProcRequest{})
	if err != nil {
		p.Fatal(err)
	}
	return rpc.ProcStatFromProto(s)
}

func (p *proc) signal(name string) error {
	_, err := p.client.Signal(p.on(), &circuitv1.SignalProcRequest{Signal: name})
	return rpc.FromStatus("", "", err)
}

func (p *proc) mustSignal(name string) {
	p.Helper()
	if err := p.signal(name); err != nil {
		p.Fatalf("signal %s: %v", name, err)
	}
}

func (p *proc) scrub(mode circuitv1.ScrubRequest_Mode, grace time.Duration) error {
	return p.tree.Scrub(p.Context(), p.path(p.name), p.generation, anchor.Scrub{Mode: mode, Grace: grace})
}

// writer is a Stdin call.
type writer struct {
	*proc
	circuitv1.Procs_StdinClient
	cut context.CancelFunc
}

func (p *proc) stdin() *writer {
	ctx, cut := context.WithCancel(p.Context())
	s, err := p.client.Stdin(p.within(ctx))
	if err != nil {
		p.Fatal(err)
	}
	return &writer{p, s, cut}
}

// reply takes the next reply; the error is a circuit.Error or io.EOF.
func (w *writer) reply() (*circuitv1.StdinReply, error) {
	r, err := w.Recv()
	if err != nil && err != io.EOF {
		err = rpc.FromStatus("", "", err)
	}
	return r, err
}

// turn waits for the writer's turn.
func (w *writer) turn() *writer {
	w.Helper()
	if r, err := w.reply(); err != nil || !r.GetTurn() {
		w.Fatalf("waiting for a turn: %v, %v", r, err)
	}
	return w
}

func (w *writer) put(text string, end bool) {
	w.Helper()
	err := w.Send(&circuitv1.Frame{Data: []byte(text), End: end})
	if err != nil && err != io.EOF { // the replies say why the call is over
		w.Fatal(err)
	}
}

// refused wants the server to say that the process takes nothing: either before
// it has seen what was sent, or of that.
func (w *writer) refused() {
	w.Helper()
	if r, err := w.reply(); !errors.Is(err, circuit.Closed) && (!r.GetClosed() || r.GetWritten() > 0) {
		w.Errorf("a byte that the process cannot take: %v, %v", r, err)
	}
}

// give writes text, waits until the process has it, and ends the input or only
// the call.
func (w *writer) give(text string, end bool) {
	w.Helper()
	w.turn().put(text, end)
	if !end {
		w.CloseSend()
	}
	for written := uint64(0); ; {
		r, err := w.reply()
		if err == io.EOF && !end && written == uint64(len(text)) {
			return
		}
		if err != nil {
			w.Fatalf("after %d bytes: %v", written, err)
		}
		if written = r.GetWritten(); r.GetClosed() {
			if !end || written != uint64(len(text)) {
				w.Fatalf("closed after %d bytes", written)
			}
			return
		}
	}
}

// reader is an Output call.
type reader struct {
	*proc
	circuitv1.Procs_OutputClient
	cut  context.CancelFunc
	at   uint64
	lost uint64
}

const (
	stdout = circuitv1.OutputRequest_STDOUT
	stderr = circuitv1.OutputRequest_STDERR
)

func (p *proc) open(open *circuitv1.OutputRequest_Open) *reader {
	p.Helper()
	ctx, cut := context.WithCancel(p.Context())
	s, err := p.client.Output(p.within(ctx))
	if err == nil {
		err = s.Send(&circuitv1.OutputRequest{Open: open})
	}
	if err != nil {
		p.Fatal(err)
	}
	return &reader{proc: p, Procs_OutputClient: s, cut: cut, at: open.Offset}
}

func (p *proc) stdout() *reader { return p.open(&circuitv1.OutputRequest_Open{Stream: stdout}) }

// next takes a frame; the error is io.EOF after the last.
func (r *reader) next() ([]byte, error) {
	var f circuitv1.Frame
	if err := r.RecvMsg(&f); err != nil {
		return nil, rpc.FromStatus("", "", err)
	}
	if f.Lost != f.Offset-r.at {
		r.Fatalf("a frame at %d after %d says %d are lost", f.Offset, r.at, f.Lost)
	}
	r.at, r.lost = f.Offset+uint64(len(f.Data)), r.lost+f.Lost
	if f.End {
		return nil, io.EOF
	}
	return f.Data, nil
}

func (r *reader) ack() {
	if err := r.Send(&circuitv1.OutputRequest{Ack: r.at}); err != nil {
		r.Fatal(err)
	}
}

// read takes exactly n bytes, or with n < 0 all to the end.
func (r *reader) read(n int) string {
	r.Helper()
	var b bytes.Buffer
	for n < 0 || b.Len() < n {
		data, err := r.next()
		if errors.Is(err, io.EOF) && n < 0 {
			r.CloseSend()
			break
		}
		if err != nil {
			r.Fatalf("after %d bytes: %v", b.Len(), err)
		}
		b.Write(data)
	}
	return b.String()
}

// eventually waits for what no event tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never happens: %s", what)
		}
	}
}
