package channel

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocircuit/circuit"
)

// model is the channel as the package comment describes it, without memory,
// frames and speed. It runs beside a real one, which must agree after each step.
type model struct {
	*hot
	cap             int
	closed, aborted bool
	seq             int
	all             []*mMessage
	line            []*mRecv // receivers in line
	senders         []*mSend
	receivers       []*mRecv
	longs           int
}

type mMessage struct {
	seq                int
	from               *mSend // nil once told or gone
	num                uint64
	size               int
	text, shown        string // sent so far, and seen by the receiver
	ended, dead, acked bool
	placed, accepted   bool
	to                 *mRecv
	begun, keep, again bool
	broken             bool
}

type mSend struct {
	*hotSend
	cur  *mMessage
	want map[uint64]int
	fin  bool // finished
	gone bool
}

type mRecv struct {
	*hotRecv
	credit    int
	given     []*mMessage // and begun, first; in order
	acked     int
	seen      int // of given, begun
	want      []string
	gone, eof bool
}

func (m *model) queue() []*mMessage {
	var q []*mMessage
	for _, x := range m.all {
		if x.to == nil && !x.dead && !x.acked {
			q = append(q, x)
		}
	}
	return q
}

func (r *mRecv) partial() bool {
	n := len(r.given)
	return n > 0 && !r.given[n-1].ended && !r.given[n-1].dead
}

// lineUp puts r at the end of the line if it is ready and not in it.
func (m *model) lineUp(r *mRecv) {
	if r.credit > 0 && !r.gone && !r.eof && !r.partial() && !slices.Contains(m.line, r) {
		m.line = append(m.line, r)
	}
}

func (m *model) unline(r *mRecv) {
	m.line = slices.DeleteFunc(m.line, func(x *mRecv) bool { return x == r })
}

func (m *model) settle() {
	for m.place(); len(m.line) > 0 && len(m.queue()) > 0; m.place() {
		x, r := m.queue()[0], m.line[0]
		m.unline(r)
		x.to, x.placed = r, false
		r.given = append(r.given, x)
		r.credit--
		m.lineUp(r)
	}
}

func (m *model) places() int {
	n := 0
	for _, x := range m.queue() {
		if x.placed {
			n++
		}
	}
	return n
}

func (m *model) place() {
	for _, x := range m.queue() {
		if !x.placed && m.places() < m.cap {
			x.placed = true
		}
		if x.placed && x.ended && x.size <= MaxBuffered {
			m.tell(x, accepted)
		}
	}
}

// tell gives x's sender the outcome.
func (m *model) tell(x *mMessage, kind int) {
	if x.from != nil {
		x.accepted = kind == accepted
		x.from.want[x.num] = kind
	}
	x.from = nil
}

func (m *model) drop(x *mMessage, kind int) {
	x.dead, x.placed = true, false
	m.tell(x, kind)
}

func (m *model) offer(s *mSend, text string, end bool) {
	m.seq++
	x := &mMessage{seq: m.seq, from: s, num: s.num, size: len(text), text: text, ended: end}
	m.all = append(m.all, x)
	if !end {
		s.cur = x
	}
	if m.closed {
		m.drop(x, closed)
	}
	m.settle()
}

func (m *model) more(s *mSend, text string, end bool) {
	x := s.cur
	if end {
		s.cur = nil
	}
	x.size, x.text, x.ended = x.size+len(text), x.text+text, end
	if x.dead {
		return
	}
	if x.begun && x.size > MaxBuffered {
		x.keep = false
	}
	if x.to != nil {
		m.lineUp(x.to)
		if x.ended && x.size <= MaxBuffered && m.places() < m.cap {
			m.tell(x, accepted)
		}
	}
	m.settle()
}

// withdraw is what becomes of x when its sender goes or cuts it off.
func (m *model) withdraw(x *mMessage, kind int) {
	r := x.to
	switch {
	case x.dead || x.acked:
	case x.ended && (x.begun || x.again):
		m.tell(x, kind)
		x.placed = x.to == nil
	case x.begun:
		x.broken = true
		m.drop(x, kind)
		m.lineUp(r)
	case r != nil:
		x.to = nil
		m.drop(x, kind)
		r.given = slices.DeleteFunc(r.given, func(y *mMessage) bool { return y == x })
		r.credit++
		m.unline(r)
		if m.lineUp(r); slices.Contains(m.line, r) {
			m.unline(r)
			m.line = slices.Insert(m.line, 0, r)
		}
	default:
		m.drop(x, kind)
	}
}

func (m *model) leaveSender(s *mSend) {
	s.gone = true
	for _, x := range slices.Backward(m.all) {
		if x.from == s {
			m.withdraw(x, lost)
			x.from = nil
		}
	}
	m.settle()
}

func (m *model) leaveReceiver(r *mRecv) {
	r.gone = true
	m.unline(r)
	for _, x := range r.given {
		x.to = nil
		switch {
		case x.dead || x.acked:
		case x.begun && !(x.ended && x.keep):
			m.drop(x, lost)
		default:
			x.again = x.again || x.begun
			x.begun = false
			if x.placed = x.from == nil; !x.placed && m.closed && !x.again {
				m.drop(x, closed)
			}
		}
	}
	m.settle()
}

// poll is what r sees now.
func (r *mRecv) poll() {
	for i := r.seen; i < len(r.given); i++ {
		x := r.given[i]
		if x.size == 0 && !x.ended && !x.dead {
			break // nothing to see of it
		}
		if r.seen = i + 1; x.begun {
			continue
		}
		x.begun, x.keep = true, x.ended || x.size <= MaxBuffered
		r.want = append(r.want, "")
	}
	for i, x := range r.given[:r.seen] {
		if !x.broken {
			x.shown = x.text
		}
		r.want[i] = brief(x.shown)
		if x.again {
			r.want[i] += "*"
		}
		if x.broken {
			r.want[i] += "!"
		} else if !x.ended {
			r.want[i] += "..."
		}
	}
}

func (m *model) stop(x *mMessage) {
	if x.begun || x.again {
		m.drop(x, lost)
	} else {
		m.drop(x, closed)
	}
}

// TestModel runs random steps.
func TestModel(t *testing.T) { rapid.Check(t, checkModel) }

func checkModel(t *rapid.T) {
	m := &model{cap: rapid.IntRange(0, 3).Draw(t, "cap")}
	m.hot = newHot(t, m.cap)
	m.senders = []*mSend{{hotSend: m.sender(), want: make(map[uint64]int)}}
	m.receivers = []*mRecv{{hotRecv: m.receiver(0)}}
	t.Repeat(m.steps())
}

func pick[T any](t *rapid.T, what string, from []T, ok func(T) bool) T {
	var some []T
	for _, x := range from {
		if ok(x) {
			some = append(some, x)
		}
	}
	if len(some) == 0 {
		t.SkipNow()
	}
	return rapid.SampledFrom(some).Draw(t, what)
}

func (m *model) text(t *rapid.T) string {
	s := rapid.SampledFrom([]string{"", "a", "bc", "long"}).Draw(t, "text")
	if s == "long" && m.longs < 10 {
		m.longs++
		return strings.Repeat("x", MaxBuffered+rapid.IntRange(0, 1).Draw(t, "more"))
	}
	return s
}

func (m *model) steps() map[string]func(*rapid.T) {
	steps := m.sendSteps()
	for name, f := range m.recvSteps() {
		steps[name] = f
	}
	steps["close"] = func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
			t.SkipNow()
		}
		if err := m.c.Close(); (err != nil) != m.closed {
			t.Fatalf("close: %v", err)
		}
		m.closed = true
		for _, x := range m.queue() {
			if x.from != nil && !x.again {
				m.drop(x, closed)
			}
		}
		m.settle()
	}
	steps["scrub"] = func(t *rapid.T) {
		if rapid.IntRange(0, 19).Draw(t, "really") > 0 || m.aborted {
			t.SkipNow()
		}
		m.scrub()
		m.closed, m.aborted, m.line = true, true, nil
		for _, x := range m.all {
			if !x.dead && !x.acked {
				m.stop(x)
			}
		}
	}
	steps["look"] = func(*rapid.T) {} // there is always something to do
	steps[""] = m.agree
	return steps
}

func (m *model) sendSteps() map[string]func(*rapid.T) {
	idle := func(s *mSend) bool { return !s.gone && !s.fin && s.end == nil && s.cur == nil }
	busy := func(s *mSend) bool { return !s.gone && !s.fin && s.end == nil && s.cur != nil }
	here := func(s *mSend) bool { return !s.gone }
	return map[string]func(*rapid.T){
		"sender": func(t *rapid.T) {
			if m.aborted {
				t.SkipNow()
			}
			m.senders = append(m.senders, &mSend{hotSend: m.sender(), want: make(map[uint64]int)})
		},
		"send": func(t *rapid.T) {
			s, text, end := pick(t, "sender", m.senders, idle), m.text(t), rapid.Bool().Draw(t, "end")
			s.num, s.at = s.num+1, 0
			s.part(text, end)
			m.offer(s, text, end)
		},
		"batch": func(t *rapid.T) {
			s := pick(t, "sender", m.senders, idle)
			s.batch("x", "", "yy")
			for i, text := range []string{"x", "", "yy"} {
				s.num = s.num - 2 + uint64(i)
				m.offer(s, text, true)
				s.num = s.num + 2 - uint64(i)
			}
		},
		"more": func(t *rapid.T) {
			s, text, end := pick(t, "sender", m.senders, busy), m.text(t), rapid.Bool().Draw(t, "end")
			s.part(text, end)
			m.more(s, text, end)
		},
		"finish": func(t *rapid.T) {
			s := pick(t, "sender", m.senders, here)
			s.s.finish()
			if x := s.cur; x != nil {
				s.cur = nil
				m.withdraw(x, invalid)
				m.settle()
			}
			s.fin = true
		},
		"sender leaves": func(t *rapid.T) {
			s := pick(t, "sender", m.senders, here)
			s.leave()
			m.leaveSender(s)
		},
	}
}

func (m *model) recvSteps() map[string]func(*rapid.T) {
	here := func(r *mRecv) bool { return !r.gone }
	asks := func(r *mRecv) bool { return !r.gone && !r.eof && r.end == nil }
	return map[string]func(*rapid.T){
		"receiver": func(t *rapid.T) {
			if m.aborted {
				t.SkipNow()
			}
			n := rapid.IntRange(0, 3).Draw(t, "credit")
			r := &mRecv{hotRecv: m.receiver(uint32(n)), credit: n}
			m.receivers = append(m.receivers, r)
			m.lineUp(r)
			m.settle()
		},
		"ask": func(t *rapid.T) {
			r, n := pick(t, "receiver", m.receivers, asks), rapid.IntRange(0, 2).Draw(t, "credit")
			most := len(r.got)
			if most > 0 && !r.got[most-1].ended && r.got[most-1].broken == nil {
				most--
			}
			ack := rapid.IntRange(0, most).Draw(t, "ack")
			r.request(uint32(n), uint64(ack))
			if m.aborted {
				return
			}
			for ; r.acked < ack; r.acked++ {
				if x := r.given[r.acked]; !x.dead {
					x.acked = true
					m.tell(x, accepted)
				}
			}
			r.credit += n
			m.lineUp(r)
			m.settle()
		},
		"poll": func(t *rapid.T) {
			r := pick(t, "receiver", m.receivers, asks)
			if m.aborted {
				t.SkipNow()
			}
			r.poll()
			r.has(r.want...)
		},
		"end": func(t *rapid.T) {
			r := pick(t, "receiver", m.receivers, asks)
			r.r.finish()
			r.eof = true
			m.unline(r)
		},
		"receiver leaves": func(t *rapid.T) {
			r := pick(t, "receiver", m.receivers, here)
			r.leave()
			m.leaveReceiver(r)
		},
	}
}

// agree compares the model with the channel.
func (m *model) agree(t *rapid.T) {
	m.check()
	for _, s := range m.senders {
		if s.gone {
			continue
		}
		s.hotSend.poll()
		for num := uint64(1); num <= s.num; num++ {
			want, told := s.want[num]
			if !told {
				want = waits
			}
			s.is(num, want)
		}
	}
	want := circuit.ChanStat{Cap: m.cap, Closed: m.closed, Aborted: m.aborted, Receivers: len(m.line)}
	waiting := make(map[*mSend]bool)
	for _, x := range m.all {
		if x.acked {
			want.NumRecv++
		}
		if x.acked || x.accepted {
			want.NumSend++
		}
		if x.from != nil && !waiting[x.from] {
			waiting[x.from] = true
			want.Senders++
		}
		if x.to == nil && x.placed {
			want.Buffered++
		}
	}
	have := m.c.Stat()
	have.BufferedBytes, have.Redelivered = 0, 0
	if have != want {
		t.Fatalf("state %+v\nwant  %+v", have, want)
	}
}
