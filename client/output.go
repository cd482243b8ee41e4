package client

import (
	"context"
	"fmt"
	"io"
)

// Output reads one output stream of a process. It is not for use by several
// goroutines at once.
type Output struct{}

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
func (p *Proc) Stdout(ctx context.Context, opts ...OutputOption) *Output { return &Output{} }

// Stderr reads the standard error of the process, as Stdout does its standard
// output.
func (p *Proc) Stderr(ctx context.Context, opts ...OutputOption) *Output { return &Output{} }

// Read returns what is there as soon as anything is. At the end of the stream
// it returns io.EOF. Where bytes are gone it returns a *LostError, once; the
// next Read goes on after the gap. When the connection breaks, it reconnects
// and goes on where it was.
func (o *Output) Read(b []byte) (int, error) { return 0, io.EOF }

// WriteTo writes the rest of the stream to w, with fewer copies than Read
// makes. Where bytes are gone it returns a *LostError, and may be called again
// to go on after the gap.
func (o *Output) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// Offset returns the place in the stream of the next byte that Read returns.
func (o *Output) Offset() uint64 { return 0 }

// Close ends the reading. The bytes that were returned count as used; Close
// returns once the server was told. The process is not affected.
func (o *Output) Close() error { return nil }
