package main

import (
	"testing"
	"time"
)

func TestFigures(t *testing.T) {
	f := over("name", "ms", 3, []float64{5, 1, 2})
	if f.Value != 2 || f.Min != 1 || f.Max != 5 || f.value() != "2.00 ms" || f.spread() != "1.00 .. 5.00" {
		t.Errorf("%+v is %s (%s)", f, f.value(), f.spread())
	}
	for _, c := range []struct {
		value, aim float64
		want       string
	}{
		{2, 0, ""},
		{2, 3, "aim at most 3.00"},
		{4, 3, "MISSED: aim at most 3.00"},
		{250, least(100), "aim at least 100"},
		{25, least(100), "MISSED: aim at least 100"},
	} {
		if got := (figure{Value: c.value, Aim: c.aim}).verdict(); got != c.want {
			t.Errorf("%v with aim %v: %q, want %q", c.value, c.aim, got, c.want)
		}
	}
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Millisecond)
	}
	if p50, p99 := quantiles(all, time.Millisecond); p50 != 101 || p99 != 199 {
		t.Errorf("quantiles %v and %v, want 101 and 199", p50, p99)
	}
	if r := ratios([]float64{1, 9}, []float64{2, 3}); r[0] != 0.5 || r[1] != 3 {
		t.Errorf("ratios %v", r)
	}
	if mib := field([]byte("Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t 512 kB\n"), "RssAnon"); mib != 0.5 {
		t.Errorf("field is %v MiB, want 0.5", mib)
	}
}
