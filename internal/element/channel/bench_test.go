package channel

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/gocircuit/circuit/internal/transport"
)

// One acknowledged message at a time, over real connections. The reported p50
// and p99 are from the send to the sender's knowing that the receiver has it.
func BenchmarkHandOff(b *testing.B) {
	for _, pairs := range []int{1, 16} {
		b.Run(fmt.Sprintf("pairs=%d", pairs), func(b *testing.B) {
			w := newWire(b, transport.TCP{}, "127.0.0.1:0", Config{})
			conns := w.pairs(pairs)
			spans := make([][]time.Duration, pairs)
			runPairs(b, w, conns, func(s *wireSend, i, n int) error {
				msg := make([]byte, 100)
				for range n {
					begin := time.Now()
					if err := s.send(msg); err != nil {
						return err
					}
					spans[i] = append(spans[i], time.Since(begin))
				}
				return nil
			}, 1)
			all := slices.Sorted(func(yield func(time.Duration) bool) {
				for _, s := range spans {
					for _, d := range s {
						if !yield(d) {
							return
						}
					}
				}
			})
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// Many acknowledged messages under way at once, many to a frame.
func BenchmarkPipelined(b *testing.B) {
	for _, pairs := range []int{1, 16} {
		for _, cap := range []int{0, 1000} {
			b.Run(fmt.Sprintf("pairs=%d/cap=%d", pairs, cap), func(b *testing.B) {
				w := newWire(b, transport.TCP{}, "127.0.0.1:0", Config{})
				conns := w.pairs(pairs)
				const group, ahead = 100, 1000
				runPairsCap(b, w, conns, cap, func(s *wireSend, _, n int) error {
					msgs := make([][]byte, group)
					for i := range msgs {
						msgs[i] = make([]byte, 100)
					}
					sure := uint64(0)
					for s.num < uint64(n) {
						if err := s.put(msgs[:min(group, n-int(s.num))]...); err != nil {
							return err
						}
						for ; s.num-sure >= ahead; sure++ {
							if err := s.wait(sure + 1); err != nil {
								return err
							}
						}
					}
					for ; sure < s.num; sure++ {
						if err := s.wait(sure + 1); err != nil {
							return err
						}
					}
					return nil
				}, 1000)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// pairs returns the connections of n senders and n receivers, which share one
// each: two clients in all.
func (w *wire) pairs(n int) []grpc.ClientConnInterface {
	s, r := w.dial(), w.dial()
	var conns []grpc.ClientConnInterface
	for range n {
		conns = append(conns, s, r)
	}
	return conns
}

func runPairs(b *testing.B, w *wire, conns []grpc.ClientConnInterface, send func(s *wireSend, i, n int) error, credit uint32) {
	runPairsCap(b, w, conns, 0, send, credit)
}

// runPairsCap runs b.N messages through as many channels as there are pairs of
// connections.
func runPairsCap(b *testing.B, w *wire, conns []grpc.ClientConnInterface, cap int, send func(s *wireSend, i, n int) error, credit uint32) {
	pairs := len(conns) / 2
	errs := make(chan error, 2*pairs)
	b.ResetTimer()
	for i := range pairs {
		name := fmt.Sprint("q", i)
		w.make(conns[2*i], name, cap)
		ctx := w.at(context.Background(), name)
		n := b.N / pairs
		if i == 0 {
			n += b.N % pairs
		}
		go func() {
			s, err := openSend(ctx, conns[2*i])
			if err == nil {
				err = send(s, i, n)
			}
			errs <- err
		}()
		go func() {
			r, err := openRecv(ctx, conns[2*i+1])
			if err == nil {
				err = r.ask(credit, 0)
			}
			for n := n; err == nil && n > 0; {
				var msgs []wireMessage
				if msgs, err = r.read(); err == nil {
					n -= len(msgs)
					err = r.ask(uint32(len(msgs)), r.last)
				}
			}
			if err == nil {
				err = r.confirm(r.last)
			}
			errs <- err
		}()
	}
	for range 2 * pairs {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}
