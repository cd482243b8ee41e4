// Virus keeps itself alive in a circuit. It consists of two processes on
// different servers, a payload, which does the work, and a nucleus. Each waits
// for the other's end; the one that is left puts a new one in its place, on yet
// another server. The page README.md explains it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/gocircuit/circuit/client"
)

// The two roles.
const (
	nucleus = "nucleus"
	payload = "payload"
)

func main() {
	url := flag.String("d", "", "URL of a server to dial; otherwise CIRCUIT, or a server on this machine")
	flag.Parse()
	if err := run(context.Background(), *url, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "virus:", err)
		os.Exit(1)
	}
}

// run is the program: without arguments it infects the circuit and ends; with
// a role, its own path and its partner's it is a part of the virus.
func run(ctx context.Context, url string, args []string) error {
	c, err := client.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case len(args) == 0:
		first, err := (&cell{client: c}).spawn(ctx, nucleus)
		if err != nil {
			return err
		}
		fmt.Println("the first nucleus is", first.Path())
		return nil
	case len(args) < 2 || len(args) > 3 || args[0] != nucleus && args[0] != payload:
		return fmt.Errorf("expected no arguments, or a role, a path and a partner's path")
	}
	self, err := client.ParsePath(args[1])
	if err != nil {
		return err
	}
	v := &cell{client: c, role: args[0], self: self}
	if len(args) == 3 {
		partner, err := c.Walk(args[2])
		if err != nil {
			return err
		}
		v.partner = partner.Proc()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if v.role == payload {
		go work(ctx, self)
	}
	return v.live(ctx)
}

// work is what the virus is for.
func work(ctx context.Context, self client.Path) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		fmt.Printf("%v has worked for %d s\n", self, n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
