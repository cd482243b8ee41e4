package client

import (
	"context"
	"io"
)

// Stdin feeds a process. It is not for use by several goroutines at once.
type Stdin struct{}

// Stdin returns a writer to the standard input of the process. It asks nobody
// before the first Write, ReadFrom, Close or Detach.
//
// One writer at a time feeds a process; others wait their turn, in order of
// arrival, in their first call. When ctx ends before Close, the input stays
// open for the next writer, and what was written last may not have arrived.
func (p *Proc) Stdin(ctx context.Context) *Stdin { return &Stdin{} }

// Write sends b, which it does not keep. It blocks until it is this writer's
// turn, and while the process does not read. That it returns does not mean that
// the process has b already; Close and Detach wait for that.
//
// ErrClosed says that the process has ended or that its input is closed,
// ErrLost that the connection broke: then Written bytes arrived for sure, and
// those after them perhaps.
func (s *Stdin) Write(b []byte) (int, error) { return 0, nil }

// ReadFrom sends all that r gives. It does not read from r before it is this
// writer's turn.
func (s *Stdin) ReadFrom(r io.Reader) (int64, error) { return 0, nil }

// Close closes the input of the process for good and returns once the process
// was handed everything and the end. To close the input of a process that has
// ended is an error only where something written did not reach it.
func (s *Stdin) Close() error { return nil }

// Detach gives up the turn and leaves the input open. It returns once the
// process was handed everything. After Close it does nothing.
func (s *Stdin) Detach() error { return nil }

// Written returns how many bytes the process was handed for sure.
func (s *Stdin) Written() uint64 { return 0 }

// Done returns a channel that is closed once the input takes no more from this
// writer: after Close and Detach, when the process has ended, the connection
// broke, or the context ended. It never closes before the first Write,
// ReadFrom, Close or Detach. It may be used from other goroutines.
func (s *Stdin) Done() <-chan struct{} { return nil }
