package channel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit/internal/anchor"
)

// A receiver that asks for another message as it acknowledges one is told with
// that message, or soon, and in any case before the end.
func TestConfirmationGoesWithTheNextMessage(t *testing.T) {
	for _, c := range []struct {
		name  string
		event func(h *hot, r *hotRecv)
		want  delivery
	}{
		{"message", func(h *hot, _ *hotRecv) { h.sender().send("b") }, delivery{message: 2, confirmed: 1}},
		{"time", func(*hot, *hotRecv) {}, delivery{confirmed: 1}},
		{"asked", func(_ *hot, r *hotRecv) { r.r.finish() }, delivery{confirmed: 1}},
		{"closed", func(h *hot, _ *hotRecv) { h.c.Close() }, delivery{confirmed: 1}},
		{"scrubbed", func(h *hot, _ *hotRecv) { h.c.Scrub(context.Background(), anchor.Scrub{}) }, delivery{confirmed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHot(t, 0)
				h.sender().send("a")
				r := h.receiver(1)
				r.has("a")
				r.request(1, 1)
				r.has("a")
				if r.sure != 0 {
					t.Errorf("confirmed up to %d at once, want with the next message", r.sure)
				}
				c.event(h, r)
				began := time.Now()
				d, err := r.r.next(t.Context())
				if err != nil || d.message != c.want.message || d.confirmed != c.want.confirmed {
					t.Errorf("message %d, confirmed %d, %v; want %d, %d", d.message, d.confirmed, err, c.want.message, c.want.confirmed)
				}
				if took := time.Since(began); (took > 0) != (c.name == "time") || took > confirmLater {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
