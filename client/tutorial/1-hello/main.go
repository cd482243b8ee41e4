// Hello runs a process on another server of a circuit and prints its output.
// The page README.md explains it line by line.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gocircuit/circuit/client"
)

func main() {
	url := flag.String("d", "", "URL of a server to dial; otherwise CIRCUIT, or a server on this machine")
	flag.Parse()
	if err := hello(context.Background(), *url); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func hello(ctx context.Context, url string) error {
	c, err := client.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()

	host, err := another(ctx, c)
	if err != nil {
		return err
	}
	a, err := host.Anchor().Walk(fmt.Sprintf("tutorial/hello-%d", os.Getpid()))
	if err != nil {
		return err
	}
	p, err := a.MakeProc(ctx, client.Cmd{
		Path: "/bin/sh",
		Args: []string{"-c", `echo "hello from process $$, child of $PPID"`},
	})
	if err != nil {
		return err
	}
	defer p.Scrub(ctx)

	if _, err := io.Copy(os.Stdout, p.Stdout(ctx)); err != nil {
		return err
	}
	stat, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%v: %s after %v\n", p.Path(), *stat.Exit, stat.Ended.Sub(stat.Started))
	return nil
}

// another returns a server other than the one that was dialled, if there is one.
func another(ctx context.Context, c *client.Client) (*client.Server, error) {
	host := c.DialIn().ID
	for m, err := range c.Servers(ctx) {
		if err != nil {
			return nil, err
		}
		if m.ID != c.DialIn().ID {
			host = m.ID
		}
	}
	return c.Server(host), nil
}
