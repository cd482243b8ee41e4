package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

const (
	defaultAhead = 1024
	maxBatch     = 4096 // messages in one frame
)

// Sender sends many messages over one open stream, without waiting for each.
// It is not for use by several goroutines at once.
type Sender struct {
	s     subject
	ctx   context.Context
	ahead uint64
	done  chan struct{} // closed once nothing more can be sent

	// Set by begin.
	stream sendStream
	link   link
	cancel context.CancelFunc

	mu      sync.Mutex
	changed sync.Cond // anything below changed
	work    sync.Cond // there may be something for the goroutine that writes
	// A message that finds none before it unconfirmed is sent at once. Else the
	// goroutine that writes takes what Send has gathered meanwhile, so that the
	// faster messages come, the more of them share a frame.
	batch   []byte   // messages to be written
	sizes   []uint32 // and their lengths
	writing bool     // somebody sends a frame
	next    uint64   // number of the next message, from 1
	whole   uint64   // number of the last message that may have been sent whole

	confirmed uint64
	known     uint64 // outcomes told, failures included
	failed    error  // the first failure
	stopping  bool   // nothing more will be sent
	over      error  // how the call ended
	told      bool   // done is closed
}

// SenderOption is a setting of a Sender.
type SenderOption func(*senderConfig)

type senderConfig struct{ ahead int }

// Ahead says how many messages may be on their way without being confirmed
// before Send blocks; the default is 1024.
func Ahead(n int) SenderOption { return func(c *senderConfig) { c.ahead = n } }

// Sender returns a sender to the channel. It asks nobody before the first Send.
// It must be closed, or ctx ended. Messages that are not confirmed when ctx
// ends may or may not arrive.
func (c *Chan) Sender(ctx context.Context, opts ...SenderOption) *Sender {
	cfg := senderConfig{ahead: defaultAhead}
	for _, o := range opts {
		o(&cfg)
	}
	s := &Sender{s: c.subject("send"), ctx: ctx, ahead: uint64(max(1, cfg.ahead)), done: make(chan struct{}), next: 1}
	s.changed.L, s.work.L = &s.mu, &s.mu
	return s
}

// Send sends b, which it does not keep, as one message. It returns before the
// message is confirmed, and blocks while too many are not. It fails once any
// earlier message failed, with that one's error: then the Sender takes no more.
func (s *Sender) Send(b []byte) error {
	if len(b) > sendChunk {
		_, err := s.SendFrom(bytes.NewReader(b))
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open() && (s.full() || len(s.sizes) == maxBatch || len(s.batch) > 0 && len(s.batch)+len(b) > rpc.MaxFrameData) {
		s.changed.Wait()
	}
	if !s.open() {
		return s.why()
	}
	s.batch = append(s.batch, b...)
	s.sizes = append(s.sizes, uint32(len(b)))
	s.whole = s.next
	s.next++
	switch {
	case len(s.sizes) > 1 || s.writing: // who writes goes on with it
	case s.known == s.next-2:
		s.put(s.stream) // nothing to share a frame with is to be expected soon
	default:
		s.work.Signal()
	}
	return nil
}

// SendFrom sends all that r gives as one message, of any length, and returns
// its length. Where r fails, the message reaches nobody as whole, and the
// Sender takes no more; SendFrom returns r's error once it is known what became
// of the messages before.
func (s *Sender) SendFrom(r io.Reader) (int64, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	for s.open() && (s.full() || s.writing || len(s.sizes) > 0) {
		s.changed.Wait()
	}
	if !s.open() {
		defer s.mu.Unlock()
		return 0, s.why()
	}
	number := s.next
	s.next++
	s.writing = true
	s.mu.Unlock()

	n, err := sendMessage(s.s.c.pool, s.stream, number, r, func() {
		s.mu.Lock()
		s.whole = number
		s.mu.Unlock()
	})

	s.mu.Lock()
	s.writing = false
	before := s.failed // what made r fail, perhaps: it may heed Done
	s.changed.Broadcast()
	s.mu.Unlock()
	switch err {
	case nil:
		return n, nil
	case errStreamOver:
		return n, s.settle(func() bool { return false })
	}
	s.stop()
	_ = s.settle(func() bool { return false }) // until the server told of the others
	s.mu.Lock()
	if before == nil && s.known >= s.whole {
		s.failed = err // else it is more important what became of those before
	}
	s.tellDone()
	s.mu.Unlock()
	return n, err
}

// Flush waits until all messages sent are confirmed.
func (s *Sender) Flush() error {
	return s.settle(func() bool { return s.known == s.next-1 })
}

// Done returns a channel that is closed once nothing more can be sent: a message
// failed, the connection broke, the context ended, or the Sender is closed. It
// never closes before the first Send. It may be used from other goroutines, so
// that a reader given to SendFrom need not wait for what nobody will take.
func (s *Sender) Done() <-chan struct{} { return s.done }

// tellDone closes done if nothing more can be sent.
func (s *Sender) tellDone() {
	if !s.open() && !s.told {
		s.told = true
		close(s.done)
	}
}

// Confirmed returns how many messages are confirmed. It may be used from other
// goroutines.
func (s *Sender) Confirmed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed
}

// Close waits until all messages sent are confirmed and ends the stream. It
// returns the error of the first that failed. The channel stays open.
//
// Close is no way to unblock a Send in another goroutine: for that, cancel its
// context. Where the context ended while it was open what became of a message,
// the error is of kind ErrTimeout or ErrCanceled, and errors.Is finds ErrLost in
// it as well.
func (s *Sender) Close() error {
	if s.stream == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		err := s.failed
		if err == nil {
			s.failed = s.closedError()
		}
		return err
	}
	if s.settle(func() bool { return !s.writing && len(s.sizes) == 0 }) != nil {
		s.cancel() // rather than wait for those after the one that failed
	}
	s.stop()
	err := s.settle(func() bool { return false })
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.over == nil {
		s.changed.Wait()
	}
	if s.failed == nil {
		s.failed = s.closedError()
	}
	return err
}

func (s *Sender) closedError() error {
	return circuit.At(s.s.op, s.s.path.String(), circuit.Errorf(circuit.Closed, "this sender is closed"))
}

// open reports whether messages can still be sent.
func (s *Sender) open() bool { return s.failed == nil && s.over == nil }

// why returns why they cannot.
func (s *Sender) why() error {
	if s.failed != nil {
		return s.failed
	}
	return s.over
}

// full reports whether too many messages are on their way.
func (s *Sender) full() bool { return s.next-1-s.known >= s.ahead }

// begin opens the stream.
func (s *Sender) begin() error {
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed != nil || s.stream != nil {
		return failed
	}
	stream, l, cancel, err := open(s.ctx, s.s, firstPatience, openSend)
	if err == nil && (!s.s.c.spawn(func() { s.listen(stream, l) }) || !s.s.c.spawn(func() { s.write(stream) })) {
		cancel()
		err = circuit.At(s.s.op, s.s.path.String(), errClientClosed())
	}
	if err != nil {
		s.mu.Lock()
		s.failed = err
		s.tellDone()
		s.mu.Unlock()
		return err
	}
	s.stream, s.link, s.cancel = stream, l, cancel
	return nil
}

// stop tells the server that nothing more comes.
func (s *Sender) stop() {
	s.mu.Lock()
	for s.writing {
		s.changed.Wait()
	}
	s.stopping = true
	s.work.Signal()
	s.mu.Unlock()
	_ = s.stream.CloseSend()
}

// settle waits until a message failed, the call ended or ok says so.
func (s *Sender) settle(ok func() bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open() && !ok() {
		s.changed.Wait()
	}
	return s.failed
}

// write sends what was gathered, frame by frame.
func (s *Sender) write(stream sendStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.over == nil && !s.stopping && (len(s.sizes) == 0 || s.writing) {
			s.work.Wait()
		}
		if s.over != nil || s.stopping {
			return
		}
		s.put(stream)
	}
}

// put sends what was gathered as one frame. mu is released meanwhile.
func (s *Sender) put(stream sendStream) {
	f := rpc.Frame{
		Message: s.next - uint64(len(s.sizes)), Sizes: s.sizes,
		Data: mem.BufferSlice{mem.SliceBuffer(s.batch)},
	}
	s.batch, s.sizes, s.writing = nil, nil, true
	s.mu.Unlock()
	_ = stream.SendMsg(&f) // if this fails, listen learns why
	s.mu.Lock()
	s.writing = false
	s.changed.Broadcast()
	if len(s.sizes) > 0 {
		s.work.Signal()
	}
}

// listen takes the outcomes until the call ends.
func (s *Sender) listen(stream sendStream, l link) {
	for {
		reply, err := stream.Recv()
		s.mu.Lock()
		for _, o := range reply.GetOutcomes() { // nil with an error
			n := max(1, o.GetCount())
			s.known += n
			if o.GetError() == nil {
				s.confirmed += n
			} else if s.failed == nil {
				s.failed = circuit.At(s.s.op, s.s.path.String(), rpc.ErrorFromProto(o.GetError()))
			}
		}
		if err != nil {
			s.over = s.unsettled(l, err)
			if s.failed == nil && s.known < s.next-1 {
				s.failed = s.over
			}
			s.work.Signal()
		}
		s.tellDone()
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// unsettled is the error of messages whose outcome was not told when the call
// ended with err.
func (s *Sender) unsettled(l link, err error) error {
	if err == io.EOF {
		return s.s.lost("the server ended the call without saying what became of all messages")
	}
	_, err = s.s.failure(s.ctx, l, err)
	switch waiting := s.whole - min(s.known, s.whole); {
	case waiting > 1 || waiting == 1 && s.confirmed > 0:
		err = s.s.uncertain(err, fmt.Sprintf("the channel took the first %d, and had not said that it took the next %d, which may or may not arrive", s.confirmed, waiting))
	case waiting == 1:
		err = s.s.uncertain(err, sentInDoubt)
	}
	return circuit.At(s.s.op, s.s.path.String(), err)
}
