package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/gocircuit/circuit/client"
)

// compute returns that many digits, computed by workers on all servers.
func compute(ctx context.Context, c *client.Client, digits int) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// Both channels are on the dial-in server: as long as the master lives, so
	// do they.
	job, err := c.Server(c.DialIn().ID).Anchor().Walk(fmt.Sprintf("tutorial/pi-%08x", rand.Uint32()))
	if err != nil {
		return "", err
	}
	tasks, err := makeChan(ctx, job, "tasks")
	if err != nil {
		return "", err
	}
	defer tasks.Scrub(context.WithoutCancel(ctx))
	results, err := makeChan(ctx, job, "results")
	if err != nil {
		return "", err
	}
	defer results.Scrub(context.WithoutCancel(ctx))

	if err := startWorkers(ctx, c, tasks, results); err != nil {
		return "", err
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, tasks, digits) }()
	blocks, err := collect(results.Receiver(ctx, client.Credit(64)), (digits+block-1)/block)
	if err != nil {
		cancel()
		return "", errors.Join(err, <-fed)
	}
	return strings.Join(blocks, "")[:digits], <-fed
}

func makeChan(ctx context.Context, job *client.Anchor, name string) (*client.Chan, error) {
	a, err := job.Walk(name)
	if err != nil {
		return nil, err
	}
	return a.MakeChan(ctx, 1000)
}

// startWorkers starts this program on every server as a worker. The program
// must be there under the same name as here.
func startWorkers(ctx context.Context, c *client.Client, tasks, results *client.Chan) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "CIRCUIT=") })
	for m, err := range c.Servers(ctx) {
		if err != nil {
			return err
		}
		u, err := c.URL(m)
		if err != nil {
			return err
		}
		a, err := c.Server(m.ID).Anchor().Walk("tutorial/worker-" + tasks.Path().Parent().Base())
		if err != nil {
			return err
		}
		_, err = a.MakeProc(ctx, client.Cmd{
			Path:  program,
			Args:  []string{tasks.Path().String(), results.Path().String()},
			Env:   append(slices.Clip(env), "CIRCUIT="+u.Secret()),
			Scrub: true, // workers end when the channels do, and leave nothing
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// feed sends one task for each block: its number, as 8 bytes.
func feed(ctx context.Context, tasks *client.Chan, digits int) error {
	s := tasks.Sender(ctx)
	for n := range (digits + block - 1) / block {
		if err := s.Send(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	return tasks.Close(ctx) // the workers' receivers end when all are taken
}

// collect receives results, each the number of its block and the digits, until
// it has them all. A result may come twice, where a worker died just after it
// had sent it.
func collect(results *client.Receiver, n int) ([]string, error) {
	blocks := make([]string, n)
	for missing := n; missing > 0; {
		m, err := results.Next()
		if err != nil {
			return nil, err
		}
		b, err := m.Bytes()
		if err != nil {
			return nil, err
		}
		if len(b) != 8+block {
			return nil, fmt.Errorf("a result is %d bytes long", len(b))
		}
		i := binary.BigEndian.Uint64(b)
		if i >= uint64(n) {
			return nil, fmt.Errorf("a result for block %d of %d", i, n)
		}
		if blocks[i] == "" {
			missing--
		}
		blocks[i] = string(b[8:])
		if err := m.Ack(); err != nil {
			return nil, err
		}
	}
	return blocks, results.Close()
}
