package client

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// maxStalls is how often in a row a stream may break without giving anything.
const maxStalls = 8

// ackTime is how long Close waits for the server to take its acknowledgement.
const ackTime = time.Second

// Output reads one output stream of a process. It is not for use by several
// goroutines at once.
type Output struct {
	s        subject
	ctx      context.Context
	name     circuitv1.OutputRequest_Stream
	noFollow bool

	stream outputStream // nil if there is none
	link   link
	cancel context.CancelFunc

	data   data
	first  uint64 // place where reading began
	next   uint64 // place of the first byte of data
	used   uint64 // bytes before were used
	acked  uint64 // the server was told so, on this stream
	ended  bool   // nothing follows data
	stalls int    // how often the stream broke since it last gave something
	err    error  // why nothing more can be read
}

type outputStream = grpc.BidiStreamingClient[circuitv1.OutputRequest, circuitv1.Frame]

// OutputOption is a setting of Stdout and Stderr.
type OutputOption func(*outputConfig)

type outputConfig struct {
	offset   uint64
	noFollow bool
}

// FromOffset begins at that byte of the stream, counted from 0. The default is
// the beginning.
func FromOffset(n uint64) OutputOption { return func(c *outputConfig) { c.offset = n } }

// NoFollow ends the stream after what there is at the time, and does not wait
// for more.
func NoFollow() OutputOption { return func(c *outputConfig) { c.noFollow = true } }

// LostError says that bytes of a process's output are gone: they were given up
// before this reader came to them. It is of kind ErrLost.
type LostError struct {
	Offset uint64 // of the first byte that is gone
	Bytes  uint64 // how many are gone
}

// Error says how much is gone.
func (e *LostError) Error() string {
	return fmt.Sprintf("%d bytes of the output are gone, from byte %d on", e.Bytes, e.Offset)
}

// Unwrap returns ErrLost.
func (e *LostError) Unwrap() error { return ErrLost }

// Stdout reads the standard output of the process: from the oldest byte that is
// kept, following it as the process writes, to the process's end of file. Any
// number of readers read at once, each from its own place, before and after the
// process ends. The stream is opened by the first Read or WriteTo; the reader
// must be closed, or ctx ended.
//
// Bytes count as used, so that the server may give them up where it needs the
// room, when the Read after the one that returned them is called, when WriteTo
// has written them, and when the reader is closed.
func (p *Proc) Stdout(ctx context.Context, opts ...OutputOption) *Output {
	return p.output(ctx, "stdout", circuitv1.OutputRequest_STDOUT, opts)
}

// Stderr reads the standard error of the process, as Stdout does its standard
// output.
func (p *Proc) Stderr(ctx context.Context, opts ...OutputOption) *Output {
	return p.output(ctx, "stderr", circuitv1.OutputRequest_STDERR, opts)
}

func (p *Proc) output(ctx context.Context, op string, name circuitv1.OutputRequest_Stream, opts []OutputOption) *Output {
	var c outputConfig
	for _, o := range opts {
		o(&c)
	}
	return &Output{s: p.subject(op), ctx: ctx, name: name, noFollow: c.noFollow, first: c.offset, next: c.offset, used: c.offset}
}

// Read returns what is there as soon as anything is. At the end of the stream
// it returns io.EOF. Where bytes are gone it returns a *LostError, once; the
// next Read goes on after the gap. When the connection breaks, it reconnects
// and goes on where it was.
func (o *Output) Read(b []byte) (int, error) {
	o.used = o.next
	if len(b) == 0 {
		return 0, o.err
	}
	if err := o.fill(); err != nil {
		return 0, err
	}
	n := o.data.read(b, len(b))
	o.next += uint64(n)
	return n, nil
}

// WriteTo writes the rest of the stream to w, with fewer copies than Read
// makes. Where bytes are gone it returns a *LostError, and may be called again
// to go on after the gap.
func (o *Output) WriteTo(w io.Writer) (int64, error) {
	var done int64
	for {
		o.used = o.next
		if err := o.fill(); err == io.EOF {
			return done, nil
		} else if err != nil {
			return done, err
		}
		n, err := o.data.writeTo(w, math.MaxInt)
		o.next += uint64(n)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
}

// Offset returns the place in the stream of the next byte that Read returns.
func (o *Output) Offset() uint64 { return o.next }

// Close ends the reading. The bytes that were returned count as used; Close
// returns once the server was told, or could not be within a second. The
// process is not affected.
func (o *Output) Close() error {
	o.used = o.next
	if o.err == nil {
		o.err = circuit.At(o.s.op, o.s.path.String(), circuit.Errorf(circuit.Closed, "this reader is closed"))
	}
	o.end()
	o.data.free()
	return nil
}

// end lets the server end the call.
func (o *Output) end() {
	if o.stream == nil {
		return
	}
	late := time.AfterFunc(ackTime, o.cancel)
	defer late.Stop()
	o.ack()
	var err error
	if o.acked > o.first {
		err = o.stream.CloseSend()
	} else {
		o.cancel() // there is nothing that the server must hear of first
	}
	for err == nil {
		var f rpc.Frame
		err = o.stream.RecvMsg(&f)
		f.Free()
	}
	o.drop()
}

// drop gives the stream up.
func (o *Output) drop() {
	o.cancel()
	o.stream, o.link, o.cancel = nil, nil, nil
}

// ack tells the server what was used.
func (o *Output) ack() {
	if o.used > o.acked {
		o.acked = o.used
		// If this fails, so does the RecvMsg that follows, and says why.
		_ = o.stream.Send(&circuitv1.OutputRequest{Ack: o.used})
	}
}

// fill returns once there is data, or nothing to expect, with io.EOF, or a gap.
func (o *Output) fill() error {
	patience := firstPatience
	for o.data.empty() {
		if o.err != nil {
			return o.err
		}
		if o.ended {
			o.end()
			o.err = io.EOF
			return o.err
		}
		if o.stream == nil {
			if o.err = o.begin(patience); o.err != nil {
				return o.err
			}
		}
		o.ack()
		var f rpc.Frame
		if err := o.stream.RecvMsg(&f); err != nil {
			if o.err = o.broke(err); o.err != nil {
				return o.err
			}
			patience = laterPatience
			continue
		}
		o.stalls = 0
		if gap := o.take(&f); gap != nil {
			return gap
		}
	}
	return nil
}

// begin opens the stream at the next byte.
func (o *Output) begin(patience time.Duration) (err error) {
	o.stream, o.link, o.cancel, err = open(o.ctx, o.s, patience, func(ctx context.Context, c grpc.ClientConnInterface) (outputStream, error) {
		return circuitv1.NewProcsClient(c).Output(rpc.WithBulk(ctx))
	})
	if err != nil {
		o.stream = nil
		return err
	}
	o.acked = o.first // what was acknowledged before may not have arrived
	_ = o.stream.Send(&circuitv1.OutputRequest{Open: &circuitv1.OutputRequest_Open{
		Stream: o.name, Offset: o.next, NoFollow: o.noFollow,
	}})
	return nil
}

// broke ends a stream that failed with err, and returns nil if it may be opened
// again.
func (o *Output) broke(err error) error {
	l := o.link
	o.drop()
	if err == io.EOF { // without an end
		return circuit.At(o.s.op, o.s.path.String(), circuit.Errorf(circuit.Lost, "the server broke the stream off"))
	}
	fate, err := o.s.failure(o.ctx, l, err)
	switch o.stalls++; {
	case fate == answered, fate == lostBeyond && o.stalls > 1:
		return circuit.At(o.s.op, o.s.path.String(), err)
	case o.stalls > maxStalls:
		return circuit.At(o.s.op, o.s.path.String(), rpc.Read(err))
	}
	avoid(o.ctx, l)
	return nil
}

// take takes the content of f, and returns a *LostError where there is a gap.
func (o *Output) take(f *rpc.Frame) error {
	o.ended = f.End
	n := f.Data.Len()
	if n == 0 && f.Lost == 0 {
		f.Free()
		return nil
	}
	o.data.set(f.Data)
	if f.Offset <= o.next {
		o.data.skip(int(min(uint64(n), o.next-f.Offset))) // not asked for
		return nil
	}
	gap := &LostError{Offset: o.next, Bytes: f.Offset - o.next}
	o.next = f.Offset
	return gap
}

var _ interface {
	io.ReadCloser
	io.WriterTo
} = (*Output)(nil)
