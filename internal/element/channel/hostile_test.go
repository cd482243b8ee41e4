package channel

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

func TestBadFrames(t *testing.T) {
	piece := func(message, offset uint64, s string, end bool) rpc.Frame {
		return rpc.Frame{Message: message, Offset: offset, Data: text(s), End: end}
	}
	whole := func(message uint64, s string, sizes ...uint32) rpc.Frame {
		return rpc.Frame{Message: message, Data: text(s), Sizes: sizes}
	}
	for name, frames := range map[string][]rpc.Frame{
		"no message number":                  {piece(0, 0, "a", true)},
		"number too high":                    {piece(2, 0, "a", true)},
		"number twice":                       {piece(1, 0, "a", true), piece(1, 0, "a", true)},
		"end twice":                          {piece(1, 0, "a", true), piece(1, 1, "", true)},
		"next message before the end":        {piece(1, 0, "a", false), piece(2, 0, "a", true)},
		"earlier message":                    {piece(1, 0, "a", true), piece(2, 0, "a", false), piece(1, 1, "a", true)},
		"first offset not 0":                 {piece(1, 1, "a", true)},
		"offset gap":                         {piece(1, 0, "a", false), piece(1, 2, "b", true)},
		"offset overlap":                     {piece(1, 0, "aa", false), piece(1, 1, "b", true)},
		"offset of the message before":       {piece(1, 0, "aa", true), piece(2, 2, "b", true)},
		"huge offset":                        {piece(1, 1<<64-1, "a", true)},
		"sizes less than data":               {whole(1, "abc", 1, 1)},
		"sizes more than data":               {whole(1, "abc", 1, 3)},
		"sizes without data":                 {whole(1, "", 1)},
		"huge sizes":                         {whole(1, "abc", 1<<32-1, 1<<32-1, 5)},
		"too many sizes":                     {whole(1, "", make([]uint32, maxSizes+1)...)},
		"whole messages with a wrong number": {whole(1, "abc", 1, 2), whole(2, "abc", 3)},
		"whole messages in the middle":       {piece(1, 0, "a", false), whole(2, "abc", 3)},
		"whole messages with an offset":      {{Message: 1, Offset: 1, Data: text("a"), Sizes: []uint32{1}}},
		"middle after whole messages":        {whole(1, "abc", 1, 2), piece(2, 1, "a", true)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHot(t, 1)
			other := h.sender().begin("other's")
			s := h.sender()
			var err error
			for i, f := range frames {
				if err != nil {
					t.Fatalf("frame %d is already refused: %v", i-1, err)
				}
				err = s.s.put(&f)
				h.check()
			}
			if circuit.KindOf(err) != circuit.Invalid {
				t.Fatalf("the last frame: %v, want Invalid", err)
			}
			s.poll()
			ends(t, s.end, circuit.Invalid)
			s.leave()
			other.last("").is(1, accepted)
		})
	}
}

func TestBadAcknowledgements(t *testing.T) {
	for name, ack := range map[string]uint64{"not sent": 3, "being received": 2, "huge": 1<<64 - 1} {
		t.Run(name, func(t *testing.T) {
			h := newHot(t, 0)
			s := h.sender().send("a").begin("b")
			r := h.receiver(5)
			r.has("a", "b...")
			if err := r.r.request(0, ack); circuit.KindOf(err) != circuit.Invalid {
				t.Fatalf("acknowledging %d: %v, want Invalid", ack, err)
			}
			r.poll()
			ends(t, r.end, circuit.Invalid)
			r.leave()
			s.is(1, waits)
			s.is(2, lost)
			h.receiver(1).has("a*")
		})
	}
}

func TestAcknowledgementTwiceIsHarmless(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender().batch("a", "b")
	r := h.receiver(2)
	r.has("a", "b")
	for _, n := range []uint64{1, 1, 0, 2, 1, 2} {
		r.ack(n)
	}
	s.is(2, accepted)
	if n := h.c.Stat().NumRecv; n != 2 {
		t.Errorf("%d messages received, want 2", n)
	}
}

func TestAcknowledgementOfABrokenMessage(t *testing.T) {
	h := newHot(t, 0)
	s := h.sender().begin("a")
	r := h.receiver(2)
	r.has("a...")
	s.leave()
	r.has("a!")
	h.sender().send("b")
	r.has("a!", "b")
	r.ack(2)
	h.stat(circuit.ChanStat{NumSend: 1, NumRecv: 1})
}

func TestReceiverThatAcknowledgesNothingGetsNoMoreThanItsWindow(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1 << 31)
	for range 100 {
		s := h.sender()
		for range 100 {
			s.send(long[:MaxBuffered])
		}
	}
	r.poll()
	if n := len(r.got); n > 2*recvWindow/MaxBuffered {
		t.Errorf("%d messages of %d bytes are with one receiver", n, MaxBuffered)
	}
	h.receiver(1).has("32768 bytes")
	n := len(r.got)
	r.ack(uint64(n))
	r.poll()
	if len(r.got) <= n {
		t.Error("acknowledging brought no more")
	}
}

func TestBrokenMessagesDoNotPileUpInAReceiver(t *testing.T) {
	h := newHot(t, 0)
	r := h.receiver(1 << 31)
	for range maxUnacked + 100 {
		s := h.sender().begin("a")
		r.poll()
		s.leave()
		r.poll()
	}
	if n := len(r.r.unacked); n > maxUnacked {
		t.Errorf("%d messages are kept for a receiver that acknowledges nothing", n)
	}
}

// FuzzFrames lets clients send whatever they like. Each three bytes are a step:
// who does what with which number.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 3, 16, 0, 1, 2, 0, 1})
	f.Add([]byte{0, 1, 1, 32, 0, 0, 0, 2, 1, 18, 0, 1, 64, 9, 9, 80, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 300 {
			b = b[:300]
		}
		h := newHot(t, int(len(b)%3))
		var s *hotSend
		var r *hotRecv
		for ; len(b) >= 3; b = b[3:] {
			if s == nil {
				s = h.sender()
			}
			if r == nil {
				r = h.receiver(1)
			}
			op, x, n := b[0]&0xf, uint64(b[1]%64), uint64(b[2]%64)
			ok := true
			switch b[0] >> 4 {
			case 0, 1: // a frame, mostly a good one
				fr := rpc.Frame{Message: s.s.nextNum, Offset: s.s.offset, Data: data(make([]byte, n*x), 1+int(x)*64), End: op&1 != 0}
				if s.s.cur != nil {
					fr.Message--
				}
				switch op >> 1 {
				case 1:
					fr.Message += x
				case 2:
					fr.Offset += x
				case 3:
					fr.Sizes = []uint32{uint32(n * x)}
				case 4:
					fr.Sizes = make([]uint32, n)
					for i := range fr.Sizes {
						fr.Sizes[i] = uint32(x)
					}
				case 5:
					fr.Sizes = []uint32{uint32(x), uint32(n)}
				}
				ok = s.s.put(&fr) == nil
			case 2, 3:
				ok = r.r.request(uint32(op), r.r.acked+x%3) == nil
			case 4:
				r.poll()
			case 5:
				ok = op != 0
				s.s.finish()
			case 6:
				r.r.finish()
			case 7:
				s.leave()
				s = nil
			case 8:
				r.leave()
				r = nil
			default:
				continue
			}
			h.check()
			if !ok {
				s.leave()
				r.leave()
				s, r = nil, nil
			}
		}
	})
}

// pool counts the buffers that are out.
type pool struct{ out int }

func (p *pool) Get(n int) *[]byte { p.out++; b := make([]byte, n); return &b }
func (p *pool) Put(*[]byte)       { p.out-- }

func (p *pool) data(sizes ...int) mem.BufferSlice {
	var out mem.BufferSlice
	for _, n := range sizes {
		out = append(out, mem.NewBuffer(p.Get(n), p))
	}
	return out
}

func TestTransportBuffersAreGivenBack(t *testing.T) {
	const buf = 16 << 10
	for name, test := range map[string]func(h *hot, p *pool, s *hotSend){
		"received": func(h *hot, p *pool, s *hotSend) {
			r := h.receiver(9)
			r.poll()
			r.ack(uint64(len(r.got)))
		},
		"dropped with the sender": func(h *hot, p *pool, s *hotSend) { s.leave() },
		"dropped with the channel": func(h *hot, p *pool, s *hotSend) {
			h.receiver(1).poll()
			h.scrub()
		},
		"received twice": func(h *hot, p *pool, s *hotSend) {
			r := h.receiver(1)
			r.poll()
			r.leave()
			r = h.receiver(9)
			r.poll()
			r.ack(uint64(len(r.got)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, p := newHot(t, 3), new(pool)
			s := h.sender()
			for _, f := range []rpc.Frame{
				{Message: 1, Data: p.data(buf, buf, buf), End: true},
				{Message: 2, Data: p.data(buf, buf, buf), Sizes: []uint32{100, buf * 2, buf - 100}},
				{Message: 5, Data: p.data(buf, buf, 2000, 2000)},
				{Message: 5, Data: p.data(2000, 2000), Offset: 2*buf + 4000, End: true},
			} {
				if err := s.s.put(&f); err != nil {
					t.Fatal(err)
				}
				f.Free()
			}
			test(h, p, s)
			if p.out != 0 {
				t.Errorf("%d buffers are out", p.out)
			}
		})
	}
}

func TestFewBytesKeepNoLargeBuffer(t *testing.T) {
	h, p := newHot(t, 0), new(pool)
	s := h.sender().begin(long) // is beyond the mark: what follows is not copied into one piece
	at := uint64(len(long))
	for range 100 {
		big := p.data(1 << 20)
		f := rpc.Frame{Message: 1, Offset: at, Data: mem.BufferSlice{big[0].Slice(7, 17)}}
		at += 10
		if err := s.s.put(&f); err != nil {
			t.Fatal(err)
		}
		f.Free()
		big.Free()
	}
	if p.out != 0 {
		t.Errorf("%d buffers of 1 MiB are kept for 10 bytes each", p.out)
	}
	if cost := h.c.budget.Used(); cost > int64(2*len(long)) {
		t.Errorf("%d bytes cost %d", at, cost)
	}
}

func TestMessageInManyPartsCostsWhatItHolds(t *testing.T) {
	h := newHot(t, 1)
	s := h.sender().begin("")
	for range MaxBuffered {
		s.s.put(&rpc.Frame{Message: 1, Offset: s.s.offset, Data: text("x")})
	}
	if cost := h.c.budget.Used(); cost > 2*MaxBuffered {
		t.Errorf("%d bytes cost %d", MaxBuffered, cost)
	}
	s.at = MaxBuffered
	s.last("").is(1, accepted)
	h.receiver(1).has("32768 bytes")
}

func TestLimitOfCalls(t *testing.T) {
	c := newChan(0, 3, NewBudget(0), nil)
	s, err := c.newSender()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.newReceiver(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := c.newReceiver(); !errors.Is(err, circuit.Exhausted) {
			t.Errorf("one receive too many: %v", err)
		}
		if _, err := c.newSender(); !errors.Is(err, circuit.Exhausted) {
			t.Errorf("one send too many: %v", err)
		}
	}
	s.leave()
	if _, err := c.newSender(); err != nil {
		t.Errorf("a send after one ended: %v", err)
	}
	if err := s.await(context.Background()); err != nil {
		t.Errorf("await after the end: %v", err)
	}
}
