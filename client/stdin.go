package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Stdin feeds a process. It is not for use by several goroutines at once.
type Stdin struct {
	s   subject
	ctx context.Context

	stream stdinStream // nil if there is none
	link   link
	cancel context.CancelFunc
	sent   uint64
	end    bool  // the end of the input may have been sent
	ended  bool  // nothing more may be sent
	err    error // why not, nil after Close and Detach

	turn chan struct{} // closed when it is this writer's turn
	done chan struct{} // closed when the server ended the call

	mu      sync.Mutex // guards what the replies say
	written uint64
	closed  bool
	failed  error // set before done is closed
}

type stdinStream = grpc.BidiStreamingClient[circuitv1.Frame, circuitv1.StdinReply]

// Stdin returns a writer to the standard input of the process. It asks nobody
// before the first Write, ReadFrom, Close or Detach.
//
// One writer at a time feeds a process; others wait their turn, in order of
// arrival, in their first call. When ctx ends before Close, the input stays
// open for the next writer, and what was written last may not have arrived:
// then errors.Is finds ErrLost in the error of Detach and Close, beside
// ErrTimeout or ErrCanceled, which is the kind.
func (p *Proc) Stdin(ctx context.Context) *Stdin {
	return &Stdin{s: p.subject("stdin"), ctx: ctx, turn: make(chan struct{}), done: make(chan struct{})}
}

// Write sends b, which it does not keep. It blocks until it is this writer's
// turn, and while the process does not read. That it returns does not mean that
// the process has b already; Close and Detach wait for that.
//
// ErrClosed says that the process has ended or that its input is closed,
// ErrLost that the connection broke: then Written bytes arrived for sure, and
// those after them perhaps.
func (s *Stdin) Write(b []byte) (int, error) {
	if err := s.await(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(b) {
		part := b[done:min(done+sendChunk, len(b))]
		if err := s.send(mem.Copy(part, s.s.c.pool)); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// ReadFrom sends all that r gives. It does not read from r before it is this
// writer's turn.
func (s *Stdin) ReadFrom(r io.Reader) (int64, error) {
	if err := s.await(); err != nil {
		return 0, err
	}
	var done int64
	for {
		b, err := gather(s.s.c.pool, r)
		n := b.Len()
		if n == 0 {
			b.Free()
		} else if err := s.send(b); err != nil {
			return done, err
		}
		done += int64(n)
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// Close closes the input of the process for good and returns once the process
// was handed everything and the end. To close the input of a process that has
// ended is an error only where something written did not reach it.
func (s *Stdin) Close() error { return s.finish(true) }

// Detach gives up the turn and leaves the input open. It returns once the
// process was handed everything. After Close it does nothing.
func (s *Stdin) Detach() error {
	if s.stream == nil {
		s.ended = true
	}
	return s.finish(false)
}

// Written returns how many bytes the process was handed for sure.
func (s *Stdin) Written() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Done returns a channel that is closed once the input takes no more from this
// writer: after Close and Detach, when the process has ended, the connection
// broke, or the context ended. It never closes before the first Write,
// ReadFrom, Close or Detach. It may be used from other goroutines.
func (s *Stdin) Done() <-chan struct{} { return s.done }

func (s *Stdin) fail(err error) error {
	s.ended, s.err = true, circuit.At(s.s.op, s.s.path.String(), err)
	return s.err
}

// begin opens the stream.
func (s *Stdin) begin() (err error) {
	if s.ended {
		if s.err == nil {
			return circuit.At(s.s.op, s.s.path.String(), circuit.Errorf(circuit.Closed, "this writer is closed"))
		}
		return s.err
	}
	if s.stream != nil {
		return nil
	}
	stream, l, cancel, err := open(s.ctx, s.s, firstPatience, func(ctx context.Context, c grpc.ClientConnInterface) (stdinStream, error) {
		return circuitv1.NewProcsClient(c).Stdin(rpc.WithBulk(ctx))
	})
	if err != nil {
		return s.fail(err)
	}
	if !s.s.c.spawn(func() { s.listen(stream) }) {
		cancel()
		return s.fail(errClientClosed())
	}
	s.stream, s.link, s.cancel = stream, l, cancel
	return nil
}

// await opens the stream if need be, and returns when it is this writer's turn.
func (s *Stdin) await() error {
	if err := s.begin(); err != nil {
		return err
	}
	select {
	case <-s.turn:
		return nil
	case <-s.done:
	}
	select {
	case <-s.turn: // it came first; whether anything is still to be written is for the caller to say
		return nil
	default:
		return s.over()
	}
}

// listen takes the server's replies until the call ends.
func (s *Stdin) listen(stream stdinStream) {
	mine := false
	for {
		r, err := stream.Recv()
		if err == nil && (r.GetTurn() || r.GetWritten() > 0 || r.GetClosed()) && !mine {
			mine = true
			close(s.turn)
		}
		s.mu.Lock()
		if err != nil {
			s.failed = err
		} else {
			s.written = max(s.written, r.GetWritten())
			s.closed = s.closed || r.GetClosed()
		}
		s.mu.Unlock()
		if err != nil {
			close(s.done)
			return
		}
	}
}

// send sends b, and gives up the reference to it.
func (s *Stdin) send(b mem.Buffer) error {
	f := rpc.Frame{Data: mem.BufferSlice{b}, Offset: s.sent}
	n := b.Len()
	err := s.stream.SendMsg(&f)
	f.Free()
	if err != nil {
		<-s.done
		return s.over()
	}
	s.sent += uint64(n)
	return nil
}

// over says why the call ended before it should.
func (s *Stdin) over() error {
	s.mu.Lock()
	err, written := s.failed, s.written
	s.mu.Unlock()
	s.cancel()
	if err == io.EOF {
		return s.fail(circuit.Errorf(circuit.Closed, "the process takes no more input"))
	}
	_, err = s.s.failure(s.ctx, s.link, err)
	if s.sent > written || s.end {
		err = s.s.uncertain(err, fmt.Sprintf("the process has %d bytes of the input, and may or may not have what followed; %s", written, s.s.look()))
	}
	return s.fail(err)
}

// finish ends the call: with the end of the input, or without.
func (s *Stdin) finish(end bool) error {
	if s.ended {
		return s.err
	}
	if err := s.begin(); err != nil {
		return err
	}
	var sent error
	if end {
		s.end = true
		sent = s.stream.SendMsg(&rpc.Frame{Offset: s.sent, End: true})
	}
	if sent == nil {
		_ = s.stream.CloseSend()
	}
	<-s.done
	s.mu.Lock()
	err, written, closed := s.failed, s.written, s.closed
	s.mu.Unlock()
	switch {
	case end && closed && written >= s.sent:
	case !end && err == io.EOF && written >= s.sent:
	case errors.Is(err, io.EOF):
		return s.fail(circuit.Errorf(circuit.Closed, "the process ended, or its input was closed, before it was handed everything"))
	default:
		return s.over()
	}
	s.cancel()
	s.ended = true
	return nil
}

var _ interface {
	io.WriteCloser
	io.ReaderFrom
} = (*Stdin)(nil)
