package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
)

func TestSenderAndReceiver(t *testing.T) {
	const messages = 180
	for _, test := range []struct {
		name             string
		capacity, credit int
		ack              func(*Message) error
	}{
		{"rendezvous", 0, 1, (*Message).Ack},
		{"rendezvous confirmed one by one", 0, 1, (*Message).Done},
		{"buffered", 100, 64, (*Message).Ack},
		{"buffered confirmed one by one", 100, 64, (*Message).Done},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, ch := newChan(t, test.capacity)
			var sending sync.WaitGroup
			sending.Go(func() {
				s := ch.Sender(t.Context(), Ahead(50))
				for i := range messages {
					if err := s.Send(numbered(i)); err != nil {
						t.Errorf("send %d: %v", i, err)
						break
					}
				}
				if err := s.Flush(); err != nil {
					t.Errorf("flush: %v", err)
				}
				if n := s.Confirmed(); n != messages {
					t.Errorf("%d messages confirmed", n)
				}
				if err := s.Close(); err != nil {
					t.Errorf("close of the sender: %v", err)
				}
				if err := ch.Close(t.Context()); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			r := f.other(ch).Receiver(t.Context(), Credit(test.credit))
			i := 0
			for m, err := range r.All() {
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.Bytes()
				if want := numbered(i); err != nil || !bytes.Equal(got, want) || m.Redelivered() {
					t.Fatalf("message %d: %d bytes, %v, redelivered %v; want %d bytes", i, len(got), err, m.Redelivered(), len(want))
				}
				if err := test.ack(m); err != nil {
					t.Fatalf("acknowledging message %d: %v", i, err)
				}
				i++
			}
			if i != messages {
				t.Errorf("received %d messages", i)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close of the receiver: %v", err)
			}
			sending.Wait()
			stat, err := ch.Stat(t.Context())
			if err != nil || stat.NumSend != messages || stat.NumRecv != messages || stat.Redelivered != 0 {
				t.Errorf("stat: %+v, %v", stat, err)
			}
		})
	}
}

func TestReceiverSkipsWhatIsNotRead(t *testing.T) {
	_, ch := newChan(t, 10)
	s := ch.Sender(t.Context())
	for i := range 6 {
		if err := s.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	r := ch.Receiver(t.Context(), Credit(3))
	defer r.Close()
	var last *Message
	for i := range 6 {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if last != nil {
			wantKind(t, last.Done(), ErrInvalid) // it is over
		}
		b := make([]byte, 2)
		if _, err := io.ReadFull(m, b); err != nil || string(b) != string(numbered(i)[:2]) {
			t.Fatalf("message %d begins with %q, %v", i, b, err)
		}
		if i%2 == 0 {
			m.Close()
		}
		last = m
	}
	if _, err := last.Bytes(); err != nil {
		t.Fatal(err)
	}
	if err := last.Done(); err != nil { // and all before
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What a receiver did not acknowledge goes to another when it closes.
func TestReceiverCloseKeepsWhatWasAcknowledged(t *testing.T) {
	_, ch := newChan(t, 10)
	s := ch.Sender(t.Context())
	for i := range 4 {
		if err := s.Send([]byte{'0' + byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := ch.Receiver(t.Context(), Credit(4))
	for i := range 3 {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Bytes(); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	for _, want := range []string{"2", "3"} {
		if got, err := receive(t.Context(), ch); got != want || err != nil {
			t.Errorf("received %q, %v, want %q", got, err, want)
		}
	}
}

func TestSenderFailsOnceTheChanIsClosed(t *testing.T) {
	_, ch := newChan(t, 2)
	s := ch.Sender(t.Context())
	for range 2 {
		if err := s.Send([]byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("too late")); err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Flush(), ErrClosed)
	wantKind(t, s.Send(nil), ErrClosed)
	wantKind(t, s.Close(), ErrClosed)
	if n := s.Confirmed(); n != 2 {
		t.Errorf("%d messages confirmed, want 2", n)
	}
}

// A sender whose messages are all confirmed has nothing to complain about when
// the channel is closed.
func TestSenderClosesAfterTheChan(t *testing.T) {
	_, ch := newChan(t, 1)
	s := ch.Sender(t.Context())
	if err := s.Send([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	wantKind(t, s.Send(nil), ErrClosed)
	unused := ch.Sender(t.Context())
	if err := unused.Close(); err != nil {
		t.Errorf("close of a sender that was never used: %v", err)
	}
}

func TestSenderBlocksAndIsCutOff(t *testing.T) {
	f, ch := newChan(t, 0)
	s := ch.Sender(t.Context(), Ahead(1))
	if err := s.Send([]byte("a")); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error)
	go func() { blocked <- s.Send([]byte("b")) }()
	for {
		stat, err := ch.Stat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stat.Senders == 1 {
			break
		}
	}
	select {
	case err := <-blocked:
		t.Fatalf("a second message is on its way: %v", err)
	default:
	}
	f.cut()
	wantKind(t, <-blocked, ErrLost)
	wantKind(t, s.Close(), ErrLost)
}

func TestSenderEndsWithItsContext(t *testing.T) {
	_, ch := newChan(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	s := ch.Sender(ctx)
	if err := s.Send(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantKind(t, s.Close(), ErrCanceled)
}

func TestSenderCutsAMessageOffAndKeepsThoseBefore(t *testing.T) {
	_, ch := newChan(t, 2)
	s := ch.Sender(t.Context())
	if err := s.Send([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken disk")
	if _, err := s.SendFrom(io.MultiReader(bytes.NewReader(make([]byte, 10)), brokenReader{broken})); !errors.Is(err, broken) {
		t.Errorf("send: %v", err)
	}
	if err := s.Close(); !errors.Is(err, broken) {
		t.Errorf("close: %v", err)
	}
	if err := ch.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := receive(t.Context(), ch); got != "whole" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
	_, err := receive(t.Context(), ch)
	wantKind(t, err, ErrClosed)
}

// When the connection of a receiver breaks, what it had not acknowledged comes
// again, to whoever is there, and marked.
func TestReceiverCutOff(t *testing.T) {
	f, ch := newChan(t, 3)
	for _, text := range []string{"a", "b", "c"} {
		if err := ch.Send(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	r := ch.Receiver(t.Context())
	m, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Bytes(); err != nil {
		t.Fatal(err)
	}
	if err := m.Done(); err != nil {
		t.Fatal(err)
	}
	if m, err = r.Next(); err != nil {
		t.Fatal(err)
	}
	f.cut()
	if _, err := m.Bytes(); err != nil {
		t.Fatal(err) // it is here already
	}
	wantKind(t, m.Done(), ErrLost)
	_, err = r.Next()
	wantKind(t, err, ErrUnreachable)
	wantKind(t, r.Close(), ErrLost)
	m, err = ch.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if b, err := m.Bytes(); string(b) != "b" || err != nil || !m.Redelivered() {
		t.Errorf("received %q, %v, redelivered %v", b, err, m.Redelivered())
	}
}
