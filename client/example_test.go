package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// The examples run on a circuit of two servers, one called first and the other
// second.
var first, second *server.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "circuit-example-")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, s := range []**server.Server{&first, &second} {
		cfg := server.Config{Addr: "127.0.0.1:0", DialFiles: dir + "/servers"}
		if first != nil {
			cfg.Join = append(cfg.Join, first.URL())
		}
		if *s, err = server.Start(context.Background(), cfg); err != nil {
			log.Print(err)
			return 1
		}
		defer stop(*s)
	}
	for deadline := time.Now().Add(10 * time.Second); len(first.Members()) < 2; {
		if time.Now().After(deadline) {
			log.Print("the servers do not see each other after 10 s")
			return 1
		}
	}
	return m.Run()
}

// dial dials in at the first server, and returns an anchor on the second.
func dial(ctx context.Context, name string) (*client.Client, *client.Anchor) {
	c, err := client.Dial(ctx, first.URL().Secret())
	if err != nil {
		log.Fatal(err)
	}
	a, err := c.Server(second.URL().ID).Anchor().Walk(name)
	if err != nil {
		log.Fatal(err)
	}
	return c, a
}

func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, first.URL().Secret()) // such as circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	// Pick a server, any but the one that was dialled.
	var host *client.Server
	for m, err := range c.Servers(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if m.ID != c.DialIn().ID {
			host = c.Server(m.ID)
		}
	}

	// Run a process there, and read what it writes.
	a, err := host.Anchor().Walk("hi/charlie")
	if err != nil {
		log.Fatal(err)
	}
	p, err := a.MakeProc(ctx, client.Cmd{Path: "/bin/echo", Args: []string{"hello from afar"}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, p.Stdout(ctx)); err != nil {
		log.Fatal(err)
	}
	stat, err := p.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*stat.Exit)
	if err := p.Scrub(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello from afar
	// exit status 0
}

func ExampleAnchor_ViewAll() {
	ctx := context.Background()
	c, a := dial(ctx, "viewall")
	defer c.Close()
	for _, name := range []string{"jobs/one", "jobs/two"} {
		below, err := a.Walk(name)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := below.MakeChan(ctx, 3); err != nil {
			log.Fatal(err)
		}
	}
	for e, err := range a.ViewAll(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Kind, strings.TrimPrefix(e.Path.String(), a.String()))
	}
	// Output:
	// ---- /jobs
	// chan /jobs/one
	// chan /jobs/two
}

func ExampleAnchor_MakeProc_errors() {
	ctx := context.Background()
	c, a := dial(ctx, "nothing")
	defer c.Close()
	_, err := a.MakeProc(ctx, client.Cmd{Path: "/no/such/program"})
	if errors.Is(err, client.ErrNotFound) {
		fmt.Println("there is no such program")
	}
	_, err = a.Get(ctx)
	fmt.Println("the anchor is free:", errors.Is(err, client.ErrNotFound))
	// Output:
	// there is no such program
	// the anchor is free: true
}

func ExampleProc_Stdin() {
	ctx := context.Background()
	c, a := dial(ctx, "stdin")
	defer c.Close()
	p, err := a.MakeProc(ctx, client.Cmd{Path: "tr", Args: []string{"a-z", "A-Z"}})
	if err != nil {
		log.Fatal(err)
	}
	in := p.Stdin(ctx)
	fmt.Fprintln(in, "louder, please")
	if err := in.Close(); err != nil { // the process has it all, and the end
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, p.Stdout(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output: LOUDER, PLEASE
}

func ExampleProc_Stdout_loss() {
	ctx := context.Background()
	c, a := dial(ctx, "loss")
	defer c.Close()
	p, err := a.MakeProc(ctx, client.Cmd{
		Path: "/bin/echo", Args: []string{"-n", "0123456789"},
		Spool: 4, Overflow: client.OverflowDrop, // keep the last 4 bytes
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	out := p.Stdout(ctx)
	defer out.Close()
	for {
		_, err := io.Copy(os.Stdout, out)
		var lost *client.LostError
		if !errors.As(err, &lost) {
			if err != nil {
				log.Fatal(err)
			}
			return
		}
		fmt.Printf("(%d bytes are gone)", lost.Bytes) // and what follows comes next
	}
	// Output: (6 bytes are gone)6789
}

func ExampleChan_Recv() {
	ctx := context.Background()
	c, a := dial(ctx, "recv")
	defer c.Close()
	ch, err := a.MakeChan(ctx, 3)
	if err != nil {
		log.Fatal(err)
	}
	if err := ch.Send(ctx, []byte("a message\n")); err != nil {
		log.Fatal(err)
	}

	m, err := ch.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if _, err := io.Copy(os.Stdout, m); err != nil {
		log.Fatal(err)
	}
	if err := m.Done(); err != nil { // now nobody else gets it
		log.Fatal(err)
	}
	// Output: a message
}

func ExampleChan_Sender() {
	ctx := context.Background()
	c, a := dial(ctx, "sender")
	defer c.Close()
	ch, err := a.MakeChan(ctx, 100)
	if err != nil {
		log.Fatal(err)
	}
	s := ch.Sender(ctx)
	for i := range 10 {
		if err := s.Send(fmt.Append(nil, i*i)); err != nil {
			log.Fatal(err)
		}
	}
	if err := s.Close(); err != nil { // all ten are in the channel
		log.Fatal(err)
	}
	if err := ch.Close(ctx); err != nil {
		log.Fatal(err)
	}

	r := ch.Receiver(ctx, client.Credit(16))
	for m, err := range r.All() {
		if err != nil {
			log.Fatal(err)
		}
		text, err := m.Bytes()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(string(text), " ")
		if err := m.Ack(); err != nil {
			log.Fatal(err)
		}
	}
	if err := r.Close(); err != nil { // all acknowledgements are confirmed
		log.Fatal(err)
	}
	// Output: 0 1 4 9 16 25 36 49 64 81
}

func ExampleClient_Servers() {
	ctx := context.Background()
	c, _ := dial(ctx, "servers")
	defer c.Close()
	servers := 0
	for _, err := range c.Servers(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		servers++
	}
	fmt.Println(servers, "servers")
	// Output: 2 servers
}

// Watch who comes and goes. The subscription is on one server and sees what that
// server sees; a program that runs elsewhere reads it all the same.
func ExampleSubscription_All() {
	ctx := context.Background()
	c, a := dial(ctx, "watch")
	defer c.Close()
	watch, err := a.MakeOnJoin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	known := 0
	for e, err := range watch.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch e.Change {
		case client.Present:
			known++
			fmt.Println("there is", known)
		case client.Joined:
			fmt.Println("joined:", e.Path, e.Address)
		case client.Overflowed:
			fmt.Println("too late for", e.Lost, "events: read the list of servers again")
		}
		if known == 2 {
			break
		}
	}
	if err := watch.Scrub(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// there is 1
	// there is 2
}
