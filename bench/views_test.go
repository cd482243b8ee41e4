package main

import (
	"context"
	"testing"
	"time"
)

func TestViews(t *testing.T) {
	v := newViews()
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	all := []string{"a", "b", "c"}
	tell := func(observer, subject string, present bool, ms int) { v.tell(observer, subject, present, at(ms)) }
	tell("a", "a", true, 50)
	tell("a", "b", true, 1)
	tell("a", "c", true, 2)
	tell("b", "a", true, 3)
	tell("b", "c", true, 9)
	tell("c", "a", true, 4)
	if last, n := v.exact(all); n != 2 || last != at(9) {
		t.Errorf("%d views exact at %v, want a's and b's at 9 ms", n, last.Sub(begin))
	}
	if _, ok := v.known("b", true, all); ok {
		t.Error("b is known to all, though c did not say so")
	}
	tell("c", "b", true, 7)
	tell("c", "b", true, 8) // no news
	if last, ok := v.known("b", true, all); !ok || last != at(7) {
		t.Errorf("b is known to all: %v, at %v, want true at 7 ms", ok, last.Sub(begin))
	}
	if last, n := v.exact(all); n != 3 || last != at(9) {
		t.Errorf("%d views exact at %v, want 3 at 9 ms", n, last.Sub(begin))
	}
	tell("a", "d", true, 10)
	if _, n := v.exact(all); n != 2 {
		t.Errorf("%d views exact, want 2: a sees one too many", n)
	}
	tell("a", "d", false, 12)
	tell("a", "d", true, 11) // came late
	if _, n := v.exact(all); n != 3 {
		t.Errorf("%d views exact, want 3: d left", n)
	}
	v.forget("b")
	if v.await(context.Background(), time.Millisecond, func() bool { _, n := v.exact(all); return n == 3 }) {
		t.Error("all views are exact, though b says nothing")
	}
	go v.tell("x", "y", true, at(13))
	if !v.await(context.Background(), time.Minute, func() bool { _, ok := v.known("y", true, []string{"x"}); return ok }) {
		t.Error("a change was not waited for")
	}
}

func TestHeard(t *testing.T) {
	name, present, at, err := heard("+s12 1700000000000000001")
	if name != "s12" || !present || at.UnixNano() != 1700000000000000001 || err != nil {
		t.Errorf("%q, %v, %v, %v", name, present, at, err)
	}
	if name, present, _, err := heard("-s1 5"); name != "s1" || present || err != nil {
		t.Errorf("%q, %v, %v", name, present, err)
	}
	for _, line := range []string{"", "+", "s1 5", "+s1", "+s1 x", "127.0.0.1:5 7"} {
		if _, _, _, err := heard(line); err == nil {
			t.Errorf("%q was understood", line)
		}
	}
}

func TestLatency(t *testing.T) {
	l := latency{took: []float64{0.3, 0.1, 0.2}, unseen: 1}
	f := l.figures("median", "worst", "ms", 1000)
	if len(f) != 2 || f[0].Value != 200 || f[1].Value != 300 || f[0].Note == "" || f[1].Note == "" {
		t.Errorf("%+v", f)
	}
}
