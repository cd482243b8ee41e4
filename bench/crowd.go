package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// list measures how long it takes a server to list all, and how many do: it waits
// for each until it does, but not for long in all.
func (h *host) list(ctx context.Context) error {
	exact := 0
	deadline := time.Now().Add(time.Minute)
	for _, m := range h.all {
		seen, err := h.lists(ctx, m, time.Until(deadline))
		if err != nil {
			return err
		}
		if seen == h.Servers {
			exact++
		}
	}
	h.tell(figure{Name: listExact, Unit: "servers", Value: float64(exact)})
	var took []float64
	for range h.lab.rounds(11, 3) {
		ls := exec.CommandContext(ctx, h.Program, "ls", "-d", h.all[h.rand.IntN(len(h.all))].url, "/")
		ls.Env = h.lab.env()
		begin := time.Now()
		out, err := ls.Output()
		took = append(took, time.Since(begin).Seconds())
		if n := bytes.Count(out, []byte("\n")); err != nil || n != h.Servers {
			return errors.Join(fmt.Errorf("circuit ls / lists %d servers, not %d", n, h.Servers), err)
		}
	}
	h.tell(over(listCLI, "s", 0, took))
	return nil
}

// lists returns how many servers one lists, once these are all or the time is up.
func (h *host) lists(ctx context.Context, m *member, patience time.Duration) (int, error) {
	c, err := h.lab.dial(ctx, m.server)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	deadline := time.Now().Add(patience)
	for {
		n, err := listed(ctx, c)
		if err != nil || n == h.Servers || time.Now().After(deadline) {
			return n, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return n, err
		}
	}
}
