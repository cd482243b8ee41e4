package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

const sentInDoubt = "; the channel had not said that it took the message, which may or may not arrive\n"

// TestSendInDoubt cuts sends short whose message may have arrived.
func TestSendInDoubt(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/c"
	p.must(t, "mkchan", c)
	senders := func(n string) {
		waitFor(t, func() bool { return strings.Contains(p.must(t, "peek", "-o", "json", c), `"Senders":`+n+`,`) })
	}
	for _, args := range [][]string{{"send"}, {"send", "--lines"}} {
		for _, more := range []bool{false, true} { // after the first line, where it is one message
			if more && len(args) == 1 {
				continue
			}
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, "a\n")
				if !more {
					w.Close()
				}
			}()
			q := p
			q.stdin = r
			q.signals = make(chan os.Signal, 1)
			ended := make(chan result, 1)
			go func() { ended <- q.run(append(args, c)...) }()
			senders("1")
			q.signals <- os.Interrupt
			if r := <-ended; r.code != exitInterrupted || r.stderr != "circuit: interrupted"+sentInDoubt {
				t.Errorf("circuit %q: exit code %d, standard error %q", args, r.code, r.stderr)
			}
			w.Close()
			senders("0")
		}
	}
	p.with(strings.Repeat("x", 200_000)).fails(t, exitTimeout, "circuit: send "+c+": gave up after 1s, as --timeout says"+sentInDoubt, "send", "--timeout", "1s", c)
}

// TestSendsInDoubtAreCounted cuts a send short of which some lines were taken.
func TestSendsInDoubtAreCounted(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/c"
	p.must(t, "mkchan", c, "2")
	p.with("1\n2\n3\n").fails(t, exitTimeout, "; the channel took the first 2, and had not said that it took the next 1, which", "send", "--lines", "--timeout", "100ms", c)
}

// slowOutput is standard output that takes its time.
type slowOutput struct {
	bytes.Buffer
	hold func()
}

func (o *slowOutput) Write(b []byte) (int, error) {
	o.hold()
	return o.Buffer.Write(b)
}

// TestRecvInDoubt cuts a recv short after it printed, and before that is
// confirmed.
func TestRecvInDoubt(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/c"
	p.must(t, "mkchan", c, "1")
	p.with("x").must(t, "send", c)
	const doubt = "; another receiver may get again what was received\n"
	gone := func() { // once another receiver, who gives it back, gets the message
		if code := p.runTo(failingWriter{syscall.EPIPE}, io.Discard, "recv", "--timeout", "10s", c); code != exitFailed {
			t.Errorf("the message was not given back: exit code %d", code)
		}
	}
	for _, args := range [][]string{{"recv"}, {"recv", "-n", "2"}, {"recv", "--all"}} {
		var errs bytes.Buffer
		q := p
		q.signals = make(chan os.Signal, 1)
		out := &slowOutput{hold: func() { q.signals <- os.Interrupt; gone() }}
		if code := q.runTo(out, &errs, append(args, c)...); code != exitInterrupted || !strings.HasSuffix(errs.String(), "circuit: interrupted"+doubt) {
			t.Errorf("circuit %q: exit code %d, standard error %q", args, code, errs.String())
		}
		if out.String() != "x" {
			t.Errorf("circuit %q printed %q", args, out.String())
		}
	}
	var errs bytes.Buffer
	code := p.runTo(&slowOutput{hold: gone}, &errs, "recv", "--timeout", "1s", c)
	if got := errs.String(); code != exitTimeout || !strings.HasSuffix(got, "circuit: recv "+c+": gave up after 1s, as --timeout says"+doubt) {
		t.Errorf("exit code %d, standard error %q", code, got)
	}
}

// TestRecvAll wants recv --all to end cleanly after the last message of a closed
// channel, and not where the channel is scrubbed.
func TestRecvAll(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/c"
	p.must(t, "mkchan", c, "1")
	ended := make(chan result, 1)
	go func() { ended <- p.run("recv", "--all", c) }()
	waitFor(t, func() bool { return strings.Contains(p.must(t, "peek", "-o", "json", c), `"Receivers":1`) })
	p.must(t, "scrub", c)
	if r := <-ended; r.code != exitClosed || !strings.HasPrefix(r.stderr, "circuit: recv "+c+": ") {
		t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
	}
	p.must(t, "mkchan", c, "1")
	p.with("last").must(t, "send", c)
	p.must(t, "close", c)
	for _, want := range []string{"last", ""} {
		if got := p.must(t, "recv", "--all", c); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	}
}

// TestActInDoubt cuts a command short that may have had its effect.
func TestActInDoubt(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/p"
	const stubborn = "trap 'echo got' TERM; echo ready; while :; do sleep 600 & wait; done"
	p.with(`{"Path": "/bin/sh", "Args": ["-c", "`+stubborn+`"]}`).must(t, "mkproc", c)
	printed := func(text string) {
		waitFor(t, func() bool { return strings.HasPrefix(p.must(t, "stdout", "--no-follow", c), text) })
	}
	printed("ready\n")
	const doubt = "; what was asked may or may not have been done; circuit peek "
	const shows = " shows what is there now\n"
	scrub := []string{"scrub", "--kill", "--grace", "30s", c}
	q := p
	q.signals = make(chan os.Signal, 1)
	ended := make(chan result, 1)
	go func() { ended <- q.run(scrub...) }()
	printed("ready\ngot\n")
	q.signals <- os.Interrupt
	if r := <-ended; r.code != exitInterrupted || r.stderr != "circuit: interrupted"+doubt+c+shows {
		t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
	}
	p.fails(t, exitTimeout, "circuit: scrub "+c+": gave up after 1s, as --timeout says"+doubt+c+shows, append(scrub, "--timeout", "1s")...)
	p.fails(t, exitTimeout, "circuit: wait "+c+": gave up after 1s, as --timeout says\n", "wait", "--timeout", "1s", c)
	p.must(t, "signal", "KILL", c)
}

// TestStdinInDoubt cuts a stdin short while the process has not taken all.
func TestStdinInDoubt(t *testing.T) {
	p, x := circuitOf(t)
	c := x + "/p"
	p.with(`{"Path": "/bin/sleep", "Args": ["600"]}`).must(t, "mkproc", c)
	const doubt = "of the input, and may or may not have what followed; circuit peek "
	r, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = w.Write(make([]byte, 1_000_000)) }()
	q := p
	q.stdin = r
	q.signals = make(chan os.Signal, 1)
	waiting := make(chan result, 1)
	go func() { waiting <- q.run("stdin", c) }()
	waitFor(t, func() bool { return !strings.Contains(p.must(t, "peek", "-o", "json", c), `"Stdin":{"Written":0,`) })
	q.signals <- os.Interrupt
	if r := <-waiting; r.code != exitInterrupted || !strings.Contains(r.stderr, "circuit: interrupted; the process has ") || !strings.Contains(r.stderr, doubt+c) {
		t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
	}
	p.with(strings.Repeat("x", 1_000_000)).fails(t, exitTimeout, doubt+c, "stdin", "--timeout", "1s", c)
}
