package mesh

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/transport"
)

// Limits of a link's queue of messages to send. A link at its limit is closed:
// its other end does not read.
const (
	maxQueued     = 4096
	maxQueueBytes = 8 << 20
	frameBytes    = 64 << 10 // messages joined into one frame, about
)

// hangUpTimeout is how long the other end of a finished link may take until it
// reads what is sent next, and at last for the end.
const hangUpTimeout = time.Second

// message is one message of one of the two protocols.
type message struct {
	overlay bool
	data    []byte
}

// link is a Mesh.Link stream of which both hellos have been exchanged. Its
// queue may be filled from any goroutine.
type link struct {
	number  uint64             // set before any event of the link; guarded by Mesh.mu
	peer    overlay.Peer       // who is at the other end
	flow    *transport.Flow    // the datagrams beside it; nil: none
	ctx     context.Context    // ends with the link
	end     context.CancelFunc // ends it: the stream, and so the reader and the writer
	wake    chan struct{}      // capacity 1: there is something to send, or finished was set
	drained chan struct{}      // capacity 1: all that was queued has been sent

	mu       sync.Mutex
	queue    []message
	bytes    int
	finished *time.Timer // set: nothing more is queued; the link ends after what is, or when it rings
}

func newLink(ctx context.Context, end context.CancelFunc, peer overlay.Peer, flow *transport.Flow) *link {
	return &link{ctx: ctx, end: end, peer: peer, flow: flow, wake: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// stream is either end of a Mesh.Link stream.
type stream interface {
	Send(*circuitv1.LinkFrame) error
	Recv() (*circuitv1.LinkFrame, error)
}

// enqueue queues a message to send. It reports whether there was room, and
// whether the message is the first in the queue: then signal is to follow, once
// all that is to travel with it is queued, too.
func (l *link) enqueue(msg message) (room, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= maxQueued || l.bytes+len(msg.data) > maxQueueBytes {
		return false, false
	}
	l.queue = append(l.queue, msg)
	l.bytes += len(msg.data)
	return true, len(l.queue) == 1
}

// crowded reports whether the queue is half full.
func (l *link) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) >= maxQueued/2 || l.bytes >= maxQueueBytes/2
}

// finish closes the link after what is queued, or when its other end does not read
// it: nothing else would notice, for the machines are through with it.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = time.AfterFunc(hangUpTimeout, l.end)
	l.signal()
}

// signal wakes the writer.
func (l *link) signal() { notify(l.wake) }

// notify puts a token into a channel of capacity 1 unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close closes the link now.
func (l *link) close() { l.end() }

// next returns a frame with the oldest messages queued; nil if there are none,
// with last if there will be no more.
func (l *link) next() (frame *circuitv1.LinkFrame, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) && size < frameBytes {
		msg := l.queue[n]
		if frame == nil {
			frame = new(circuitv1.LinkFrame)
		}
		if msg.overlay {
			frame.Overlay = append(frame.Overlay, msg.data)
		} else {
			frame.Membership = append(frame.Membership, msg.data)
			if n+1 < len(l.queue) && l.queue[n+1].overlay {
				size = frameBytes // a frame's overlay messages are read first
			}
		}
		n, size = n+1, size+len(msg.data)
		l.bytes -= len(msg.data)
	}
	l.queue = l.queue[n:]
	if len(l.queue) == 0 {
		l.queue = nil
		notify(l.drained)
	}
	if l.finished != nil {
		l.finished.Reset(hangUpTimeout)
	}
	return frame, l.finished != nil && frame == nil
}

// write sends what is queued until the link is finished or ends.
func (l *link) write(s stream) {
	for {
		frame, last := l.next()
		if last {
			l.hangUp(s)
			return
		}
		if frame != nil {
			if s.Send(frame) != nil {
				l.end() // the reader learns why
				return
			}
			continue
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

// hangUp ends the stream such that what was sent before arrives: a stream that
// we dialled ends when its other end has read it all, or when finished rings.
func (l *link) hangUp(s stream) {
	dialled, ok := s.(grpc.ClientStream)
	if !ok || dialled.CloseSend() != nil {
		l.end()
	}
}

// carry tells of a link whose hellos are exchanged, and then carries it until it
// ends. dial is 0 where the peer dialled.
func (m *Mesh) carry(l *link, s stream, dial uint64) {
	if !m.do(func() { m.linkUp(l, dial) }) {
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() { l.write(s) })
	m.read(l, s)
	l.end()
	writer.Wait()
}

// read takes in what the link receives until it ends.
func (m *Mesh) read(l *link, s stream) {
	for {
		frame, err := s.Recv()
		if err != nil {
			m.do(func() { m.linkDown(l) })
			return
		}
		if !m.do(func() { m.receive(l, frame) }) {
			return
		}
	}
}
