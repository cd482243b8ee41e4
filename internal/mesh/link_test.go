package mesh

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

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

// TestLinkToFrozenServerStayed: a link that its dialler was through with stayed
// open for as long as its other end, which was frozen, did not read.
func TestLinkToFrozenServerStayed(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, c *cluster) {
		dialler, frozen := c.nodes[1], c.nodes[0]
		var l *link
		dialler.do(func() {
			for _, l = range dialler.links {
				if l.peer.ID == frozen.id {
					break
				}
			}
		})
		for i := range c.nodes[1:] {
			c.memory.Cut(host(0), host(i+1))
		}
		// More than any window, and less than any queue.
		for range 3 * maxQueueBytes / 4 / frameBytes {
			enqueued(l, message{data: make([]byte, frameBytes)})
		}
		l.signal()
		await(t, 10*time.Second, c.nodes[1:]...)
		time.Sleep(2 * hangUpTimeout)
		if l.ctx.Err() == nil {
			t.Error("the link is open")
		}
		for i := range c.nodes[1:] {
			c.memory.Heal(host(0), host(i+1))
		}
	})
}
