// Pipeline computes hexadecimal digits of pi on all servers of a circuit. Its
// workers are this program itself, started once on each server; they take their
// tasks from one channel and give their results to another. The page README.md
// explains it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/gocircuit/circuit/client"
)

func main() {
	url := flag.String("d", "", "URL of a server to dial; otherwise CIRCUIT, or a server on this machine")
	digits := flag.Int("n", 1000, "how many digits after the point")
	flag.Parse()
	if err := run(context.Background(), *url, *digits, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

// run is the program: without arguments the master, with the paths of two
// channels a worker.
func run(ctx context.Context, url string, digits int, args []string) error {
	c, err := client.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case len(args) == 0 && digits > 0:
		pi, err := compute(ctx, c, digits)
		if err == nil {
			fmt.Println("3." + pi)
		}
		return err
	case len(args) == 2:
		tasks, err := c.Walk(args[0])
		if err != nil {
			return err
		}
		results, err := c.Walk(args[1])
		if err != nil {
			return err
		}
		return work(ctx, tasks.Chan(), results.Chan())
	}
	return fmt.Errorf("expected no arguments, or the paths of two channels")
}
