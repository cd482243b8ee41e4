package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/overlay"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// Limits of a link's queue of messages to send. A link at its limit is closed:
// its other end does not read.
const (
	maxQueued     = 4096
	maxQueueBytes = 8 << 20
	frameBytes    = 64 << 10 // messages joined into one frame, about
)

// hangUpTimeout is how long the other end of a finished link may take to read
// what was sent.
const hangUpTimeout = time.Second

// message is one message of one of the two protocols.
type message struct {
	overlay bool
	data    []byte
}

// link is a Mesh.Link stream of which both hellos have been exchanged. Its
// queue may be filled from any goroutine.
type link struct {
	number uint64             // both are set by the owner, before any event of the link
	peer   overlay.Peer       // who is at the other end
	end    context.CancelFunc // ends the stream, and so the reader and the writer

	mu       sync.Mutex
	queue    []message
	bytes    int
	finished bool          // nothing more is queued; the link ends after what is
	wake     chan struct{} // capacity 1: the queue or finished changed
}

// stream is either end of a Mesh.Link stream.
type stream interface {
	Send(*circuitv1.LinkFrame) error
	Recv() (*circuitv1.LinkFrame, error)
}

// enqueue queues a message to send, and reports whether there was room.
func (l *link) enqueue(msg message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= maxQueued || l.bytes+len(msg.data) > maxQueueBytes {
		return false
	}
	l.queue = append(l.queue, msg)
	l.bytes += len(msg.data)
	l.signal()
	return true
}

// finish closes the link after what is queued.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
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
	}
	return frame, l.finished && frame == nil
}

// write sends what is queued until the link is finished or ctx ends.
func (l *link) write(ctx context.Context, s stream) {
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
		case <-ctx.Done():
			return
		}
	}
}

// hangUp ends the stream such that what was sent before arrives: a stream that
// we dialled ends when its other end has read it all, or after a while.
func (l *link) hangUp(s stream) {
	dialled, ok := s.(grpc.ClientStream)
	if !ok || dialled.CloseSend() != nil {
		l.end()
		return
	}
	time.AfterFunc(hangUpTimeout, l.end)
}

// read posts what the link receives until it ends.
func (m *Mesh) read(l *link, s stream) {
	for {
		frame, err := s.Recv()
		if err != nil {
			m.post(func() { m.linkDown(l) })
			return
		}
		if !m.post(func() { m.receive(l, frame) }) {
			return
		}
	}
}

// up reports a link whose hellos are exchanged, and then carries it until it
// ends. dial is 0 where the peer dialled.
func (m *Mesh) up(ctx context.Context, end context.CancelFunc, s stream, dial uint64, peer overlay.Peer) {
	l := &link{end: end, wake: make(chan struct{}, 1)}
	if !m.post(func() { m.linkUp(l, dial, peer) }) {
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() { l.write(ctx, s) })
	m.read(l, s)
	end()
	writer.Wait()
}

// dial makes one connection, as the overlay asked.
func (m *Mesh) dial(want overlay.Connect) {
	failed := func(why overlay.Failure) {
		m.post(func() {
			m.tellOverlay(overlay.ConnectFailed{Dial: want.Dial, Failure: why})
			m.settle()
		})
	}
	ctx, end := context.WithCancel(m.ctx)
	defer end()
	limit := time.AfterFunc(dialTimeout, end)
	defer limit.Stop()
	conn, err := m.cfg.Dial(ctx, want.Address, want.Want)
	if err != nil {
		failed(failureOf(err))
		return
	}
	defer conn.Close()
	s, err := circuitv1.NewMeshClient(conn).Link(ctx)
	if err != nil {
		failed(failureOf(err))
		return
	}
	peer, err := m.greet(s, conn.Peer())
	if err != nil {
		failed(failureOf(err))
		return
	}
	if !limit.Stop() {
		failed(overlay.Unreachable)
		return
	}
	m.up(ctx, end, s, want.Dial, peer)
}

// greet sends our hello and returns who is at the other end.
func (m *Mesh) greet(s stream, proved credential.Peer) (overlay.Peer, error) {
	if err := s.Send(&circuitv1.LinkFrame{Hello: m.cfg.Hello}); err != nil && !errors.Is(err, io.EOF) {
		return overlay.Peer{}, err
	}
	first, err := s.Recv()
	if err != nil {
		return overlay.Peer{}, err
	}
	hello := first.GetHello()
	if err := rpc.Compatible(m.cfg.Hello, hello); err != nil {
		return overlay.Peer{}, err
	}
	if circuit.ServerID(hello.GetServer()) != proved.ID {
		return overlay.Peer{}, circuit.Errorf(circuit.Denied, fmt.Sprintf("a server that is %v by its certificate says that it is another", proved.ID))
	}
	if _, err := circuit.ParseURL(hello.GetAddress()); err != nil {
		return overlay.Peer{}, circuit.Errorf(circuit.Invalid, "a server advertises an address that is none")
	}
	return overlay.Peer{ID: proved.ID, Address: hello.GetAddress(), Instance: hello.GetInstance()}, nil
}

// Link implements circuitv1.MeshServer: a neighbour dialled.
func (m *Mesh) Link(s grpc.BidiStreamingServer[circuitv1.LinkFrame, circuitv1.LinkFrame]) error {
	proved, ok := transport.PeerFrom(s.Context())
	if !ok || proved.Role != credential.Server {
		return circuit.Errorf(circuit.Denied, "only servers link up with servers")
	}
	type greeting struct {
		peer overlay.Peer
		err  error
	}
	// A receive ends with the stream at the latest, and the stream ends when
	// this method returns; so the goroutine is waited for by Close only.
	greeted := make(chan greeting, 1)
	ctx, end := context.WithCancel(s.Context())
	defer end()
	carried := make(chan struct{})
	if !m.spawn(func() {
		defer close(carried)
		peer, err := m.greet(s, proved)
		greeted <- greeting{peer, err}
		if err == nil {
			m.up(ctx, end, s, 0, peer)
		}
	}) {
		return errStopping()
	}
	select {
	case g := <-greeted:
		if g.err != nil {
			return g.err
		}
	case <-time.After(dialTimeout):
		return circuit.Errorf(circuit.Timeout, "no hello")
	case <-m.ctx.Done():
		return errStopping()
	}
	select {
	case <-ctx.Done():
	case <-m.ctx.Done():
	case <-carried:
	}
	return nil
}

// failureOf says in the overlay's terms why a dial failed.
func failureOf(err error) overlay.Failure {
	err = rpc.FromStatus("", "", err)
	var wrong *credential.WrongServerError
	switch {
	case errors.As(err, &wrong):
		return overlay.WrongServer
	case errors.Is(err, syscall.ECONNREFUSED):
		return overlay.Refused
	case errors.Is(err, circuit.Denied):
		return overlay.WrongKey
	case errors.Is(err, circuit.Unsupported):
		return overlay.Unsupported
	}
	return overlay.Unreachable
}

// reason puts a failure in words.
func reason(f overlay.Failure) string {
	switch f {
	case overlay.Refused:
		return "nobody listens there"
	case overlay.WrongServer:
		return "another server than the expected one answers there"
	case overlay.WrongKey:
		return "it belongs to another circuit: its key differs"
	case overlay.IDTaken:
		return "the ID of this server is that of another one there"
	case overlay.Unsupported:
		return "it speaks no protocol version that this server speaks"
	}
	return "no answer"
}
