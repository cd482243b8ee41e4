package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

type outputServer = grpc.BidiStreamingServer[circuitv1.OutputRequest, circuitv1.Frame]

// piece sends text that stands at offset.
func piece(s outputServer, offset int, text string) error {
	return s.SendMsg(&rpc.Frame{Offset: uint64(offset), Data: mem.BufferSlice{mem.SliceBuffer([]byte(text))}})
}

// acks returns the greatest acknowledgement until the client closes its side.
func acks(s outputServer) (last uint64) {
	for {
		r, err := s.Recv()
		if err != nil {
			return last
		}
		last = max(last, r.GetAck())
	}
}

func TestOutput(t *testing.T) {
	f := newFake(t)
	acked := make(chan uint64, 1)
	f.procs.output = func(open *circuitv1.OutputRequest_Open, s outputServer) error {
		if open.GetStream() != circuitv1.OutputRequest_STDERR || open.GetOffset() != 0 || open.GetNoFollow() {
			return circuit.Errorf(circuit.Invalid, open.String())
		}
		_ = piece(s, 0, "hello ")
		_ = piece(s, 6, "world")
		if err := s.SendMsg(&rpc.Frame{End: true}); err != nil {
			return err
		}
		acked <- acks(s)
		return nil
	}
	o := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stderr(t.Context())
	got, err := io.ReadAll(o)
	if err != nil || string(got) != "hello world" {
		t.Errorf("read %q, %v", got, err)
	}
	if n := <-acked; n != 11 {
		t.Errorf("acknowledged %d bytes", n)
	}
	if n, err := o.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d, %v", n, err)
	}
}

func TestOutputTellsOfLoss(t *testing.T) {
	f := newFake(t)
	f.procs.output = func(open *circuitv1.OutputRequest_Open, s outputServer) error {
		if open.GetOffset() != 100 || !open.GetNoFollow() {
			return circuit.Errorf(circuit.Invalid, open.String())
		}
		_ = piece(s, 150, "tail")
		_ = piece(s, 160, "more")
		return s.SendMsg(&rpc.Frame{End: true})
	}
	p := mustWalk(t, f.dial(), fakePath+"/p").Proc()
	for _, how := range []string{"Read", "WriteTo"} {
		o := p.Stdout(t.Context(), FromOffset(100), NoFollow())
		var got strings.Builder
		for more := true; more; {
			var err error
			if how == "Read" {
				_, err = io.Copy(&got, struct{ io.Reader }{o})
			} else {
				_, err = o.WriteTo(&got)
			}
			var lost *LostError
			switch {
			case errors.As(err, &lost):
				wantKind(t, err, ErrLost)
				fmt.Fprintf(&got, "[%d+%d]", lost.Offset, lost.Bytes)
			case err != nil:
				t.Fatal(err)
			default:
				more = false
			}
		}
		if want := "[100+50]tail[154+6]more"; got.String() != want {
			t.Errorf("%s gave %q, want %q", how, got.String(), want)
		}
		if o.Offset() != 164 {
			t.Errorf("offset %d at the end", o.Offset())
		}
	}
}

// Only what was used is acknowledged: what one Read returned, by the next.
func TestOutputAcknowledgesWhatWasUsed(t *testing.T) {
	f := newFake(t)
	asked := make(chan uint64)
	f.procs.output = func(_ *circuitv1.OutputRequest_Open, s outputServer) error {
		_ = piece(s, 0, "abcdef")
		r, err := s.Recv()
		if err != nil {
			return err
		}
		asked <- r.GetAck()
		_ = piece(s, 6, "ghi")
		asked <- acks(s)
		return nil
	}
	o := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdout(t.Context())
	b := make([]byte, 4)
	read := func(want string) {
		t.Helper()
		n, err := o.Read(b)
		if string(b[:n]) != want || err != nil {
			t.Fatalf("read %q, %v, want %q", b[:n], err, want)
		}
	}
	read("abcd")
	read("ef")
	select {
	case n := <-asked:
		t.Errorf("acknowledged %d bytes before the second read was over", n)
	default:
	}
	got := make(chan uint64, 2)
	go func() { got <- <-asked; got <- <-asked }()
	read("ghi")
	if n := <-got; n != 6 {
		t.Errorf("acknowledged %d bytes at the third read, want 6", n)
	}
	o.Close()
	if n := <-got; n != 9 {
		t.Errorf("acknowledged %d bytes at close, want 9", n)
	}
	if _, err := o.Read(b); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// A reader whose connection breaks goes on at the byte where it was.
func TestOutputResumes(t *testing.T) {
	f := newFake(t)
	text := strings.Repeat("0123456789", 1000)
	opened := 0
	f.procs.output = func(open *circuitv1.OutputRequest_Open, s outputServer) error {
		opened++
		for at := int(open.GetOffset()); at < len(text); at += 700 {
			if err := piece(s, at, text[at:min(at+700, len(text))]); err != nil {
				return err
			}
			if at > 5000 && opened < 3 || at > 2000 && opened < 2 {
				if _, err := s.Recv(); err != nil { // the acknowledgement of a first piece
					return err
				}
				f.cut()
				<-s.Context().Done()
				return s.Context().Err()
			}
		}
		return s.SendMsg(&rpc.Frame{End: true})
	}
	var got bytes.Buffer
	o := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdout(t.Context())
	if _, err := io.Copy(&got, o); err != nil {
		t.Fatal(err)
	}
	if got.String() != text {
		t.Errorf("read %d bytes, different from the %d written", got.Len(), len(text))
	}
	if opened != 3 {
		t.Errorf("opened %d times, want 3", opened)
	}
}

func TestOutputBrokenOffIsNoEnd(t *testing.T) {
	f := newFake(t)
	f.procs.output = func(_ *circuitv1.OutputRequest_Open, s outputServer) error { return piece(s, 0, "x") }
	got, err := io.ReadAll(mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdout(t.Context()))
	if string(got) != "x" {
		t.Errorf("read %q", got)
	}
	if err == nil {
		t.Error("no error")
	}
	f.procs.output = func(*circuitv1.OutputRequest_Open, outputServer) error {
		return circuit.Errorf(circuit.NotFound, "no such process")
	}
	_, err = io.ReadAll(mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdout(t.Context()))
	wantKind(t, err, ErrNotFound)
}

// failingWriter takes some bytes and then fails.
type failingWriter struct{ room int }

func (w *failingWriter) Write(b []byte) (int, error) {
	n := min(w.room, len(b))
	w.room -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func TestOutputAcknowledgesNothingThatWriteToCouldNotWrite(t *testing.T) {
	f := newFake(t)
	acked := make(chan uint64, 1)
	f.procs.output = func(_ *circuitv1.OutputRequest_Open, s outputServer) error {
		_ = piece(s, 0, "abcdef")
		acked <- acks(s)
		return nil
	}
	o := mustWalk(t, f.dial(), fakePath+"/p").Proc().Stdout(t.Context())
	if n, err := o.WriteTo(&failingWriter{room: 4}); n != 4 || err != io.ErrShortWrite {
		t.Errorf("wrote %d, %v", n, err)
	}
	o.Close()
	if n := <-acked; n != 4 {
		t.Errorf("acknowledged %d bytes, want 4", n)
	}
}
