package proc

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
)

// input is the standard input of a process. One writer has its turn at a time.
type input struct {
	turn chan struct{} // holds one while somebody has their turn
	over chan struct{} // closed with the input

	mu      sync.Mutex
	pipe    *os.File // nil once closed
	written uint64
}

func newInput(pipe *os.File) *input {
	in := &input{turn: make(chan struct{}, 1), over: make(chan struct{}), pipe: pipe}
	if pipe == nil {
		close(in.over)
	}
	return in
}

func (in *input) stat() circuit.InputStat {
	in.mu.Lock()
	defer in.mu.Unlock()
	return circuit.InputStat{Written: in.written, Closed: in.pipe == nil}
}

// close closes the input for good.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pipe != nil {
		in.pipe.Close()
		in.pipe = nil
		close(in.over)
	}
}

// take waits for the caller's turn, in order of arrival, or for the end of the
// input, which needs no turn. release gives the turn back.
func (in *input) take(ctx context.Context) (release func(), err error) {
	select {
	case in.turn <- struct{}{}:
		return func() { <-in.turn }, nil
	case <-in.over:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errInputClosed = circuit.Errorf(circuit.Closed, "the process takes no more input")

// write writes data, which may take as long as the process likes, until ctx
// ends. It returns how much was written.
func (in *input) write(ctx context.Context, data mem.BufferSlice) (int, error) {
	in.mu.Lock()
	pipe := in.pipe
	in.mu.Unlock()
	if pipe == nil {
		if data.Len() > 0 {
			return 0, errInputClosed
		}
		return 0, nil
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = pipe.SetWriteDeadline(time.Unix(1, 0)) // fails only once closed
		close(cut)
	})
	total := 0
	var failed error
	for _, b := range data {
		n, err := pipe.Write(b.ReadOnlyData())
		total += n
		if err != nil {
			failed = err
			break
		}
	}
	if !stop() {
		<-cut
		_ = pipe.SetWriteDeadline(time.Time{}) // for the next writer
	}
	in.mu.Lock()
	in.written += uint64(total)
	in.mu.Unlock()
	switch {
	case failed == nil:
		return total, nil
	case errors.Is(failed, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return total, ctx.Err()
	}
	in.close() // the process has closed its end, and nothing will open it again
	return total, errInputClosed
}
