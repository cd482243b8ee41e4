package channel

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/gocircuit/circuit/internal/rpc"
)

// The costs of messages in these tests.
const (
	kib    = 1 << 10
	onekib = kib - overhead // bytes of a message that costs 1 KiB
)

func TestAtTheLimitSendersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHotBudget(t, 1000, 64*kib)
		s := h.sender()
		var sent, sure int
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{}, 2)
		go func() {
			defer func() { done <- struct{}{} }()
			for s.s.await(ctx) == nil {
				sent++
				s.s.put(&rpc.Frame{Message: uint64(sent), Data: text(long[:onekib]), End: true})
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				out, err := s.s.next(ctx, nil)
				if err != nil {
					return
				}
				for _, o := range out {
					sure += int(o.count)
				}
			}
		}()
		synctest.Wait()
		if sent != 65 || sure != 64 {
			t.Errorf("%d messages are taken in and %d accepted, want 65 and 64", sent, sure)
		}
		r := h.receiver(64)
		synctest.Wait()
		r.poll()
		r.ack(64)
		synctest.Wait()
		if sent != 129 || sure != 128 {
			t.Errorf("after 64 were received, %d messages are taken in and %d accepted, want 129 and 128", sent, sure)
		}
		cancel()
		<-done
		<-done
	})
}

func TestWaitingChannelsDoNotHoldUpThoseThatFlow(t *testing.T) {
	b := NewBudget(64 * kib)
	full := hotOn(t, 1000, b)
	s := full.sender()
	for range 100 {
		s.send(long[:onekib])
	}
	s.is(64, accepted)
	s.is(65, waits)
	flows := hotOn(t, 1000, b)
	s2 := flows.sender()
	if s2.s.hasRoom() {
		t.Error("more is read although the limit is reached")
	}
	s2.begin("a") // the first frame is in hand when that is found out
	if s2.s.hasRoom() {
		t.Error("a message without a receiver goes on although the limit is reached")
	}
	r := flows.receiver(2)
	for range 100 {
		if !s2.s.hasRoom() {
			t.Fatal("a message with a receiver does not go on")
		}
		s2.more(long)
		r.poll()
	}
	s2.last("").send("b")
	r.has("10000001 bytes", "b")
	r.ack(2)
	s2.is(2, accepted)
	full.leaks()
	flows.leaks()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left over", b.Used())
	}
}

func TestSendersAreWokenWhereverMemoryIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(64 * kib)
		full := hotOn(t, 1000, b)
		s := full.sender()
		for range 65 {
			s.send(long[:onekib])
		}
		const n = 50
		accepted := make(chan error, n)
		var hots []*hot
		for range n {
			h := hotOn(t, 1, b)
			hots = append(hots, h)
			waiting := h.sender().send("a")
			waiting.s.finish()
			go func() {
				out, err := waiting.s.next(t.Context(), nil)
				if err == nil && (len(out) != 1 || out[0].err != nil) {
					err = fmt.Errorf("outcomes %v", out)
				}
				accepted <- err
			}()
		}
		synctest.Wait()
		if len(accepted) != 0 {
			t.Fatalf("%d messages are accepted beyond the limit", len(accepted))
		}
		full.scrub()
		for range n {
			if err := <-accepted; err != nil {
				t.Error(err)
			}
		}
		for _, h := range append(hots, full) {
			h.leaks()
		}
		if b.Used() != 0 {
			t.Errorf("%d bytes are left over", b.Used())
		}
	})
}

func TestSlowReceiverHoldsItsSenderBack(t *testing.T) {
	h := newHot(t, 1)
	r := h.receiver(1)
	s := h.sender().begin("")
	n := 0
	for ; s.s.hasRoom(); n += len(long) {
		s.more(long)
	}
	if n < streamWindow/2 || n > streamWindow+len(long) {
		t.Errorf("%d bytes are between a sender and a receiver that does not read", n)
	}
	r.poll()
	if !s.s.hasRoom() {
		t.Error("the sender does not go on when the receiver reads")
	}
}

func TestPipelineOfOneSenderIsBounded(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender()
	for s.s.hasRoom() {
		s.send("")
	}
	if s.num > sendWindow/overhead+1 {
		t.Errorf("%d messages without an outcome are taken in", s.num)
	}
	r := h.receiver(1)
	r.poll()
	if s.s.hasRoom() {
		t.Error("more is read before a message is acknowledged")
	}
	r.ack(1)
	if !s.s.hasRoom() {
		t.Error("no more is read after a message was acknowledged")
	}
}

func TestOutcomesThatNobodyReadsAreBounded(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1 << 31)
	s := h.sender()
	for i := 0; s.s.hasRoom(); i++ {
		if i > 2*maxOutcomes {
			t.Fatal("frames are read for ever")
		}
		s.begin("a")
		r.poll()
		r.leave() // makes the outcomes too different to be told as one
		r = h.receiver(1)
		s.last("")
	}
}
