// Command bench measures the circuit on this machine, with real server
// processes of the real program and package client:
//
//	cd bench && go run .                 all, in a few minutes
//	cd bench && go run . -quick          all, in less than a minute, rougher
//	cd bench && go run . -run stdout     what matches a regular expression
//	cd bench && go run . -json           as JSON
//
// Figures depend on the machine. So each is a median of several rounds, and
// wherever there is something to compare with, that is measured in the same
// run, in turn with it, and the figure that counts is the ratio: a process's
// output beside the same process's copied through plain crypto/tls, running a
// process beside os/exec, a channel's hand-off beside a round trip on a plain TLS
// connection. Servers and clients are all on this machine and share its
// processors.
//
// It exits 1 if something could not be measured; figures that miss their aims
// are told, and do not change the exit code.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"text/tabwriter"
	"time"
)

// bench is one thing to measure.
type bench struct {
	name string
	what string
	run  func(context.Context, *lab) ([]figure, error)
}

func benches() []bench {
	return []bench{
		{"size", "the program on disk", binarySize},
		{"start", "from executing the program to the first answer", startToUsable},
		{"memory", "of one idle server", idleMemory},
		{"stdout", "a process's standard output, to a client", stdoutThroughput},
		{"run", "run /bin/true and learn its exit code", runAndWait},
		{"channel", "small messages from a sender to a receiver, acknowledged", channelHandOff},
		{"pipelined", "the same, many under way at once", channelPipelined},
		{"message", "one long message, through one server", longMessage},
	}
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	var (
		which  = flag.String("run", "", "measure only what matches this regular `expression`: size, start, memory, stdout, run, channel, pipelined, message")
		quick  = flag.Bool("quick", false, "fewer and smaller rounds")
		asJSON = flag.Bool("json", false, "print JSON")
	)
	flag.Parse()
	match, err := regexp.Compile(*which)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: usage: bench [-run expression] [-quick] [-json]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, match, *quick, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// report is all that was measured.
type report struct {
	Time    time.Time
	Machine string
	Quick   bool `json:",omitempty"`
	Figures []figure
}

func measure(ctx context.Context, match *regexp.Regexp, quick, asJSON bool) error {
	l, err := newLab(ctx, quick)
	if err != nil {
		return err
	}
	defer l.close()
	r := report{
		Time: time.Now().UTC().Truncate(time.Second), Quick: quick,
		Machine: fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
	if !asJSON {
		fmt.Println(r.Machine)
	}
	failed := 0
	for _, b := range benches() {
		if !match.MatchString(b.name) || ctx.Err() != nil {
			continue
		}
		figures, err := b.run(ctx, l)
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", b.name, err)
		}
		for i := range figures {
			figures[i].Bench = b.name
		}
		r.Figures = append(r.Figures, figures...)
		if !asJSON && len(figures) > 0 {
			show(b, figures)
		}
	}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d could not be measured", failed)
	}
	return ctx.Err()
}

// show prints the figures of one bench.
func show(b bench, figures []figure) {
	fmt.Printf("\n%s: %s\n", b.name, b.what)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", f.Name, f.value(), f.spread(), f.verdict())
	}
	w.Flush()
}
