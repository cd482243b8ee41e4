// Command bench measures the circuit on this machine, with real server
// processes of the real program and package client:
//
//	cd bench && go run .                 all, in a few minutes
//	cd bench && go run . -quick          all, in less than a minute, rougher
//	cd bench && go run . -run stdout     what matches a regular expression
//	cd bench && go run . -json           as JSON
//	cd bench && go run . -run presence   only if asked for: beside memberlist and serf, in about an hour; -quick in ten minutes
//	cd bench && go run . -run crowd      only if asked for: 500 servers, in a few minutes
//
// Figures depend on the machine. So each is a median of several rounds, and
// wherever there is something to compare with, that is measured in the same
// run, in turn with it, and the figure that counts is the ratio: a process's
// output beside the same process's copied through plain crypto/tls, running a
// process beside os/exec, a channel's hand-off beside a round trip on a plain TLS
// connection, who is there beside HashiCorp's memberlist and serf. Servers and
// clients are all on this machine and share its processors.
//
// Presence is measured in namespaces of the kernel that have nothing else in
// them, in which whatever happens no process stays behind. Bytes are those of IP
// packets with their headers, as the interface counts them, sent and received:
// on loopback each packet is one of each.
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
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// bench is one thing to measure.
type bench struct {
	name string
	what string
	run  func(context.Context, *lab) ([]figure, error)
	show func([]figure) // nil for a line for each figure
}

// long says whether a bench is measured only if it is asked for.
func (b bench) long() bool { return b.show != nil }

func benches() []bench {
	return []bench{
		{name: "size", what: "the program on disk", run: binarySize},
		{name: "start", what: "from executing the program to the first answer", run: startToUsable},
		{name: "memory", what: "of one idle server", run: idleMemory},
		{name: "stdout", what: "a process's standard output, to a client", run: stdoutThroughput},
		{name: "run", what: "run /bin/true and learn its exit code", run: runAndWait},
		{name: "channel", what: "small messages from a sender to a receiver, acknowledged", run: channelHandOff},
		{name: "pipelined", what: "the same, many under way at once", run: channelPipelined},
		{name: "message", what: "one long message, through one server", run: longMessage},
		{name: presenceName, what: "who is there, beside memberlist and serf", run: presence, show: showTable},
		{name: crowdName, what: "many servers on one machine", run: crowd, show: showTable},
	}
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	var o options
	flag.StringVar(&o.which, "run", "", "measure only what matches this regular `expression`: size, start, memory, stdout, run, channel, pipelined, message, presence, crowd")
	flag.BoolVar(&o.quick, "quick", false, "fewer and smaller rounds")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.StringVar(&o.program, "program", "", "measure this `file` instead of building the program")
	flag.Func("servers", "how many servers in presence and crowd, as `N,...`", o.setServers)
	flag.Parse()
	match, err := regexp.Compile(o.which)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: usage: bench [-run expression] [-quick] [-json] [-program file] [-servers N,...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, match, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	which   string
	quick   bool
	json    bool
	program string
	servers []int
}

func (o *options) setServers(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 4 {
			return fmt.Errorf("%q is not a number from 4", part)
		}
		o.servers = append(o.servers, n)
	}
	return nil
}

// report is all that was measured.
type report struct {
	Time    time.Time
	Machine string
	Quick   bool `json:",omitempty"`
	Figures []figure
}

func measure(ctx context.Context, match *regexp.Regexp, o options) error {
	l, err := newLab(ctx, o.program, o.quick)
	if err != nil {
		return err
	}
	defer l.close()
	l.sizes = o.servers
	r := report{
		Time: time.Now().UTC().Truncate(time.Second), Quick: o.quick,
		Machine: fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
	// What else the machine does is in every figure, too.
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Machine += ", load average before " + strings.Fields(string(load))[0]
	}
	if !o.json {
		fmt.Println(r.Machine)
	}
	failed := 0
	for _, b := range benches() {
		if !match.MatchString(b.name) || b.long() && o.which == "" || ctx.Err() != nil {
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
		if !o.json && len(figures) > 0 {
			show(b, figures)
		}
	}
	if o.json {
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
	if b.show != nil {
		b.show(figures)
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", f.Name, f.value(), f.spread(), f.verdict())
	}
	w.Flush()
}
