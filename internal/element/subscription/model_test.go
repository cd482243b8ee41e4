package subscription

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocircuit/circuit"
)

// TestModel does anything to a subscription, in any order, and wants every event
// to be acknowledged once or counted as missing once, and to be marked as
// redelivered if and only if it was given out before.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, Config{MaxEvents: rapid.IntRange(1, 6).Draw(t, "limit")})
		m := &model{hot: w.subscribe(circuit.OnLeave), w: w, given: map[string]bool{}, used: map[string]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"leave": func(t *rapid.T) {
				for range rapid.IntRange(1, 3).Draw(t, "events") {
					m.told++
					w.leave(m.told)
				}
				m.check()
			},
			"open": func(t *rapid.T) {
				if len(m.open) < 4 {
					m.open = append(m.open, m.hot.open(uint32(rapid.IntRange(0, 3).Draw(t, "credit"))))
				}
			},
			"grant": func(t *rapid.T) {
				if r := m.pick(t); r != nil {
					r.request(uint32(rapid.IntRange(1, 3).Draw(t, "credit")), 0)
				}
			},
			"take": func(t *rapid.T) {
				if r := m.pick(t); r != nil {
					m.take(r)
				}
			},
			"ack": func(t *rapid.T) {
				if r := m.pick(t); r != nil {
					m.ack(r, rapid.Uint64Range(r.r.acked, uint64(len(r.got))).Draw(t, "up to"))
				}
			},
			"go away": func(t *rapid.T) {
				if r := m.pick(t); r != nil {
					m.leave(r)
				}
			},
		})
		for len(m.open) > 0 {
			m.leave(m.open[0])
		}
		last := m.hot.open(100)
		m.take(last)
		m.ack(last, uint64(len(last.got)))
		if len(m.used)+m.lost != m.told {
			t.Fatalf("%d events, of which %d were used and %d counted as missing", m.told, len(m.used), m.lost)
		}
	})
}

type model struct {
	*hot
	w     *world
	open  []*recv
	told  int
	given map[string]bool // events given out
	used  map[string]bool // events acknowledged
	lost  int             // in gaps acknowledged
}

func (m *model) pick(t *rapid.T) *recv {
	if len(m.open) == 0 {
		return nil
	}
	return rapid.SampledFrom(m.open).Draw(t, "receiver")
}

func (m *model) take(r *recv) {
	before := len(r.got)
	r.poll()
	for _, g := range r.got[before:] {
		e, again := strings.CutSuffix(g, "*")
		if strings.HasPrefix(e, "?") {
			continue
		}
		if again != m.given[e] || m.used[e] {
			m.Fatalf("%s came: given out before %v, used before %v", g, m.given[e], m.used[e])
		}
		m.given[e] = true
	}
}

func (m *model) ack(r *recv, n uint64) {
	for _, g := range r.got[r.r.acked:n] {
		e, _ := strings.CutSuffix(g, "*")
		gap := 0
		if _, err := fmt.Sscanf(e, "?%d", &gap); err == nil {
			m.lost += gap
		} else {
			m.used[e] = true
		}
	}
	r.request(0, n)
}

func (m *model) leave(r *recv) {
	for i := range m.open {
		if m.open[i] == r {
			m.open = append(m.open[:i], m.open[i+1:]...)
			break
		}
	}
	r.leave()
}
