package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/spool"
)

type (
	stdinStream  = grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]
	outputStream = grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]
)

// Stdin implements circuitv1.ProcsServer.
func (s *Service) Stdin(stream stdinStream) error {
	p, path, err := s.find(stream.Context(), "stdin")
	if err != nil {
		return err
	}
	release, err := p.stdin.take(stream.Context())
	if err != nil {
		return err
	}
	defer release()
	if err := stream.Send(&circuitv1.StdinReply{Turn: true}); err != nil {
		return err
	}
	return circuit.At("stdin", path.String(), s.feed(stream, p.stdin))
}

// feed writes what a stream brings to the input.
func (s *Service) feed(stream stdinStream, in *input) error {
	ctx := stream.Context()
	frames, failed := s.receive(stream)
	written := uint64(0)
	for {
		select {
		case f, ok := <-frames:
			if !ok {
				return *failed // without end: the input stays open
			}
			n, err := in.write(ctx, f.Data)
			f.Free()
			if err != nil {
				return err
			}
			written += uint64(n)
			if f.End {
				in.close()
				return stream.Send(&circuitv1.StdinReply{Written: written, Closed: true})
			}
			if err := stream.Send(&circuitv1.StdinReply{Written: written}); err != nil {
				return err
			}
		case <-in.over:
			return stream.Send(&circuitv1.StdinReply{Written: written, Closed: true})
		}
	}
}

// receive passes frames on, until the client has sent its last or the call has
// ended; then it closes the channel, and failed says why unless all was sent.
func (s *Service) receive(stream stdinStream) (<-chan *rpc.Frame, *error) {
	frames, failed := make(chan *rpc.Frame), new(error)
	s.calls.Go(func() { // ends with the call
		defer close(frames)
		for {
			f := new(rpc.Frame)
			if err := stream.RecvMsg(f); err != nil {
				if err != io.EOF {
					*failed = err
				}
				return
			}
			select {
			case frames <- f:
			case <-stream.Context().Done():
				f.Free()
				*failed = stream.Context().Err()
				return
			}
		}
	})
	return frames, failed
}

// Output implements circuitv1.ProcsServer.
func (s *Service) Output(stream outputStream) error {
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
	ctx, leave := context.WithCancel(stream.Context())
	defer leave()
	acked := make(chan struct{}) // closed once the reader has nothing more to say
	s.calls.Go(func() {          // ends with the call
		defer close(acked)
		for acks := 0; ; acks++ {
			req, err := stream.Recv()
			if err == io.EOF && acks > 0 {
				leave() // it said how far it came, and wants no more
			}
			if err != nil {
				return
			}
			cursor.Ack(req.GetAck())
		}
	})
	offset, err := sendOutput(ctx, stream, cursor, first.GetOpen().GetOffset())
	switch {
	case err == io.EOF:
		err = s.endOutput(stream, p, from, offset, acked)
	case ctx.Err() != nil && stream.Context().Err() == nil:
		err = nil
	}
	return circuit.At(op, path.String(), err)
}

// sendOutput sends what the cursor gives, from offset on, until ctx ends. It
// returns where it got to, and io.EOF at the end.
func sendOutput(ctx context.Context, stream outputStream, cursor *spool.Cursor, offset uint64) (uint64, error) {
	for {
		chunk, err := cursor.Next(ctx)
		switch {
		case err == nil:
		case err == io.EOF:
			return offset, io.EOF
		case errors.Is(err, spool.ErrClosed):
			return offset, circuit.Errorf(circuit.Closed, "the process was scrubbed, and its output with it, or its server is stopping")
		case ctx.Err() != nil:
			return offset, ctx.Err()
		default:
			return offset, circuit.Errorf(circuit.Internal, fmt.Sprintf("the kept output cannot be read: %v", err))
		}
		offset = chunk.Offset + uint64(len(chunk.Data))
		f := rpc.Frame{Data: buffer(chunk), Offset: chunk.Offset, Lost: chunk.Lost}
		err = stream.SendMsg(&f)
		f.Free()
		if err != nil {
			return offset, err
		}
	}
}

// lastAck is how long a reader has, after the end, to acknowledge the rest.
const lastAck = 10 * time.Second

// endOutput tells the reader of the end, and lets it acknowledge.
func (s *Service) endOutput(stream outputStream, p *Proc, from *output, offset uint64, acked <-chan struct{}) error {
	if from.cut {
		return circuit.Errorf(circuit.Lost, fmt.Sprintf("whatever the process wrote after byte %d was lost when its server ended", offset))
	}
	if err := stream.SendMsg(&rpc.Frame{Offset: offset, End: true}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(stream.Context(), lastAck)
	defer cancel()
	select {
	case <-acked:
	case <-p.over: // nothing is kept any more
	case <-ctx.Done():
	}
	return nil
}
