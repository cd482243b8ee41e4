package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQueue compares the queue with a sorted list.
func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var q queue
	var list []event
	for seq := range uint64(3000) {
		e := event{at: time.Duration(rng.IntN(200)), seq: seq}
		q.push(e)
		list = append(list, e)
		if rng.IntN(3) == 0 {
			slices.SortFunc(list, func(a, b event) int {
				if a.before(&b) {
					return -1
				}
				return 1
			})
			if got := q.pop(); got != list[0] {
				t.Fatalf("got %v, want %v", got, list[0])
			}
			list = list[1:]
		}
	}
	for len(q) > 1 {
		if first := q.pop(); q[0].before(&first) {
			t.Fatalf("%v comes before %v", first, q[0])
		}
	}
}

// wire is a connection between two processes without machines, whose packets are
// looked at as they are handed over.
func wire(s *Sim) (*end, *end) {
	a, b := s.Add(), s.Add()
	s.conns++
	c := newConn(s.conns, &process{sim: s, host: a, frozen: true}, &process{sim: s, host: b, frozen: true})
	c.ends[0].link, c.ends[1].link = 1, 1
	return &c.ends[0], &c.ends[1]
}

// TestStream sends on a connection where much is lost and the way is cut for a
// while: everything arrives, in order, late.
func TestStream(t *testing.T) {
	s := New(Config{Seed: 1, Loss: .3, Delay: time.Millisecond, Jitter: 10 * time.Millisecond})
	from, to := wire(s)
	for i := range 100 {
		s.push(from, packet{what: overlayData, data: []byte{byte(i)}})
		s.Run(10 * time.Millisecond)
		if i == 50 {
			s.Cut(from.host, to.host)
			s.After(3*time.Second, func() { s.Mend(from.host, to.host) })
		}
	}
	if got := len(to.proc.inbox); got == 0 || got > 51 {
		t.Errorf("%d arrived although the way is cut after 51", got)
	}
	s.Run(time.Minute)
	got := to.proc.inbox
	if len(got) != 100 || !slices.IsSortedFunc(got, func(a, b item) int { return int(a.data[0]) - int(b.data[0]) }) {
		t.Errorf("%d of 100 arrived, or not in order", len(got))
	}
}

// TestStreamBreaks cuts a way for good: whoever sends gives up after a quarter of
// an hour, or so.
func TestStreamBreaks(t *testing.T) {
	s := New(Config{Seed: 1})
	from, to := wire(s)
	s.Cut(from.host, to.host)
	s.push(from, packet{what: overlayData})
	s.Run(10 * time.Minute)
	if len(from.proc.inbox) > 0 {
		t.Error("a connection broke within ten minutes")
	}
	s.Run(10 * time.Minute)
	if in := from.proc.inbox; len(in) != 1 || in[0].what != closing || len(to.proc.inbox) > 0 {
		t.Errorf("a connection did not break within twenty minutes: %v, %v", in, to.proc.inbox)
	}
}

// TestDatagrams sends datagrams: as many are lost as should be, some overtake
// others, and a cut or a network without datagrams lets none through.
func TestDatagrams(t *testing.T) {
	for _, c := range []struct {
		cfg      Config
		cut      bool
		min, max int
	}{
		{Config{}, false, 200, 200},
		{Config{Loss: .25}, false, 130, 170},
		{Config{}, true, 0, 0},
		{Config{NoDatagrams: true}, false, 0, 0},
	} {
		c.cfg.Seed, c.cfg.Delay, c.cfg.Jitter = 1, time.Millisecond, 10*time.Millisecond
		s := New(c.cfg)
		from, to := wire(s)
		if c.cut {
			s.Cut(from.host, to.host)
		}
		for i := range 200 {
			s.sendDatagram(from, []byte{byte(i)})
			s.Run(time.Millisecond)
		}
		s.Run(time.Second)
		got := to.proc.inbox
		if len(got) < c.min || len(got) > c.max {
			t.Errorf("%+v, cut %v: %d of 200 arrived", c.cfg, c.cut, len(got))
		}
		if len(got) > 0 && slices.IsSortedFunc(got, func(a, b item) int { return int(a.data[0]) - int(b.data[0]) }) {
			t.Errorf("%+v: none overtook another", c.cfg)
		}
	}
}

// TestFrozenInbox floods a process that does not run with datagrams: most are
// dropped, and what came on connections is kept.
func TestFrozenInbox(t *testing.T) {
	s := New(Config{Seed: 1})
	from, to := wire(s)
	s.push(from, packet{what: overlayData})
	for range 1000 {
		s.sendDatagram(from, []byte("x"))
	}
	s.Run(time.Second)
	s.push(from, packet{what: overlayData})
	s.Run(time.Second)
	streams := 0
	for _, it := range to.proc.inbox {
		if it.what == overlayData {
			streams++
		}
	}
	if len(to.proc.inbox) > maxDatagrams+2 || streams != 2 {
		t.Errorf("%d wait, %d of them from connections", len(to.proc.inbox), streams)
	}
}

// TestLine writes lines of the trace, which must fit below their heads.
func TestLine(t *testing.T) {
	s := formed(t, Config{Seed: 1}, 12)
	s.Crash(s.Servers()[3])
	s.Run(time.Second)
	line := s.Line()
	if len(line) < len(Columns()) {
		t.Errorf("a line is shorter than its head:\n%s\n%s", Columns(), line)
	}
	var at float64
	var up, least, most int
	if _, err := fmt.Sscanf(line, "%f %d %d-%d", &at, &up, &least, &most); err != nil || up != 11 || least != 11 || most != 11 {
		t.Errorf("a line tells other things than what is: %v\n%s\n%s", err, Columns(), line)
	}
}
