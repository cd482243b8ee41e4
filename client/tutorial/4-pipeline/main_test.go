package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/client/tutorial/circuittest"
)

func TestMain(m *testing.M) { circuittest.Main(m, main) }

// The first digits of pi, and those after the first thousand, in base 16.
const (
	first = "243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89"
	at    = 1000
	later = "49F1C09B075372C980991B7B"
)

func TestPiDigits(t *testing.T) {
	for n := 0; n < len(first); n += block {
		if got := piDigits(n); got != first[n:n+block] {
			t.Errorf("digits from %d on are %s, want %s", n, got, first[n:n+block])
		}
	}
	for n := 0; n < len(later); n += block {
		if got := piDigits(at + n); got != later[n:n+block] {
			t.Errorf("digits from %d on are %s, want %s", at+n, got, later[n:n+block])
		}
	}
}

// workers returns the workers that run.
func workers(t *testing.T, c *circuittest.Circuit) (found []*client.Proc) {
	t.Helper()
	for e, err := range c.Client().Root().ViewAll(t.Context()) {
		if err != nil {
			continue // a server that has just been killed may not answer
		}
		if e.Kind == client.KindProc && e.State == "running" {
			found = append(found, c.Client().Anchor(e.Path).Proc())
		}
	}
	return found
}

func TestPipeline(t *testing.T) {
	c := circuittest.Start(t, 3)
	out, err := c.Run("-n", "1003")
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 || len(out[0]) != 2+1003 || !strings.HasPrefix(out[0], "3."+first) || !strings.HasSuffix(out[0], later[:3]) {
		t.Errorf("printed %q", out)
	}
	c.Eventually("nothing is left behind", func() bool {
		left := 0
		for e, err := range c.Client().Root().ViewAll(t.Context()) {
			if err != nil || !e.Path.IsServer() {
				left++
			}
		}
		return left == 0
	})
}

// Workers that die, alone or with their server, change nothing in the result.
func TestPipelineWithDeaths(t *testing.T) {
	c := circuittest.Start(t, 4)
	home := c.Client().DialIn().ID
	const digits = 12_000
	cmd := c.Program("-n", fmt.Sprint(digits))
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []*client.Proc
	c.Eventually("four workers", func() bool { all = workers(t, c); return len(all) == 4 })
	killed := 0
	for _, p := range all {
		id, _ := p.Path().Server()
		switch {
		case id == home || killed == 2:
			continue
		case killed == 0:
			c.Kill(id)
		default:
			if err := p.Signal(t.Context(), "KILL"); err != nil {
				t.Fatal(err)
			}
		}
		killed++
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if len(got) != 2+digits+1 || !strings.HasPrefix(got, "3."+first) || got[2+at:2+at+len(later)] != later {
		t.Errorf("printed %d bytes: %.200q...", len(got), got)
	}
	for n := digits - 10*block; n < digits; n += block {
		if want := piDigits(n); got[2+n:2+n+block] != want {
			t.Errorf("digits from %d on are %s, want %s", n, got[2+n:2+n+block], want)
		}
	}
}
