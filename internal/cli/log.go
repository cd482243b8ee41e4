package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// maxLogQueue is how many bytes of a server's log wait for standard error. What
// is said beyond that is lost, and counted.
const maxLogQueue = 1 << 20

// flushTime is how long a server that has stopped waits for the rest of its log
// to be written.
const flushTime = time.Second

// logQueue is a server's log on its way to standard error, in order. Whoever
// logs waits for nobody: standard error may be a pipe that is not read, and a
// server logs with its locks held. One goroutine writes, and close waits for it.
type logQueue struct {
	w     io.Writer
	form  format
	wake  chan struct{} // capacity 1: there is something to take
	ended chan struct{} // closed when all is written after close

	mu     sync.Mutex
	lines  [][]byte
	bytes  int
	lost   int  // lines said since these, and not kept
	closed bool // nothing more is taken
}

func newLogQueue(w io.Writer, form format) *logQueue {
	q := &logQueue{w: w, form: form, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q
}

// handler returns a handler that writes in the log's format.
func (q *logQueue) handler(w io.Writer) slog.Handler {
	if q.form == formatJSON {
		return slog.NewJSONHandler(w, nil)
	}
	return slog.NewTextHandler(w, nil)
}

// logger returns what writes the log.
func (q *logQueue) logger() *slog.Logger { return slog.New(q.handler(q)) }

// Write queues a line, or counts it as lost. After one that was lost none is
// kept until all before it are on their way, so that the loss has its place.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return len(line), nil
	case q.lost > 0 || q.bytes+len(line) > maxLogQueue:
		q.lost++
	default:
		q.lines = append(q.lines, bytes.Clone(line))
		q.bytes += len(line)
	}
	q.signal()
	return len(line), nil
}

func (q *logQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run writes what is queued until the queue is closed and empty.
func (q *logQueue) run() {
	defer close(q.ended)
	unwritten := 0 // lines lost that nobody was told of
	for range q.wake {
		lines, lost, last := q.take()
		for _, line := range lines {
			if unwritten = q.tell(unwritten); unwritten > 0 {
				unwritten++
			} else if _, err := q.w.Write(line); err != nil {
				unwritten++
			}
		}
		unwritten = q.tell(unwritten + lost)
		if last {
			return
		}
	}
}

// take takes all that is queued, and how many lines were lost after it.
func (q *logQueue) take() (lines [][]byte, lost int, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, lost, last = q.lines, q.lost, q.closed
	q.lines, q.bytes, q.lost = nil, 0, 0
	return lines, lost, last
}

// tell says, in a line of the log, how many lines were lost. It returns how many
// are still to be told of.
func (q *logQueue) tell(lost int) int {
	if lost == 0 {
		return 0
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of this log are lost; standard error did not take them", 0)
	r.AddAttrs(slog.Int("lines", lost))
	if q.handler(q.w).Handle(context.Background(), r) != nil {
		return lost
	}
	return 0
}

// close ends the log. It waits until all of it is written, for flushTime at most
// and no longer than until now is closed, and reports whether it is.
func (q *logQueue) close(now <-chan struct{}) bool {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	select {
	case <-q.ended:
		return true
	case <-time.After(flushTime):
	case <-now:
	}
	return false
}
