package transport

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
)

// BenchmarkStream compares one stream of chunks over loopback, in each
// direction, with a bare TLS connection.
func BenchmarkStream(b *testing.B) {
	b.Run("tls", benchTLS)
	b.Run("down", func(b *testing.B) {
		s := startServer(b, TCP{}, "127.0.0.1:0", ListenConfig{})
		c := s.dial(b, nil)
		b.SetBytes(testChunk)
		b.ResetTimer()
		if n := output(b, b.Context(), c, uint64(b.N)); n != b.N*testChunk {
			b.Fatal(n)
		}
	})
	b.Run("up", func(b *testing.B) {
		s := startServer(b, TCP{}, "127.0.0.1:0", ListenConfig{})
		stream, err := circuitv1.NewProcsClient(s.dial(b, nil)).Stdin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		chunk := mem.BufferSlice{mem.SliceBuffer(make([]byte, testChunk))}
		b.SetBytes(testChunk)
		b.ResetTimer()
		for range b.N {
			if err := stream.SendMsg(&rpc.Frame{Data: chunk}); err != nil {
				b.Fatal(err)
			}
		}
		stream.CloseSend()
		if r, err := stream.Recv(); err != nil || r.Written != uint64(b.N)*testChunk {
			b.Fatal(r, err)
		}
	})
}

// benchTLS sends chunks over crypto/tls as it comes.
func benchTLS(b *testing.B) {
	key := credential.NewKey()
	server := newCredential(b, key, credential.Server, testID).ServerTLS()
	client := newCredential(b, key, credential.Client, 0).ClientTLS(0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	b.SetBytes(testChunk)
	go func() {
		c, err := l.Accept()
		if err != nil {
			sent <- err
			return
		}
		defer c.Close()
		s, chunk := tls.Server(c, server), make([]byte, testChunk)
		for range b.N {
			if _, err := s.Write(chunk); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseWrite()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	c, buf, n := tls.Client(raw, client), make([]byte, testChunk), 0
	for err == nil {
		var k int
		k, err = c.Read(buf)
		n += k
	}
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
	if err != io.EOF || n != b.N*testChunk {
		b.Fatal(n, err)
	}
}

// BenchmarkCall is a small call after another, and from many callers at once.
func BenchmarkCall(b *testing.B) {
	for _, tt := range []struct {
		name    string
		callers int
	}{{"1", 1}, {"64", 32}} {
		b.Run(tt.name, func(b *testing.B) {
			s := startServer(b, TCP{}, "127.0.0.1:0", ListenConfig{})
			c := s.dial(b, nil)
			go func() {
				for range s.calls {
				}
			}()
			defer func() { s.calls = nil }()
			if tt.callers == 1 {
				for b.Loop() {
					if err := signal(context.Background(), c); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(tt.callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := signal(context.Background(), c); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkDial is what a command pays before its first call.
func BenchmarkDial(b *testing.B) {
	s := startServer(b, TCP{}, "127.0.0.1:0", ListenConfig{})
	d := s.dialer(b, nil)
	for b.Loop() {
		c, err := d.Dial(context.Background(), s.Addr().String(), testID)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
