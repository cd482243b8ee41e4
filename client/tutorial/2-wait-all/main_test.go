package main

import (
	"strings"
	"testing"

	"github.com/gocircuit/circuit/client/tutorial/circuittest"
)

func TestMain(m *testing.M) { circuittest.Main(m, main) }

func TestWaitAll(t *testing.T) {
	c := circuittest.Start(t, 4)
	out, err := c.Run("/bin/sh", "-c", "echo done")
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 4 {
		t.Fatalf("printed %q", out)
	}
	for _, id := range c.Servers() {
		if want := id.String() + `: exit status 0, wrote "done\n"`; !strings.Contains(strings.Join(out, "\n"), want) {
			t.Errorf("printed %q, want a line %q", out, want)
		}
	}
	for e, err := range c.Client().Root().ViewAll(t.Context()) {
		if err != nil || !e.Path.IsServer() {
			t.Errorf("left behind: %v, %v", e.Path, err)
		}
	}
}

func TestWaitAllFails(t *testing.T) {
	c := circuittest.Start(t, 2)
	for _, command := range [][]string{{"/bin/false"}, {"/no/such/program"}} {
		if out, err := c.Run(command...); err == nil || len(out) != 2 {
			t.Errorf("%q: %v, printed %q", command, err, out)
		}
	}
}

func TestWaitAllByDefault(t *testing.T) {
	c := circuittest.Start(t, 2)
	if out, err := c.Run(); err != nil || len(out) != 2 {
		t.Errorf("%v, printed %q", err, out)
	}
}
