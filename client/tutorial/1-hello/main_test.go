package main

import (
	"regexp"
	"testing"

	"github.com/gocircuit/circuit/client/tutorial/circuittest"
)

func TestMain(m *testing.M) { circuittest.Main(m, main) }

func TestHello(t *testing.T) {
	c := circuittest.Start(t, 3)
	out, err := c.Run()
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 {
		t.Fatalf("printed %q", out)
	}
	if !regexp.MustCompile(`^hello from process \d+, child of \d+$`).MatchString(out[0]) {
		t.Errorf("first line is %q", out[0])
	}
	said := regexp.MustCompile(`^/(X[0-9a-f]{16})/tutorial/hello-\d+: exit status 0 after `).FindStringSubmatch(out[1])
	if said == nil || said[1] == c.Client().DialIn().ID.String() {
		t.Errorf("second line is %q, want a process on another server", out[1])
	}
	for e, err := range c.Client().Root().ViewAll(t.Context()) {
		if err != nil || !e.Path.IsServer() {
			t.Errorf("left behind: %v, %v", e.Path, err)
		}
	}
}

func TestHelloWithoutCircuit(t *testing.T) {
	c := circuittest.Start(t, 1)
	if out, err := c.Run("-d", "127.0.0.1:1"); err == nil {
		t.Errorf("exits 0, printed %q", out)
	}
}
