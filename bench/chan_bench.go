package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gocircuit/circuit/client"
)

const (
	messageBytes = 100
	pairs        = 16
)

// pairOf is one channel, with its anchor as a sending and as a receiving
// client see it.
type pairOf struct{ send, recv *client.Chan }

// channels starts a server and makes n channels on it. There are two clients:
// one sends, the other receives.
func channels(ctx context.Context, l *lab, n int) ([]pairOf, func(), error) {
	s, err := l.start(nil)
	if err != nil {
		return nil, nil, err
	}
	var c [2]*client.Client
	for i := range c {
		if c[i], err = l.dial(ctx, s); err != nil {
			l.clear()
			return nil, nil, err
		}
	}
	end := func() {
		c[0].Close()
		c[1].Close()
		l.clear()
	}
	all := make([]pairOf, n)
	for i := range all {
		a, err := c[0].Server(c[0].DialIn().ID).Anchor().Walk(fmt.Sprint("q", i))
		if err == nil {
			all[i].send, err = a.MakeChan(ctx, 0)
		}
		if err != nil {
			end()
			return nil, nil, err
		}
		all[i].recv = c[1].Anchor(a.Path()).Chan()
	}
	return all, end, nil
}

// handOff is what one pair of goroutines measured.
type handOff struct {
	came  []time.Duration // from Send to having the message in the receiver
	known []time.Duration // from Send to knowing in the sender that it was used
}

// exchange sends n messages, each after the one before is confirmed.
func exchange(ctx context.Context, p pairOf, n int) (h handOff, err error) {
	came := make(chan time.Time, 1)
	err = both(ctx, func(ctx context.Context) error {
		s := p.send.Sender(ctx)
		message := make([]byte, messageBytes)
		for range n {
			begin := time.Now()
			if err := s.Send(message); err != nil {
				return err
			}
			if err := s.Flush(); err != nil {
				return err
			}
			h.known = append(h.known, time.Since(begin))
			h.came = append(h.came, (<-came).Sub(begin))
		}
		return s.Close()
	}, func(ctx context.Context) error {
		return receive(ctx, p.recv, n, 1, func() { came <- time.Now() })
	})
	return h, err
}

// both runs two sides at once; if one fails, the other ends, too.
func both(ctx context.Context, a, b func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	for _, side := range []func(context.Context) error{a, b} {
		go func() { errs <- side(ctx) }()
	}
	first := <-errs
	if first != nil {
		cancel()
	}
	second := <-errs
	if first != nil {
		return first
	}
	return second
}

// receive receives n messages and acknowledges each.
func receive(ctx context.Context, ch *client.Chan, n, credit int, got func()) error {
	r := ch.Receiver(ctx, client.Credit(credit))
	for range n {
		m, err := r.Next()
		if err != nil {
			return err
		}
		if _, err := m.WriteTo(io.Discard); err != nil {
			return err
		}
		if got != nil {
			got()
		}
		if err := m.Ack(); err != nil {
			return err
		}
	}
	return r.Close()
}

// channelHandOff measures one message at a time, by one pair and by 16.
func channelHandOff(ctx context.Context, l *lab) ([]figure, error) {
	all, end, err := channels(ctx, l, pairs)
	if err != nil {
		return nil, err
	}
	defer end()
	p, err := startPeer(nil)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	var trips, h handOff
	n := l.rounds(4000, 1000)
	for range 5 { // in turn
		t, err := roundTrips(p, n)
		if err != nil {
			return nil, err
		}
		trips.known = append(trips.known, t...)
		one, err := exchange(ctx, all[0], n)
		if err != nil {
			return nil, err
		}
		h.came, h.known = append(h.came, one.came...), append(h.known, one.known...)
	}
	trip, _ := quantiles(trips.known, time.Microsecond)
	came50, came99 := quantiles(h.came, time.Microsecond)
	known50, known99 := quantiles(h.known, time.Microsecond)
	var rates []float64
	for range 5 {
		perSecond, err := together(all, n/2, func(p pairOf, n int) error {
			_, err := exchange(ctx, p, n)
			return err
		})
		if err != nil {
			return nil, err
		}
		rates = append(rates, perSecond)
	}
	return []figure{
		{Name: "a round trip on plain TLS, p50", Value: trip, Unit: "us"},
		{Name: "the blocked receiver has it, p50", Value: came50, Unit: "us", Aim: 100},
		{Name: "the blocked receiver has it, p99", Value: came99, Unit: "us", Aim: 250},
		{Name: "the sender knows that it was used, p50", Value: known50, Unit: "us", Aim: 190},
		{Name: "the sender knows that it was used, p99", Value: known99, Unit: "us"},
		{Name: "the sender knows, of two round trips, p50", Value: known50 / 2 / trip, Unit: "x"},
		over("16 pairs, one message each at a time", "/s", least(40_000), rates),
	}, nil
}

// roundTrips measures a message there and back on a plain TLS connection.
func roundTrips(p *peer, n int) ([]time.Duration, error) {
	conn, err := p.ask(askEcho)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	message := make([]byte, messageBytes)
	var all []time.Duration
	for range n {
		begin := time.Now()
		if _, err := conn.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, message); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

// together lets all pairs do n messages each, and returns how many a second
// that makes.
func together(all []pairOf, n int, do func(pairOf, int) error) (float64, error) {
	errs := make(chan error, len(all))
	begin := time.Now()
	for _, p := range all {
		go func() { errs <- do(p, n) }()
	}
	var err error
	for range all {
		err = errors.Join(err, <-errs)
	}
	return float64(n*len(all)) / time.Since(begin).Seconds(), err
}

// channelPipelined measures messages that do not wait for each other's
// confirmations.
func channelPipelined(ctx context.Context, l *lab) ([]figure, error) {
	all, end, err := channels(ctx, l, pairs)
	if err != nil {
		return nil, err
	}
	defer end()
	flow := func(p pairOf, n int) error {
		return both(ctx, func(ctx context.Context) error {
			s := p.send.Sender(ctx)
			message := make([]byte, messageBytes)
			for range n {
				if err := s.Send(message); err != nil {
					return err
				}
			}
			return s.Close()
		}, func(ctx context.Context) error { return receive(ctx, p.recv, n, 1000, nil) })
	}
	var one, many []float64
	n := l.rounds(1_000_000, 200_000)
	for range l.rounds(5, 3) {
		v, err := together(all[:1], n, flow)
		if err != nil {
			return nil, err
		}
		one = append(one, v)
		if v, err = together(all, n/pairs, flow); err != nil {
			return nil, err
		}
		many = append(many, v)
	}
	return []figure{
		over("1 pair", "/s", least(300_000), one),
		over("16 pairs", "/s", least(500_000), many),
	}, nil
}

// longMessage measures one long message from a sender to a receiver, in turn
// with the same bytes over one plain TLS connection, which is half the way.
func longMessage(ctx context.Context, l *lab) ([]figure, error) {
	size := l.rounds(256*mib, 64*mib)
	all, end, err := channels(ctx, l, 1)
	if err != nil {
		return nil, err
	}
	defer end()
	p, err := startPeer(nil)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	pass := func() (int64, error) {
		var n int64
		err := both(ctx, func(ctx context.Context) error {
			_, err := all[0].send.SendFrom(ctx, zeros(size))
			return err
		}, func(ctx context.Context) error {
			m, err := all[0].recv.Recv(ctx)
			if err != nil {
				return err
			}
			defer m.Close()
			if n, err = m.WriteTo(io.Discard); err != nil {
				return err
			}
			return m.Done()
		})
		return n, err
	}
	var speed [2][]float64
	for range l.rounds(7, 3) {
		for i, way := range []func() (int64, error){func() (int64, error) { return p.give(size) }, pass} {
			begin := time.Now()
			n, err := way()
			if err == nil && n != int64(size) {
				err = fmt.Errorf("%d bytes came instead of %d", n, size)
			}
			if err != nil {
				return nil, err
			}
			speed[i] = append(speed[i], float64(n)/1e6/time.Since(begin).Seconds())
		}
	}
	return []figure{
		over(fmt.Sprintf("%d MiB over plain TLS", size/mib), "MB/s", 0, speed[0]),
		over("as one message", "MB/s", 0, speed[1]),
		over("as one message, of plain TLS", "x", least(0.45), ratios(speed[1], speed[0])),
	}, nil
}
