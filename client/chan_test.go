package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// newChan makes a channel on a fake server.
func newChan(t *testing.T, capacity int) (*fake, *Chan) {
	t.Helper()
	f := newFake(t)
	ch, err := mustWalk(t, f.dial(), fakePath+"/c").MakeChan(t.Context(), capacity)
	if err != nil {
		t.Fatal(err)
	}
	return f, ch
}

// other returns the channel as another client has it.
func (f *fake) other(ch *Chan) *Chan { return f.dial().Anchor(ch.Path()).Chan() }

// receive receives one message and confirms it.
func receive(ctx context.Context, ch *Chan) (string, error) {
	m, err := ch.Recv(ctx)
	if err != nil {
		return "", err
	}
	defer m.Close()
	b, err := m.Bytes()
	if err != nil {
		return string(b), err
	}
	return string(b), m.Done()
}

func TestSendAndRecv(t *testing.T) {
	f, ch := newChan(t, 0)
	long := strings.Repeat("0123456789abcdef", 150_000)
	for _, text := range []string{"", "short", long} {
		sent := make(chan error)
		go func() { sent <- ch.Send(t.Context(), []byte(text)) }()
		got, err := receive(t.Context(), f.other(ch))
		if err != nil || got != text {
			t.Errorf("received %d bytes, %v, want %d", len(got), err, len(text))
		}
		if err := <-sent; err != nil {
			t.Errorf("send: %v", err)
		}
	}
	go func() {
		_, _ = ch.SendFrom(t.Context(), io.MultiReader(strings.NewReader("in "), strings.NewReader("parts")))
	}()
	if got, err := receive(t.Context(), ch); got != "in parts" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
	stat, err := ch.Stat(t.Context())
	if err != nil || stat.NumSend != 4 || stat.NumRecv != 4 {
		t.Errorf("stat: %+v, %v", stat, err)
	}
}

func TestMessageIsReadInPieces(t *testing.T) {
	_, ch := newChan(t, 1)
	if err := ch.Send(t.Context(), []byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	m, err := ch.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := make([]byte, 4)
	n, err := m.Read(b)
	if n != 4 || err != nil {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	wantKind(t, m.Done(), ErrInvalid) // not at its end
	rest, err := io.ReadAll(m)
	if string(rest) != "ef" || err != nil {
		t.Fatalf("read %q, %v", rest, err)
	}
	if err := m.Done(); err != nil {
		t.Fatal(err)
	}
	if stat, err := ch.Stat(t.Context()); err != nil || stat.NumRecv != 1 {
		t.Errorf("stat: %+v, %v", stat, err)
	}
}

func TestMessageGivenUpGoesToAnother(t *testing.T) {
	f, ch := newChan(t, 1)
	if err := ch.Send(t.Context(), []byte("abc")); err != nil {
		t.Fatal(err)
	}
	m, err := ch.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Redelivered() {
		t.Error("a new message says it was redelivered")
	}
	m.Close()
	if _, err := m.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	again, err := f.other(ch).Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if b, err := again.Bytes(); string(b) != "abc" || err != nil || !again.Redelivered() {
		t.Errorf("received %q, %v, redelivered %v", b, err, again.Redelivered())
	}
	if err := again.Done(); err != nil {
		t.Error(err)
	}
}

func TestCutMessageIsAnError(t *testing.T) {
	_, ch := newChan(t, 0)
	broken := errors.New("broken disk")
	begun := make(chan struct{})
	sent := make(chan error)
	go func() {
		_, err := ch.SendFrom(t.Context(), io.MultiReader(bytes.NewReader(make([]byte, 1000)), readerFunc(func([]byte) (int, error) {
			<-begun
			return 0, broken
		})))
		sent <- err
	}()
	m, err := ch.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	close(begun)
	n, err := io.Copy(io.Discard, m)
	wantKind(t, err, ErrLost)
	if n > 1000 {
		t.Errorf("received %d bytes", n)
	}
	if err := <-sent; !errors.Is(err, broken) {
		t.Errorf("send: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestClosedChan(t *testing.T) {
	_, ch := newChan(t, 1)
	if err := ch.Send(t.Context(), []byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, ch.Close(t.Context()), ErrClosed)
	wantKind(t, ch.Send(t.Context(), nil), ErrClosed)
	if got, err := receive(t.Context(), ch); got != "last" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
	_, err := receive(t.Context(), ch)
	wantKind(t, err, ErrClosed)
}

func TestScrubEndsBothSides(t *testing.T) {
	f, ch := newChan(t, 0)
	failed := make(chan error)
	go func() { _, err := ch.Recv(t.Context()); failed <- err }()
	for { // until the receiver is there
		if stat, err := ch.Stat(t.Context()); err != nil || stat.Receivers == 1 {
			break
		}
	}
	if err := f.other(ch).Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-failed, ErrClosed)
	wantKind(t, ch.Send(t.Context(), nil), ErrNotFound)
}

func TestRecvCanceled(t *testing.T) {
	_, ch := newChan(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ch.Recv(ctx)
	wantKind(t, err, ErrCanceled)
	if err := ch.Send(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := receive(t.Context(), ch); got != "x" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
}

func TestSendCutOffIsLost(t *testing.T) {
	f, ch := newChan(t, 0)
	sent := make(chan error)
	go func() { sent <- ch.Send(t.Context(), []byte("x")) }()
	other := f.other(ch)
	for {
		stat, err := other.Stat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stat.Senders == 1 {
			break
		}
	}
	f.cut()
	wantKind(t, <-sent, ErrLost)
}

// numbered is a message of some length that says its number.
func numbered(i int) []byte {
	length := []int{3, 50, 1000, 0, 40_000, 300_000}[i%6]
	return append(fmt.Appendf(nil, "%d:", i), make([]byte, length)...)
}
