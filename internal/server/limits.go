package server

import (
	"fmt"
	"math"
	"strings"
	"syscall"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/element/channel"
	"github.com/gocircuit/circuit/internal/element/subscription"
	"github.com/gocircuit/circuit/internal/transport"
)

// Limits bound everything that can grow in a server. At a limit there is an
// error of kind Exhausted, or back-pressure. A zero field means its default.
type Limits struct {
	Anchors       int64 // anchors, those above elements included
	Processes     int64 // process elements, ended ones included; never more than a quarter of the open files allowed
	StreamSpool   int64 // bytes kept of an output stream whose command does not say
	Spool         int64 // bytes kept of all output streams
	SpoolMemory   int64 // bytes of those that are kept in memory, the rest being in files
	ChannelBytes  int64 // bytes held for all channels
	ChannelCalls  int64 // sends and receives open at once on one channel
	Subscriptions int64 // subscription elements
	Events        int64 // events that wait in one subscription; then the oldest are given up, and receivers told
	Streams       int64 // calls open at once on one connection
	Connections   int64 // connections open at once, of clients and again of servers; never more than a quarter of the open files allowed
	Handshakes    int64 // connections not yet authenticated; at the limit the oldest is dropped
	RequestBytes  int64 // bytes of one request or frame
}

// LimitDoc describes one limit for the command line.
type LimitDoc struct {
	Name    string // as in NAME=VALUE
	Default int64
	Bytes   bool // the value is a size, such as 64MiB
	Min     int64
	Max     int64
	Help    string
	field   func(*Limits) *int64
}

// LimitDocs describes all limits, in the order in which to show them.
func LimitDocs() []LimitDoc {
	const most = math.MaxInt32
	return []LimitDoc{
		{"anchors", 1_000_000, false, 1, most, "anchors", func(l *Limits) *int64 { return &l.Anchors }},
		{"processes", 10_000, false, 1, most, "processes, ended ones not yet scrubbed included", func(l *Limits) *int64 { return &l.Processes }},
		{"stream-spool", circuit.DefaultSpool, true, 4 << 10, math.MaxInt64, "output kept of a stream, unless its command says otherwise", func(l *Limits) *int64 { return &l.StreamSpool }},
		{"spool", 4 << 30, true, 1 << 20, math.MaxInt64, "output kept of all streams", func(l *Limits) *int64 { return &l.Spool }},
		{"spool-memory", 16 << 20, true, 1 << 20, math.MaxInt64, "of that, kept in memory; the rest is in files", func(l *Limits) *int64 { return &l.SpoolMemory }},
		{"channel-bytes", 1 << 30, true, 64 << 10, math.MaxInt64, "held for all channels", func(l *Limits) *int64 { return &l.ChannelBytes }},
		{"channel-calls", channel.DefaultCalls, false, 2, most, "sends and receives open at once on one channel", func(l *Limits) *int64 { return &l.ChannelCalls }},
		{"subscriptions", subscription.DefaultSubscriptions, false, 1, most, "subscriptions", func(l *Limits) *int64 { return &l.Subscriptions }},
		{"events", subscription.DefaultEvents, false, 1, most, "events waiting in one subscription; the oldest are given up", func(l *Limits) *int64 { return &l.Events }},
		{"streams", transport.DefaultMaxStreams, false, 16, most, "calls open at once on one connection", func(l *Limits) *int64 { return &l.Streams }},
		{"connections", 10_000, false, 8, most, "connections open at once, of clients and again of servers", func(l *Limits) *int64 { return &l.Connections }},
		{"handshakes", 1024, false, 1, most, "connections not yet authenticated; at the limit the oldest is dropped", func(l *Limits) *int64 { return &l.Handshakes }},
		{"request-bytes", 4 << 20, true, 2 << 20, 4 << 20, "one request or frame", func(l *Limits) *int64 { return &l.RequestBytes }},
	}
}

// Set sets one limit from NAME=VALUE. Errors are of kind Invalid.
func (l *Limits) Set(assignment string) error {
	name, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return circuit.Errorf(circuit.Invalid, "a limit is set as NAME=VALUE, as in anchors=5000")
	}
	var names []string
	for _, d := range LimitDocs() {
		if d.Name != name {
			names = append(names, d.Name)
			continue
		}
		n, err := circuit.ParseSize(value)
		if err != nil {
			return circuit.Errorf(circuit.Invalid, fmt.Sprintf("limit %s: %q is not a number", name, value))
		}
		if int64(n) < d.Min || int64(n) > d.Max {
			return circuit.Errorf(circuit.Invalid, fmt.Sprintf("limit %s: %s is not between %d and %d", name, value, d.Min, d.Max))
		}
		*d.field(l) = int64(n)
		return nil
	}
	return circuit.Errorf(circuit.Invalid, fmt.Sprintf("there is no limit %q; there are %s", name, strings.Join(names, ", ")))
}

func (l Limits) withDefaults() Limits {
	for _, d := range LimitDocs() {
		if f := d.field(&l); *f == 0 {
			*f = d.Default
		}
	}
	return l
}

// connections returns how many connections there may be: not so many that
// nothing is left for processes and files.
func (l Limits) connections() int {
	n := uint64(l.Connections)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		n = min(n, max(files.Cur/4, 8))
	}
	return int(n)
}
