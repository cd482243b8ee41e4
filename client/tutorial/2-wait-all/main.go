// Wait-all runs one command on every server of a circuit at once, prints how
// each ends as it ends, and fails if any failed. The page README.md explains
// it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gocircuit/circuit/client"
)

func main() {
	url := flag.String("d", "", "URL of a server to dial; otherwise CIRCUIT, or a server on this machine")
	flag.Parse()
	command := flag.Args()
	if len(command) == 0 {
		command = []string{"/bin/sh", "-c", "sleep 0.$$; echo slept 0.$$ s"} // each its own time
	}
	failed, err := waitAll(context.Background(), *url, command)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "wait-all:", err)
		os.Exit(1)
	case failed > 0:
		fmt.Fprintf(os.Stderr, "wait-all: %d failed\n", failed)
		os.Exit(1)
	}
}

// result is how the command ended on one server.
type result struct {
	host   client.ServerID
	stat   client.ProcStat
	stdout []byte
	err    error
}

// waitAll runs the command everywhere and returns on how many servers it
// failed.
func waitAll(ctx context.Context, url string, command []string) (failed int, err error) {
	c, err := client.Dial(ctx, url)
	if err != nil {
		return 0, err
	}
	defer c.Close()

	results := make(chan result)
	running := 0
	for m, err := range c.Servers(ctx) {
		if err != nil {
			return 0, err
		}
		running++
		go func() { results <- run(ctx, c.Server(m.ID), command) }()
	}
	for ; running > 0; running-- {
		r := <-results
		switch {
		case r.err != nil:
			failed++
			fmt.Printf("%v: %v\n", r.host, r.err)
		default:
			fmt.Printf("%v: %s, wrote %q\n", r.host, *r.stat.Exit, r.stdout)
			if r.stat.ExitCode != 0 {
				failed++
			}
		}
	}
	return failed, nil
}

// run runs the command on one server, to its end, and leaves nothing behind.
func run(ctx context.Context, host *client.Server, command []string) result {
	r := result{host: host.ID()}
	a, err := host.Anchor().Walk(fmt.Sprintf("tutorial/wait-all-%d", os.Getpid()))
	if err != nil {
		r.err = err
		return r
	}
	p, err := a.MakeProc(ctx, client.Cmd{Path: command[0], Args: command[1:]})
	if err != nil {
		r.err = err
		return r
	}
	if r.stat, r.err = p.Wait(ctx); r.err == nil {
		r.stdout, r.err = io.ReadAll(p.Stdout(ctx))
	}
	r.err = errors.Join(r.err, p.Scrub(ctx))
	return r
}
