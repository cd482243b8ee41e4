package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/gocircuit/circuit/client"
)

// work computes tasks until there are no more. A task is acknowledged only once
// its result is safe: if this worker dies before, another gets the task.
func work(ctx context.Context, tasks, results *client.Chan) error {
	r := tasks.Receiver(ctx)
	for m, err := range r.All() {
		if err != nil {
			return err
		}
		b, err := m.Bytes()
		if err != nil {
			return err
		}
		if len(b) != 8 {
			return fmt.Errorf("a task is %d bytes long", len(b))
		}
		n := binary.BigEndian.Uint64(b)
		result := append(b, piDigits(int(n)*block)...)
		if err := results.Send(ctx, result); err != nil {
			return err
		}
		if err := m.Ack(); err != nil {
			return err
		}
	}
	return r.Close()
}
