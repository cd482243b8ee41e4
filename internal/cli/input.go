package cli

import (
	"context"
	"io"
)

// inputChunk is the size of one read of standard input.
const inputChunk = 128 << 10

// input is standard input as a reader that a context ends, which a read of a
// file is not ended by.
type input struct {
	ctx    context.Context
	ended  <-chan struct{} // ends reading, too, as ctx; nil never does
	chunks chan chunk
	free   chan []byte
	rest   chunk
	buf    []byte // rest's buffer
}

// chunk is what one read gave.
type chunk struct {
	b   []byte
	err error
}

// input begins to read standard input, at the first Read. When ctx or ended
// stops it, a read of the file may go on until the program exits: nothing else
// ends it.
func (a *app) input(ctx context.Context, ended <-chan struct{}) io.Reader {
	in := &input{ctx: ctx, ended: ended, chunks: make(chan chunk), free: make(chan []byte, 2)}
	in.free <- make([]byte, inputChunk)
	in.free <- make([]byte, inputChunk)
	started := false
	return readerFunc(func(b []byte) (int, error) {
		if !started {
			started = true
			go in.pump(a.env.Stdin)
		}
		return in.read(b)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// pump reads the file ahead, by two chunks at most.
func (in *input) pump(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-in.free:
		case <-in.ctx.Done():
			return
		case <-in.ended:
			return
		}
		n, err := r.Read(buf)
		select {
		case in.chunks <- chunk{buf[:n], err}:
		case <-in.ctx.Done():
			return
		case <-in.ended:
			return
		}
		if err != nil {
			return
		}
	}
}

func (in *input) read(b []byte) (int, error) {
	for len(in.rest.b) == 0 {
		if in.rest.err != nil {
			return 0, in.rest.err
		}
		if in.buf != nil {
			in.free <- in.buf
			in.buf = nil
		}
		select {
		case in.rest = <-in.chunks:
			in.buf = in.rest.b[:cap(in.rest.b)]
		case <-in.ctx.Done():
			return 0, context.Cause(in.ctx)
		case <-in.ended:
			return 0, errEnded
		}
	}
	n := copy(b, in.rest.b)
	in.rest.b = in.rest.b[n:]
	return n, nil
}

// errEnded is what reading input gives once nobody takes it any more.
var errEnded = io.ErrClosedPipe

// await returns what f returns, which reads from a file that the user named; or
// the cause of ctx, if that ends first. The file may be a pipe into which nobody
// writes, and then f goes on until the program exits.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
