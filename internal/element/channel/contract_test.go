package channel

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

const (
	closed    = int(circuit.Closed)
	lost      = int(circuit.Lost)
	invalid   = int(circuit.Invalid)
	longBytes = 100_000
)

var long = strings.Repeat("x", longBytes)

func TestUnbufferedSendLastsUntilItsReceiverAcknowledges(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender().send("a")
	s.is(1, waits)
	h.stat(circuit.ChanStat{BufferedBytes: 1, Senders: 1})
	r := h.receiver(1)
	r.has("a")
	s.is(1, waits)
	r.ack(1)
	s.is(1, accepted)
	r.has("a")
	if r.sure != 1 {
		t.Errorf("confirmed up to %d, want 1", r.sure)
	}
	h.stat(circuit.ChanStat{NumSend: 1, NumRecv: 1})
}

func TestReceiverFirst(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	r.has()
	h.stat(circuit.ChanStat{Receivers: 1})
	s := h.sender().send("a")
	r.has("a")
	h.stat(circuit.ChanStat{Senders: 1, BufferedBytes: 1})
	r.ack(1)
	s.is(1, accepted)
}

func TestBufferedSendIsAcceptedWhileThereIsAPlace(t *testing.T) {
	h := newHot(t, 2)
	s := h.sender().batch("a", "b", "c").send("d")
	s.is(1, accepted)
	s.is(2, accepted)
	s.is(3, waits)
	s.is(4, waits)
	h.stat(circuit.ChanStat{Cap: 2, NumSend: 2, Buffered: 2, BufferedBytes: 4, Senders: 1})
	r := h.receiver(1)
	r.has("a")
	s.is(3, accepted) // the place is free when the receiver takes the message
	s.is(4, waits)
	r.request(1, 1)
	r.has("a", "b")
	s.is(4, accepted)
	h.stat(circuit.ChanStat{Cap: 2, NumSend: 4, NumRecv: 1, Buffered: 2, BufferedBytes: 3})
}

func TestLongMessageWaitsAtTheMarkForAReceiver(t *testing.T) {
	h := newHot(t, 1)
	s := h.sender().begin(long[:MaxBuffered])
	if !s.s.hasRoom() {
		t.Error("a message of exactly the mark is not read to its end")
	}
	s.more("x")
	if s.s.hasRoom() {
		t.Error("the sender goes on beyond the mark without a receiver")
	}
	s.is(1, waits)
	h.stat(circuit.ChanStat{Cap: 1, Buffered: 1, BufferedBytes: MaxBuffered + 1, Senders: 1})
	r := h.receiver(1)
	if !s.s.hasRoom() {
		t.Error("the sender does not go on although there is a receiver")
	}
	s.last("yz")
	r.has("32771 bytes")
	s.is(1, waits)
	r.ack(1)
	s.is(1, accepted)
}

func TestMessageOfExactlyTheMarkIsBuffered(t *testing.T) {
	h := newHot(t, 2)
	s := h.sender().send(long[:MaxBuffered]).begin(long[:MaxBuffered]).last("")
	s.is(1, accepted)
	s.is(2, accepted)
	h.receiver(2).has("32768 bytes", "32768 bytes")
}

func TestMessageInOneFrameBeyondTheMarkIsNotBuffered(t *testing.T) {
	h := newHot(t, 1)
	s := h.sender().send(long[:MaxBuffered+1])
	s.is(1, waits)
}

func TestMessagesLeaveInTheOrderOfOffering(t *testing.T) {
	h := newHot(t, 1)
	a, b, c := h.sender(), h.sender(), h.sender()
	a.begin("a") // takes the place, and is not complete
	b.send("b")
	c.send("c")
	b.is(1, waits)
	r1, r2 := h.receiver(1), h.receiver(1)
	r1.has("a...")
	r2.has("b")
	c.is(1, accepted)
	a.last("A")
	r1.has("aA")
	r1.grant(1)
	r1.has("aA", "c")
}

func TestReceiversAreServedInTurn(t *testing.T) {
	h := newHot(t, 0)
	r1, r2, r3 := h.receiver(3), h.receiver(1), h.receiver(1)
	h.sender().batch("a", "b", "c", "d", "e", "f")
	r1.has("a", "d", "e")
	r2.has("b")
	r3.has("c")
	r2.grant(1)
	r2.has("b", "f")
}

func TestNothingWaitsInAReceiverThatAnotherCouldHaveTaken(t *testing.T) {
	h := newHot(t, 0)
	greedy, other := h.receiver(1000), h.receiver(1)
	s := h.sender().begin("a")
	h.sender().send("b")
	other.has("b")
	other.request(1, 1)
	h.sender().send("c")
	other.has("b", "c")
	greedy.has("a...")
	s.last("")
	h.sender().send("d")
	greedy.has("a", "d")
}

func TestBlockedReceiverThatGoesAwayTakesNothing(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	r.leave()
	s := h.sender().send("a")
	s.is(1, waits)
	r = h.receiver(1)
	r.has("a")
	r.ack(1)
	s.is(1, accepted)
}

func TestReceiverThatGoesAwayBeforeItsMessageWasWrittenLeavesNoMark(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(2)
	s := h.sender().batch("a", "b").begin("c")
	r.leave() // "a" and "b" were given to it, and not yet written
	s.last("C")
	h.receiver(3).has("a", "b", "cC")
	h.stat(circuit.ChanStat{Senders: 1, BufferedBytes: 4})
}

func TestHeldMessageGoesBackToTheHeadMarked(t *testing.T) {
	for _, m := range []string{"a", "", long} {
		h := newHot(t, 0)
		s := h.sender().send(m)
		s.send("b")
		r := h.receiver(1)
		r.poll()
		s.send("c")
		r.leave()
		s.is(1, waits)
		r = h.receiver(3)
		r.poll()
		if len(r.got) != 3 || r.got[0].String() != m || !r.got[0].redelivered || r.got[1].redelivered {
			t.Errorf("received %+v, want the first message again, marked", r.got)
		}
		r.ack(3)
		s.is(1, accepted)
		if n := h.c.Stat().Redelivered; n != 1 {
			t.Errorf("%d redelivered, want 1", n)
		}
	}
}

func TestSeveralMessagesGoBackInTheirOrder(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender().batch("a", "b", "c", "d", "e")
	r1, r2 := h.receiver(1), h.receiver(3)
	r1.has("a")
	r2.has("b", "c", "d")
	r2.ack(1)
	r1.leave()
	r2.leave()
	h.receiver(5).has("a*", "c*", "d*", "e")
	s.is(2, accepted)
}

func TestBufferedMessageComesBackOverTheCapacity(t *testing.T) {
	h := newHot(t, 1)
	s := h.sender().batch("a", "b", "c")
	r := h.receiver(1)
	r.has("a")
	s.is(2, accepted) // has the place of "a" now
	r.leave()
	s.is(3, waits)
	h.stat(circuit.ChanStat{Cap: 1, NumSend: 2, Buffered: 2, BufferedBytes: 3, Senders: 1})
	r = h.receiver(1)
	r.has("a*")
	s.is(3, waits)
	r.grant(1)
	r.has("a*", "b")
	s.is(3, accepted)
}

func TestUnbufferedMessageThatComesBackIsBufferedIfThereIsAPlace(t *testing.T) {
	h := newHot(t, 1)
	r := h.receiver(1)
	s := h.sender().begin("a")
	r.has("a...")
	h.sender().send("b").is(1, accepted) // has the only place
	s.last("")
	r.has("a")
	r.leave()
	s.is(1, waits)
	r2, r3 := h.receiver(1), h.receiver(1)
	r2.has("a*")
	r3.has("b")
	s.is(1, waits)
	r2.leave()
	s.is(1, accepted)
}

func TestReceiverThatHangsDoesNotBlockTheSenderOfABufferedMessage(t *testing.T) {
	h := newHot(t, 1)
	r := h.receiver(5)
	s := h.sender().batch("a", "b").begin("c").last("")
	r.has("a", "b", "c") // and acknowledges nothing
	for num := range uint64(3) {
		s.is(num+1, accepted)
	}
	h.stat(circuit.ChanStat{Cap: 1, NumSend: 3, BufferedBytes: 3, Receivers: 1})
	r.leave()
	h.receiver(3).has("a*", "b*", "c*")
}

func TestStreamingMessageIsLostWithItsReceiver(t *testing.T) {
	h := newHot(t, 1)
	r := h.receiver(1)
	s := h.sender().begin(long).more(long)
	r.has("200000 bytes...")
	r.leave()
	s.is(1, lost)
	s.more("rest").last("is ignored").send("b")
	s.is(2, accepted)
	h.receiver(1).has("b")
}

func TestStreamedMessageIsLostIfItsReceiverGoesBeforeItAcknowledges(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().begin(long)
	r.poll()
	s.last("end")
	r.has("100003 bytes")
	r.leave()
	s.is(1, lost)
}

func TestMessageThatGrowsBeyondTheMarkIsNoLongerHeld(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().begin("a")
	r.has("a...")
	s.more(long[:MaxBuffered])
	r.has("32769 bytes...")
	h.stat(circuit.ChanStat{Senders: 1})
	s.last("end")
	r.has("32772 bytes")
	if text := r.got[0].String(); text != "a"+long[:MaxBuffered]+"end" {
		t.Error("the message arrived with other bytes")
	}
	r.leave()
	s.is(1, lost)
}

func TestLongMessageThatIsHeldArrivesInParts(t *testing.T) {
	var all strings.Builder
	for i := range 100_000 {
		fmt.Fprint(&all, i)
	}
	h := newHot(t, 0)
	s := h.sender().batch("before", all.String(), "after")
	for _, mark := range []bool{false, true} {
		r := h.receiver(3)
		r.poll()
		if len(r.got) != 3 || r.got[1].String() != all.String() || r.got[1].redelivered != mark || r.got[2].String() != "after" {
			t.Errorf("received %d messages, the long one with %d of %d bytes", len(r.got), r.got[1].Len(), all.Len())
		}
		r.leave()
	}
	s.is(2, waits)
}

func TestShortIncompleteMessageIsLostWithItsReceiver(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().begin("a")
	r.has("a...")
	r.leave()
	s.is(1, lost)
}

func TestShortMessageInPartsIsHeld(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().begin("a")
	r.has("a...")
	s.last("b")
	r.has("ab")
	r.leave()
	s.is(1, waits)
	h.receiver(1).has("ab*")
}

func TestSenderThatGoesAwayTakesBackWhatNoReceiverBegan(t *testing.T) {
	h := newHot(t, 2)
	s := h.sender().send("a").begin("b") // both have a place, one is buffered whole
	other := h.sender().send("c")
	other.is(1, waits)
	s.leave()
	other.is(1, accepted)
	h.receiver(3).has("a", "c")
}

func TestUnbufferedMessageIsWithdrawnEvenFromAReceiverThatDidNotBegin(t *testing.T) {
	h := newHot(t, 0)
	r1, r2 := h.receiver(1), h.receiver(1)
	s := h.sender().send("a")
	s.leave()
	h.sender().batch("b", "c")
	r1.has("b") // it kept its turn
	r2.has("c")
}

func TestSenderThatGoesAwayInTheMiddleBreaksTheMessage(t *testing.T) {
	for name, end := range map[string]func(*hotSend){"leave": (*hotSend).leave, "finish": func(s *hotSend) { s.s.finish(); s.is(1, invalid) }} {
		h := newHot(t, 1)
		r := h.receiver(2)
		s := h.sender().begin("a")
		r.has("a...")
		end(s)
		r.has("a!")
		if !strings.Contains(r.got[0].broken.Error(), "broke off") || circuit.KindOf(r.got[0].broken) != circuit.Lost {
			t.Errorf("%s: the receiver is told %v", name, r.got[0].broken)
		}
		h.sender().send("b")
		r.has("a!", "b")
		r.ack(2)
		h.stat(circuit.ChanStat{Cap: 1, NumSend: 1, NumRecv: 1})
	}
}

func TestCompleteMessageOutlivesItsSenderOnceBegun(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1)
	s := h.sender().send("a")
	r.has("a")
	s.leave()
	r.leave()
	h.stat(circuit.ChanStat{Buffered: 1, BufferedBytes: 1})
	r = h.receiver(1)
	r.has("a*")
	r.ack(1)
	h.stat(circuit.ChanStat{NumSend: 1, NumRecv: 1, Redelivered: 1})
}

func TestCallEndsOnceAllIsConfirmed(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender().batch("a", "b")
	s.s.finish()
	s.poll()
	ends(t, s.end, nil)
	r := h.receiver(2)
	r.has("a", "b")
	r.r.finish()
	r.poll()
	ends(t, r.end, io.EOF)
	r.leave()
	s.poll()
	ends(t, s.end, nil)
	r = h.receiver(2)
	r.has("a*", "b*")
	r.ack(2)
	s.poll()
	ends(t, s.end, io.EOF)
	r.r.finish()
	r.poll()
	ends(t, r.end, io.EOF)
	if r.sure != 2 {
		t.Errorf("confirmed up to %d before the end, want 2", r.sure)
	}
}

func TestManySmallMessagesLeaveInOneFrame(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender()
	var all []string
	for i := range 2000 {
		all = append(all, strings.Repeat("m", i%7))
	}
	s.batch(all...)
	r := h.receiver(2000)
	d, err := r.r.next(now())
	if err != nil || len(d.parts) != maxBatch {
		t.Fatalf("%d messages in the first frame (%v), want %d", len(d.parts), err, maxBatch)
	}
	var f rpc.Frame
	d.frame(&f, "")
	r.frame(&f)
	r.poll()
	if len(r.got) != len(all) {
		t.Fatalf("%d messages arrived, want %d", len(r.got), len(all))
	}
	for i, g := range r.got {
		if g.String() != all[i] || !g.ended {
			t.Fatalf("message %d is %q, want %q", i, g.String(), all[i])
		}
	}
	r.ack(2000)
	s.poll()
	if len(s.got) != 2000 {
		t.Errorf("%d outcomes, want 2000", len(s.got))
	}
}
