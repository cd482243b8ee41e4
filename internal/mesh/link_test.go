package mesh

import (
	"context"
	"fmt"
	"slices"
	"testing"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/overlay"
)

func newTestLink() *link { return newLink(context.Background(), func() {}, overlay.Peer{}, nil) }

// enqueued queues a message, and reports whether there was room.
func enqueued(l *link, msg message) bool {
	room, _ := l.enqueue(msg)
	return room
}

// order returns the messages of a frame in the order in which they are read.
func order(f *circuitv1.LinkFrame) (texts []string) {
	for _, b := range append(slices.Clone(f.GetOverlay()), f.GetMembership()...) {
		texts = append(texts, string(b))
	}
	return texts
}

func TestFramesKeepTheOrder(t *testing.T) {
	l := newTestLink()
	var want, got []string
	for i, overlay := range []bool{true, true, false, false, true, false, true, true} {
		text := fmt.Sprint(i)
		want = append(want, text)
		if !enqueued(l, message{overlay: overlay, data: []byte(text)}) {
			t.Fatal("no room")
		}
	}
	l.finish()
	frames := 0
	for {
		f, last := l.next()
		if last {
			break
		}
		got = append(got, order(f)...)
		frames++
	}
	if !slices.Equal(got, want) || frames != 3 {
		t.Errorf("got %v in %d frames", got, frames)
	}
	if l.bytes != 0 || l.queue != nil {
		t.Errorf("%d bytes are left", l.bytes)
	}
}

func TestFramesAreBounded(t *testing.T) {
	l := newTestLink()
	for range 10 {
		l.enqueue(message{data: make([]byte, frameBytes/2)})
	}
	for range 5 {
		if f, _ := l.next(); len(f.GetMembership()) != 2 {
			t.Errorf("a frame holds %d messages", len(f.GetMembership()))
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	for _, size := range []int{1, 64 << 10} {
		l, n := newTestLink(), 0
		for enqueued(l, message{data: make([]byte, size)}) {
			n++
		}
		if n != maxQueued && n*size != maxQueueBytes {
			t.Errorf("%d messages of %d bytes are queued", n, size)
		}
		l.next()
		if !enqueued(l, message{data: make([]byte, size)}) {
			t.Errorf("there is no room after a frame of %d bytes was taken", size)
		}
	}
}
