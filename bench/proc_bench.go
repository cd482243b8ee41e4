package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/gocircuit/circuit/client"
)

// stdoutThroughput measures a process's standard output from a server to a
// client of it, and through another server, each in turn with the same child
// copied through plain TLS.
func stdoutThroughput(ctx context.Context, l *lab) ([]figure, error) {
	size := 1 << 30
	if l.quick {
		size = 256 << 20
	}
	host, direct, through, err := l.pair(ctx)
	if err != nil {
		return nil, err
	}
	defer l.clear()
	defer direct.Close()
	defer through.Close()
	p, err := startPeer(child(size))
	if err != nil {
		return nil, err
	}
	defer p.stop()

	var speed [3][]float64
	ways := []func() (int64, error){
		func() (int64, error) {
			conn, err := p.ask(askCopy)
			if err != nil {
				return 0, err
			}
			defer conn.Close()
			return plainCopy(io.Discard, conn)
		},
		func() (int64, error) { return copyOutput(ctx, direct, host, size) },
		func() (int64, error) { return copyOutput(ctx, through, host, size) },
	}
	for range l.rounds(7, 3) {
		for i, way := range ways {
			begin := time.Now()
			n, err := way()
			if err == nil && n != int64(size) {
				err = fmt.Errorf("%d bytes came instead of %d", n, size)
			}
			if err != nil {
				return nil, err
			}
			speed[i] = append(speed[i], float64(n)/1e6/time.Since(begin).Seconds())
		}
	}
	return []figure{
		over(fmt.Sprintf("%d MiB through plain TLS", size/mib), "MB/s", 0, speed[0]),
		over("direct", "MB/s", 0, speed[1]),
		over("through another server", "MB/s", 0, speed[2]),
		over("direct, of plain TLS", "x", least(0.9), ratios(speed[1], speed[0])),
		over("through another server, of plain TLS", "x", least(0.45), ratios(speed[2], speed[0])),
	}, nil
}

// copyOutput runs the child as an element and reads its standard output. Making
// the element counts; removing it does not matter.
func copyOutput(ctx context.Context, c *client.Client, host *client.Anchor, size int) (int64, error) {
	a, err := c.Anchor(host.Path()).Walk("output")
	if err != nil {
		return 0, err
	}
	args := child(size)
	proc, err := a.MakeProc(ctx, client.Cmd{Path: args[0], Args: args[1:]})
	if err != nil {
		return 0, err
	}
	out := proc.Stdout(ctx)
	n, err := io.Copy(io.Discard, out)
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		_, err = proc.Wait(ctx)
	}
	return n, errors.Join(err, proc.Scrub(ctx))
}

// runAndWait measures running /bin/true as an element, from asking for it to
// knowing its exit code, in turn with os/exec.
func runAndWait(ctx context.Context, l *lab) ([]figure, error) {
	host, direct, through, err := l.pair(ctx)
	if err != nil {
		return nil, err
	}
	defer l.clear()
	defer direct.Close()
	defer through.Close()
	one := func(c *client.Client, name string) (time.Duration, error) {
		a, err := c.Anchor(host.Path()).Walk(name)
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		proc, err := a.MakeProc(ctx, client.Cmd{Path: "/bin/true"})
		if err != nil {
			return 0, err
		}
		st, err := proc.Wait(ctx)
		took := time.Since(begin)
		if err == nil && st.ExitCode != 0 {
			err = errors.New("/bin/true failed")
		}
		return took, errors.Join(err, proc.Scrub(ctx))
	}
	local := func() (time.Duration, error) {
		begin := time.Now()
		err := exec.CommandContext(ctx, "/bin/true").Run()
		return time.Since(begin), err
	}
	ways := []func() (time.Duration, error){
		local,
		func() (time.Duration, error) { return one(direct, "true") },
		func() (time.Duration, error) { return one(through, "true") },
	}
	var took [3][]time.Duration
	for range l.rounds(1000, 200) {
		for i, way := range ways {
			d, err := way()
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], d)
		}
	}
	var p50, p99 [3]float64
	for i := range took {
		p50[i], p99[i] = quantiles(took[i], time.Millisecond)
	}
	n := l.rounds(2000, 400)
	localRate, err := rate(n, func(int) error { _, err := local(); return err })
	if err != nil {
		return nil, err
	}
	circuitRate, err := rate(n, func(i int) error { _, err := one(direct, fmt.Sprint("true", i)); return err })
	if err != nil {
		return nil, err
	}
	return []figure{
		{Name: "os/exec, p50", Value: p50[0], Unit: "ms"},
		{Name: "on a server, p50", Value: p50[1], Unit: "ms"},
		{Name: "on a server, p99", Value: p99[1], Unit: "ms"},
		{Name: "through another server, p50", Value: p50[2], Unit: "ms"},
		{Name: "on a server, of os/exec, p50", Value: p50[1] / p50[0], Unit: "x", Aim: 1.3},
		{Name: "through another server, of os/exec, p50", Value: p50[2] / p50[0], Unit: "x"},
		{Name: "16 at once with os/exec", Value: localRate, Unit: "/s"},
		{Name: "16 at once on a server, scrubbing included", Value: circuitRate, Unit: "/s"},
		{Name: "16 at once, of os/exec", Value: circuitRate / localRate, Unit: "x", Aim: least(0.75)},
	}, nil
}

// rate does something n times, 16 at once, and returns how often a second.
func rate(n int, do func(worker int) error) (float64, error) {
	const workers = 16
	var group sync.WaitGroup
	errs := make([]error, workers)
	begin := time.Now()
	for w := range workers {
		group.Go(func() {
			for range n / workers {
				if errs[w] = do(w); errs[w] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return float64(n/workers*workers) / time.Since(begin).Seconds(), errors.Join(errs...)
}
