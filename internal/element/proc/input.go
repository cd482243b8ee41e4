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
	over chan struct{} // closed once nothing can be written any more

	mu      sync.Mutex
	pipe    *os.File // nil once over
	left    *os.File // open for an abandoned process, which nobody writes to
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
	in.end()
	if in.left != nil {
		in.left.Close()
		in.left = nil
	}
}

// abandon takes nothing more, and lets the process wait for what never comes,
// as it would if nobody wrote. close closes the input later.
func (in *input) abandon() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.left = in.pipe
	in.end()
}

// end lets nothing more be written. What left does not keep open is closed.
func (in *input) end() {
	if in.pipe == nil {
		return
	}
	if in.left == nil {
		in.pipe.Close()
	} else {
		_ = in.pipe.SetWriteDeadline(time.Unix(1, 0)) // ends what is being written
	}
	in.pipe = nil
	close(in.over)
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
// ends. It returns how much was written. Errors are ctx's, and of kind Closed.
func (in *input) write(ctx context.Context, data mem.BufferSlice) (int, error) {
	in.mu.Lock()
	pipe := in.pipe
	in.mu.Unlock()
	if data.Len() == 0 {
		return 0, nil
	}
	if pipe == nil {
		return 0, errInputClosed
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = pipe.SetWriteDeadline(time.Unix(1, 0)) // fails only once closed
	})
	total, err := in.copy(pipe, data)
	if !stop() {
		<-cut
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.pipe == nil && err != nil:
		return total, errInputClosed // it ended meanwhile
	case ctx.Err() != nil && in.pipe != nil:
		_ = pipe.SetWriteDeadline(time.Time{}) // for the next writer
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return total, ctx.Err()
		}
	}
	if err != nil {
		in.end() // the process has closed its end, and nothing will open it again
		return total, errInputClosed
	}
	return total, nil
}

// copy writes data to the pipe, and counts as it goes on.
func (in *input) copy(pipe *os.File, data mem.BufferSlice) (total int, err error) {
	for _, b := range data {
		n, err := pipe.Write(b.ReadOnlyData())
		total += n
		in.mu.Lock()
		in.written += uint64(n)
		in.mu.Unlock()
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
