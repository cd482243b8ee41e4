package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

type stdinServer = grpc.BidiStreamingServer[circuitv1.Frame, circuitv1.StdinReply]

// eat feeds w as the process service does, until the call ends.
func eat(s stdinServer, w *bytes.Buffer) error {
	for written := uint64(0); ; {
		var f rpc.Frame
		if err := s.RecvMsg(&f); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		written += uint64(f.Data.Len())
		w.Write(f.Data.Materialize())
		f.Free()
		if err := s.Send(&circuitv1.StdinReply{Written: written, Closed: f.End}); err != nil || f.End {
			return err
		}
	}
}

func TestStdin(t *testing.T) {
	f := newFake(t)
	var got bytes.Buffer
	f.procs.stdin = func(s stdinServer) error {
		_ = s.Send(&circuitv1.StdinReply{Turn: true})
		return eat(s, &got)
	}
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	long := strings.Repeat("0123456789abcdef", 100_000)
	w := p.Stdin(t.Context())
	if _, err := io.WriteString(w, "first "); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(w, strings.NewReader(long)); n != int64(len(long)) || err != nil {
		t.Fatalf("copied %d bytes, %v", n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "first " + long; got.String() != want || w.Written() != uint64(len(want)) {
		t.Errorf("the process has %d bytes, confirmed are %d, sent were %d", got.Len(), w.Written(), len(want))
	}
	<-w.Done()
	_, err := w.Write([]byte("x"))
	wantKind(t, err, ErrClosed)
	if err := w.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestStdinDetachLeavesTheInputOpen(t *testing.T) {
	f := newFake(t)
	ended := false
	f.procs.stdin = func(s stdinServer) error {
		_ = s.Send(&circuitv1.StdinReply{Turn: true})
		var f rpc.Frame
		for {
			err := s.RecvMsg(&f)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			ended = ended || f.End
			_ = s.Send(&circuitv1.StdinReply{Written: uint64(f.Data.Len())})
			f.Free()
		}
	}
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	w := p.Stdin(t.Context())
	if _, err := io.WriteString(w, "some"); err != nil {
		t.Fatal(err)
	}
	if err := w.Detach(); err != nil || w.Written() != 4 || ended {
		t.Errorf("detach: %v, %d bytes confirmed, end of input: %v", err, w.Written(), ended)
	}
	if err := p.Stdin(t.Context()).Detach(); err != nil {
		t.Errorf("detach of a writer that wrote nothing: %v", err)
	}
}

// untouched is a reader that must not be read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("read before it was this writer's turn")
	return 0, io.EOF
}

func TestStdinWaitsItsTurn(t *testing.T) {
	f := newFake(t)
	opened := make(chan struct{})
	f.procs.stdin = func(s stdinServer) error {
		close(opened)
		<-s.Context().Done()
		return s.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdin(ctx)
	failed := make(chan error)
	go func() {
		_, err := w.ReadFrom(untouched{t})
		failed <- err
	}()
	<-opened
	cancel()
	wantKind(t, <-failed, ErrCanceled)
}

func TestStdinFailures(t *testing.T) {
	f := newFake(t)
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	for _, test := range []struct {
		name string
		kind ErrorKind
		call func(s stdinServer) error
	}{
		{"the process ended", ErrClosed, func(s stdinServer) error {
			return circuit.Errorf(circuit.Closed, "the process takes no more input")
		}},
		{"cut off", ErrLost, func(s stdinServer) error {
			f.cut()
			<-s.Context().Done()
			return nil
		}},
		{"not all was taken", ErrClosed, func(s stdinServer) error {
			return s.Send(&circuitv1.StdinReply{Written: 2, Closed: true})
		}},
		{"no confirmation", ErrClosed, func(s stdinServer) error { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			f.procs.stdin = func(s stdinServer) error {
				calls++
				_ = s.Send(&circuitv1.StdinReply{Turn: true})
				if _, err := s.Recv(); err != nil {
					return err
				}
				return test.call(s)
			}
			w := p.Stdin(t.Context())
			_, err := io.WriteString(w, "input")
			if closed := w.Close(); err == nil {
				err = closed
			}
			wantKind(t, err, test.kind)
			if calls != 1 {
				t.Errorf("%d calls, want 1: what was written is never sent again", calls)
			}
			<-w.Done()
		})
	}
}

func TestStdinFailsWithItsReader(t *testing.T) {
	f := newFake(t)
	f.procs.stdin = func(s stdinServer) error {
		_ = s.Send(&circuitv1.StdinReply{Turn: true})
		return eat(s, new(bytes.Buffer))
	}
	w := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdin(t.Context())
	broken := errors.New("broken disk")
	_, err := w.ReadFrom(io.MultiReader(strings.NewReader("abc"), brokenReader{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want the reader's", err)
	}
	if err := w.Detach(); err != nil || w.Written() != 3 {
		t.Errorf("detach: %v; %d bytes confirmed, want 3", err, w.Written())
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }
