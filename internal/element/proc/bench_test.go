package proc

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/rpc"
)

// BenchmarkTrue runs /bin/true and learns how it ended: with os/exec, through a
// host, and through the service.
func BenchmarkTrue(b *testing.B) {
	b.Run("exec", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("host", func(b *testing.B) {
		h := newTestHost(b)
		for b.Loop() {
			child, err := h.Start(circuit.Cmd{Path: "/bin/true"})
			if err != nil {
				b.Fatal(err)
			}
			child.Wait()
			child.(*localChild).closePipes()
		}
	})
	b.Run("service", func(b *testing.B) { benchService(b, 1) })
	b.Run("service-16", func(b *testing.B) { benchService(b, 8) })
	b.Run("exec-16", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := exec.Command("/bin/true").Run(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func benchService(b *testing.B, parallel int) {
	w := newWorld(b, nil)
	var n atomic.Int64
	one := func() {
		p := w.start(fmt.Sprint(n.Add(1)), circuit.Cmd{Path: "/bin/true"})
		p.wait()
		if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
			b.Error(err)
		}
	}
	if parallel == 1 {
		for b.Loop() {
			one()
		}
		return
	}
	b.SetParallelism(parallel)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			one()
		}
	})
}

const zeros = 256 << 20

func zerosCmd() circuit.Cmd {
	return circuit.Cmd{Path: "head", Args: []string{"-c", fmt.Sprint(zeros), "/dev/zero"}}
}

// BenchmarkOutput reads a process's output: from the pipe, through the spool
// alone, and through the service on an unencrypted connection in memory.
func BenchmarkOutput(b *testing.B) {
	b.Run("pipe", func(b *testing.B) {
		h := newTestHost(b)
		b.SetBytes(zeros)
		for b.Loop() {
			child, err := h.Start(zerosCmd())
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, struct{ io.Reader }{child.Stdout()}); n != zeros || err != nil {
				b.Fatal(n, err)
			}
			child.Wait()
			child.(*localChild).closePipes()
		}
	})
	b.Run("spool", func(b *testing.B) {
		w := newWorld(b, nil)
		b.SetBytes(zeros)
		for b.Loop() {
			p := w.start("p", zerosCmd())
			e, _, err := w.tree.Get(w.path("p"), 0)
			if err != nil {
				b.Fatal(err)
			}
			c, done := e.(*Proc).stdout.open(0, true)
			for {
				chunk, err := c.Next(b.Context())
				if err == io.EOF {
					break
				}
				c.Ack(chunk.Offset)
				chunk.Free()
			}
			done()
			p.wait()
			if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("service", func(b *testing.B) {
		w := newWorld(b, nil)
		b.SetBytes(zeros)
		for b.Loop() {
			p := w.start("p", zerosCmd())
			r := p.stdout()
			var f rpc.Frame
			for !f.End {
				if err := r.RecvMsg(&f); err != nil {
					b.Fatal(err)
				}
				r.at = f.Offset + uint64(f.Data.Len())
				f.Free()
				if err := r.Send(&circuitv1.OutputRequest{Ack: r.at}); err != nil && !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
			r.CloseSend()
			p.wait()
			if err := p.scrub(circuitv1.ScrubRequest_REFUSE, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
