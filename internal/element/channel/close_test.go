package channel

import (
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
)

func TestClose(t *testing.T) {
	h := newHot(t, 1)
	idle, s := h.sender(), h.sender().batch("a", "b")
	long1 := h.sender().begin(long)
	if err := h.c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.c.Close(); circuit.KindOf(err) != circuit.Closed {
		t.Errorf("closed again: %v", err)
	}
	s.is(1, accepted)
	s.is(2, closed)
	long1.is(1, closed)
	idle.poll()
	ends(t, idle.end, circuit.Closed)
	h.stat(circuit.ChanStat{Cap: 1, Closed: true, NumSend: 1, Buffered: 1, BufferedBytes: 1})
	late := h.sender().send("c")
	late.is(1, closed)
	ends(t, late.end, circuit.Closed)

	r, other := h.receiver(1), h.receiver(1)
	r.has("a")
	r.grant(1)
	r.poll()
	ends(t, r.end, nil) // "a" might come back
	other.poll()
	ends(t, other.end, nil)
	r.ack(1)
	r.poll()
	ends(t, r.end, circuit.Closed)
	if r.sure != 1 {
		t.Errorf("confirmed up to %d before the end, want 1", r.sure)
	}
	other.poll()
	ends(t, other.end, circuit.Closed)
	later := h.receiver(1)
	later.poll()
	ends(t, later.end, circuit.Closed)
}

func TestCloseLetsWhatReceiversHaveGoOn(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().begin(long)
	s2 := h.sender().send("b")
	r.poll()
	if err := h.c.Close(); err != nil {
		t.Fatal(err)
	}
	s2.is(1, closed)
	s.last("end")
	r.has("100003 bytes")
	r.ack(1)
	s.is(1, accepted)
}

func TestMessageThatComesBackToAClosedChannelIsReceived(t *testing.T) {
	h := newHot(t, 0)
	r, next := h.receiver(1), h.receiver(0)
	s := h.sender().send("a")
	r.has("a")
	if err := h.c.Close(); err != nil {
		t.Fatal(err)
	}
	next.grant(1)
	r.leave()
	next.has("a*")
	next.ack(1)
	s.is(1, accepted)
}

func TestMessageThatNoReceiverBeganIsClosedWhenItComesBackToAClosedChannel(t *testing.T) {
	h := newHot(t, 0)
	r, next := h.receiver(1), h.receiver(1)
	s := h.sender().send("a")
	if err := h.c.Close(); err != nil {
		t.Fatal(err)
	}
	r.leave()
	s.is(1, closed)
	next.poll()
	ends(t, next.end, circuit.Closed)
}

func TestScrub(t *testing.T) {
	h := newHot(t, 0)
	r, idle := h.receiver(1), h.receiver(0)
	s := h.sender().batch("a", "b")
	r.has("a")
	h.scrub()
	s.is(1, lost) // the receiver may have used it
	s.is(2, closed)
	ends(t, s.end, circuit.Closed)
	for _, r := range []*hotRecv{r, idle} {
		r.poll()
		ends(t, r.end, circuit.Closed)
		if r.end != nil && !strings.Contains(r.end.Error(), "scrubbed") {
			t.Errorf("the receiver is told %v", r.end)
		}
	}
	h.stat(circuit.ChanStat{Closed: true, Aborted: true})
	if _, err := h.c.newSender(); circuit.KindOf(err) != circuit.Closed {
		t.Errorf("a new send: %v", err)
	}
	if _, err := h.c.newReceiver(); circuit.KindOf(err) != circuit.Closed {
		t.Errorf("a new receive: %v", err)
	}
	if err := h.c.Close(); circuit.KindOf(err) != circuit.Closed {
		t.Errorf("close: %v", err)
	}
}

func TestScrubDropsWhatIsBuffered(t *testing.T) {
	h := newHot(t, 1)
	s := h.sender().batch("a", "b")
	s.is(1, accepted)
	h.scrub()
	s.is(2, closed)
	h.stat(circuit.ChanStat{Cap: 1, Closed: true, Aborted: true, NumSend: 1})
}
