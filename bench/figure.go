package main

import (
	"fmt"
	"slices"
	"time"
)

// figure is one thing measured.
type figure struct {
	Bench   string
	Of      string `json:",omitempty"` // whose it is, where several are compared
	Servers int    `json:",omitempty"` // how many there were, where that is varied
	Name    string
	Value   float64 // the median
	Unit    string
	Min     float64 `json:",omitempty"` // of the rounds, if there were several
	Max     float64 `json:",omitempty"`
	Aim     float64 `json:",omitempty"` // at most this; if negative, at least
	Ratio   float64 `json:",omitempty"` // of a peer: its value, of the circuit's
	Note    string  `json:",omitempty"` // what is wrong with it
}

// least makes an aim that is to be reached or surpassed.
func least(aim float64) float64 { return -aim }

// over returns the figure of several rounds.
func over(name, unit string, aim float64, rounds []float64) figure {
	s := slices.Sorted(slices.Values(rounds))
	return figure{Name: name, Value: at(s, 0.5), Unit: unit, Min: s[0], Max: s[len(s)-1], Aim: aim}
}

// at returns the quantile q of sorted values.
func at(sorted []float64, q float64) float64 {
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

// quantiles returns the median and the 99th percentile of durations, in units.
func quantiles(all []time.Duration, unit time.Duration) (p50, p99 float64) {
	s := slices.Sorted(slices.Values(units(all, unit)))
	return at(s, 0.5), at(s, 0.99)
}

func units(all []time.Duration, unit time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = float64(d) / float64(unit)
	}
	return out
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (f figure) value() string { return number(f.Value) + " " + f.Unit }

func (f figure) spread() string {
	if f.Min == f.Max {
		return ""
	}
	return number(f.Min) + " .. " + number(f.Max)
}

func (f figure) verdict() string {
	switch {
	case f.Aim == 0:
		return ""
	case f.Aim > 0 && f.Value <= f.Aim:
		return "aim at most " + number(f.Aim)
	case f.Aim > 0:
		return "MISSED: aim at most " + number(f.Aim)
	case f.Value >= -f.Aim:
		return "aim at least " + number(-f.Aim)
	}
	return "MISSED: aim at least " + number(-f.Aim)
}
