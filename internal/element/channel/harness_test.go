package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/anchor"
	"github.com/gocircuit/circuit/internal/rpc"
)

// tb is what a test of either kind can do.
type tb interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
	Cleanup(func())
}

// hot is a channel driven step by step: nothing blocks, and what a client would
// see is noted.
type hot struct {
	tb
	c      *Chan
	shared bool // its budget is also others'
	checks int
}

func newHot(t tb, cap int) *hot { return newHotBudget(t, cap, 0) }

func newHotBudget(t tb, cap int, budget int64) *hot {
	h := hotOn(t, cap, NewBudget(budget))
	h.shared = false
	t.Cleanup(func() { h.check(); h.leaks() })
	return h
}

// hotOn is on a budget that it shares.
func hotOn(t tb, cap int, b *Budget) *hot {
	return &hot{tb: t, c: newChan(cap, DefaultCalls, b, nil), shared: true}
}

// now is a context for calls that must not wait.
func now() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// data returns b as a transport gives it, in buffers of n bytes.
func data(b []byte, n int) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > n {
		out, b = append(out, mem.SliceBuffer(b[:n:n])), b[n:]
	}
	return append(out, mem.SliceBuffer(b))
}

func text(s string) mem.BufferSlice { return data([]byte(s), 16<<10) }

// hotSend is a Send call.
type hotSend struct {
	*hot
	s   *sender
	num uint64
	at  uint64
	got map[uint64]error // outcomes
	end error            // of the call
}

func (h *hot) sender() *hotSend {
	h.Helper()
	s, err := h.c.newSender()
	if err != nil {
		h.Fatal(err)
	}
	return &hotSend{hot: h, s: s, got: make(map[uint64]error)}
}

// begin sends the first part of a message, more another part, last the last.
func (s *hotSend) begin(text string) *hotSend { s.num++; s.at = 0; return s.more(text) }
func (s *hotSend) more(text string) *hotSend  { return s.part(text, false) }
func (s *hotSend) last(text string) *hotSend  { return s.part(text, true) }
func (s *hotSend) send(text string) *hotSend  { s.num++; s.at = 0; return s.part(text, true) }

func (s *hotSend) part(b string, end bool) *hotSend {
	s.Helper()
	if err := s.s.put(&rpc.Frame{Message: s.num, Offset: s.at, Data: text(b), End: end}); err != nil {
		s.Fatalf("message %d at %d: %v", s.num, s.at, err)
	}
	s.at += uint64(len(b))
	s.check()
	return s
}

// batch sends whole messages in one frame.
func (s *hotSend) batch(texts ...string) *hotSend {
	s.Helper()
	f := rpc.Frame{Message: s.num + 1, Data: text(strings.Join(texts, ""))}
	for _, t := range texts {
		f.Sizes = append(f.Sizes, uint32(len(t)))
	}
	if err := s.s.put(&f); err != nil {
		s.Fatal(err)
	}
	s.num += uint64(len(texts))
	s.check()
	return s
}

// poll notes what the client was told.
func (s *hotSend) poll() {
	for s.end == nil {
		done, err := s.s.next(now(), nil)
		for _, o := range done {
			for i := range o.count {
				if _, twice := s.got[o.message+i]; twice {
					s.Errorf("message %d has two outcomes", o.message+i)
				}
				s.got[o.message+i] = o.err
			}
		}
		if errors.Is(err, context.Canceled) {
			return
		}
		s.end = err
	}
}

// is checks the outcome of a message: 0 for accepted, -1 for none yet.
func (s *hotSend) is(num uint64, want int) {
	s.Helper()
	s.poll()
	err, ok := s.got[num]
	switch {
	case !ok && want >= 0:
		s.Errorf("message %d has no outcome, want %v", num, circuit.ErrorKind(want))
	case ok && (want < 0 || circuit.KindOf(err) != circuit.ErrorKind(want)):
		s.Errorf("message %d: outcome %v, want %v", num, err, want)
	}
}

const (
	waits    = -1
	accepted = 0
)

// leave is what happens when the client goes away.
func (s *hotSend) leave() { s.s.leave(); s.check() }

// hotRecv is a Recv call.
type hotRecv struct {
	*hot
	r    *receiver
	got  []*got
	sure uint64 // confirmed
	end  error
}

// got is a message as a client received it.
type got struct {
	bytes.Buffer
	redelivered, ended bool
	broken             error
}

func (h *hot) receiver(credit uint32) *hotRecv {
	h.Helper()
	r, err := h.c.newReceiver()
	if err != nil {
		h.Fatal(err)
	}
	hr := &hotRecv{hot: h, r: r}
	hr.grant(credit)
	return hr
}

func (r *hotRecv) grant(n uint32) { r.request(n, 0) }
func (r *hotRecv) ack(n uint64)   { r.request(0, n) }

func (r *hotRecv) request(credit uint32, ack uint64) {
	r.Helper()
	if err := r.r.request(credit, ack); err != nil && err != errEnded {
		r.Fatal(err)
	}
	r.check()
}

// poll takes all that is there for the client.
func (r *hotRecv) poll() {
	r.Helper()
	for r.end == nil {
		d, err := r.r.next(now())
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			r.end = err
			return
		}
		var f rpc.Frame
		d.frame(&f, "/q")
		r.frame(&f)
		f.Free()
		r.check()
	}
}

// frame takes a frame as a client does.
func (r *hotRecv) frame(f *rpc.Frame) {
	r.Helper()
	r.sure = max(r.sure, f.Confirmed)
	b := f.Data.Materialize()
	for i, n := range f.Sizes {
		r.message(f.Message+uint64(i), 0, b[:n], true, f.Redelivered)
		b = b[n:]
	}
	if f.Error != nil {
		r.message(f.Message, f.Offset, nil, false, f.Redelivered).broken = rpc.ErrorFromProto(f.Error)
	} else if f.Message != 0 && len(f.Sizes) == 0 {
		r.message(f.Message, f.Offset, b, f.End, f.Redelivered)
	}
}

func (r *hotRecv) message(num, offset uint64, b []byte, end, redelivered bool) *got {
	r.Helper()
	switch n := uint64(len(r.got)); {
	case num == n+1 && (n == 0 || r.got[n-1].ended || r.got[n-1].broken != nil):
		r.got = append(r.got, &got{redelivered: redelivered})
	case num != n:
		r.Fatalf("message %d after message %d", num, n)
	}
	g := r.got[num-1]
	if g.ended || g.broken != nil || uint64(g.Len()) != offset || g.redelivered != redelivered {
		r.Fatalf("message %d continues at %d (redelivered %v) after %+v", num, offset, redelivered, g)
	}
	g.Write(b)
	g.ended = end
	return g
}

// has checks what was received so far. A text may end with "*" for redelivered,
// "..." for incomplete, "!" for broken off.
func (r *hotRecv) has(want ...string) {
	r.Helper()
	r.poll()
	var have []string
	for _, g := range r.got {
		s := brief(g.String())
		if g.redelivered {
			s += "*"
		}
		switch {
		case g.broken != nil:
			s += "!"
		case !g.ended:
			s += "..."
		}
		have = append(have, s)
	}
	if !slices.Equal(have, want) {
		r.Errorf("received %q, want %q", have, want)
	}
}

// brief names a long text by its length.
func brief(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%d bytes", len(s))
	}
	return s
}

func (r *hotRecv) leave() { r.r.leave(); r.check() }

// ends checks the end of a call: nil for none yet.
func ends(t tb, end error, want error) {
	t.Helper()
	if end != want && !errors.Is(end, want) || want == nil && end != nil {
		t.Errorf("the call ended with %v, want %v", end, want)
	}
}

func (h *hot) scrub() {
	h.Helper()
	if err := h.c.Scrub(context.Background(), anchor.Scrub{}); err != nil {
		h.Error(err)
	}
	h.check()
}

// stat checks the channel's state.
func (h *hot) stat(want circuit.ChanStat) {
	h.Helper()
	if have := h.c.Stat(); have != want {
		h.Errorf("state %+v\nwant  %+v", have, want)
	}
}

// leaks ends all calls and checks that nothing is held once the channel is
// scrubbed.
func (h *hot) leaks() {
	for r := range h.c.receivers {
		r.leave()
	}
	for s := range h.c.senders {
		s.leave()
	}
	h.checks = 0
	h.check()
	h.scrub()
	if used := h.used(); used != 0 || h.c.held != 0 || h.c.inHand != 0 || h.c.sending != 0 {
		h.Errorf("%d bytes of the budget, %d of messages, %d messages in hand and %d senders are left over", used, h.c.held, h.c.inHand, h.c.sending)
	}
	if n := h.c.budget.line.n; n != 0 {
		h.Errorf("%d senders wait for the budget", n)
	}
}

// used is what of the budget is used by this channel alone.
func (h *hot) used() int64 {
	if h.shared {
		return 0
	}
	return h.c.budget.Used()
}

// check checks everything that must always be true of a channel.
func (h *hot) check() {
	h.Helper()
	if h.checks++; h.checks > 500 && h.checks%100 != 0 {
		return // for tests with very many steps
	}
	c := h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var cost, seq uint64
	var held, places, unplaced, inHand int
	seen := make(map[*message]bool)
	each := func(m *message) {
		if seen[m] {
			h.Errorf("message %d is in two places", m.seq)
		}
		seen[m] = true
		cost += uint64(m.cost)
		held += m.data.len
		if m.dropped && (m.cost != 0 || m.from != nil) {
			h.Errorf("dropped message %d is held", m.seq)
		}
	}
	for i, l := range []*list[message]{&c.front, &c.blocked} {
		for n := l.first; n != nil; n = n.next {
			m := n.of
			each(m)
			if m.seq <= seq || m.to != nil || m.begun || m.dropped {
				h.Errorf("queue holds message %d after %d: %+v", m.seq, seq, m)
			}
			seq = m.seq
			switch {
			case m.placed:
				places++
			case i == 0:
				unplaced++
			}
			if m.from == nil && !m.placed {
				h.Errorf("message %d waits for nobody", m.seq)
			}
			if m.placed && m.ended && m.short() && m.from != nil {
				h.Errorf("message %d is buffered whole and not accepted", m.seq)
			}
		}
	}
	for r := range c.receivers {
		var mine int64
		for _, m := range r.messages() {
			each(m)
			mine += m.cost
			if !m.dropped {
				inHand++
			}
			if m.to != r {
				h.Errorf("message %d is with the wrong receiver", m.seq)
			}
		}
		if mine != r.held {
			h.Errorf("a receiver holds %d, counted %d", mine, r.held)
		}
		if (r.node.in != nil) != r.ready() && !c.aborted {
			h.Errorf("a receiver in line %v is ready %v", r.node.in != nil, r.ready())
		}
	}
	sending := 0
	for s := range c.senders {
		var mine int64
		for i, m := range s.pending {
			mine += m.cost
			if m.from != s || m.slot != i || !seen[m] {
				h.Errorf("message %d is pending wrongly", m.seq)
			}
		}
		if mine != s.held {
			h.Errorf("a sender has %d, counted %d", mine, s.held)
		}
		if mine := len(s.pending); mine > 0 {
			sending++
		}
	}
	if !h.shared && int64(cost) != h.used() || held != c.held || places != c.places || unplaced != c.unplaced || inHand != c.inHand || sending != c.sending {
		h.Errorf("counted cost %d of %d, held %d of %d, places %d of %d, unplaced %d of %d, in hand %d of %d, sending %d of %d",
			h.used(), cost, c.held, held, c.places, places, c.unplaced, unplaced, c.inHand, inHand, c.sending, sending)
	}
	if queued := c.front.n + c.blocked.n; queued > 0 && c.waiting.n > 0 {
		h.Errorf("%d messages and %d receivers wait for each other", queued, c.waiting.n)
	}
	if free := c.cap - c.places; free > 0 && c.nextUnplaced() != nil && !c.budget.full() {
		h.Errorf("a message waits for one of %d free places", free)
	}
}
