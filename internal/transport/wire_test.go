package transport

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/gocircuit/circuit/internal/credential"
)

// countingConn counts what reaches the system.
type countingConn struct {
	net.Conn
	mu            sync.Mutex
	writes, reads []int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.reads = append(c.reads, n)
	c.mu.Unlock()
	return n, err
}

func (c *countingConn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes, c.reads = nil, nil
}

// securedPair returns the two ends of an authenticated connection, and what is
// below them.
func securedPair(t *testing.T) (a, b *secured, below [2]*countingConn) {
	t.Helper()
	key := credential.NewKey()
	here, there := newMemoryPair(NewMemory(), memoryAddr{"a", 1}, memoryAddr{"b", 1})
	below = [2]*countingConn{{Conn: here}, {Conn: there}}
	wa, wb := newWire(below[0], new(buffers)), newWire(below[1], new(buffers))
	a = newSecured(tls.Server(wa, newCredential(t, key, credential.Server, testID).ServerTLS()), wa, credential.Peer{})
	b = newSecured(tls.Client(wb, newCredential(t, key, credential.Client, 0).ClientTLS(0)), wb, credential.Peer{})
	failed := make(chan error, 1)
	go func() { failed <- a.Handshake() }()
	if err := b.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	below[0].reset()
	below[1].reset()
	return a, b, below
}

func TestWritesAreJoined(t *testing.T) {
	a, b, below := securedPair(t)
	data := bytes.Repeat([]byte("circuit "), 128<<10/8)
	if n, err := a.Write(data); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	if w := below[0].writes; len(w) != 1 || w[0] <= len(data) {
		t.Errorf("128 KiB went out in writes of %v", w)
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("they did not arrive as they were: %v", err)
	}
	if r := below[1].reads; len(r) > 5 {
		t.Errorf("128 KiB came in by %d reads: %v", len(r), r)
	}
}

func TestSmallWritesAreNotDelayed(t *testing.T) {
	a, b, below := securedPair(t)
	for i := range 3 {
		if _, err := a.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if w := below[0].writes; len(w) != i+1 {
			t.Errorf("after %d small writes there were %d below", i+1, len(w))
		}
	}
	if a.wire.out != nil {
		t.Error("a write buffer is held")
	}
	if _, err := io.ReadFull(b, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if b.wire.ahead != nil {
		t.Error("a read-ahead buffer is held by an idle connection")
	}
}

func TestBuffersAreReturned(t *testing.T) {
	a, b, _ := securedPair(t)
	const size = 1<<20 + 1
	go func() {
		a.Write(make([]byte, size))
		a.Write([]byte("the end"))
	}()
	if _, err := io.ReadFull(b, make([]byte, size+7)); err != nil {
		t.Fatal(err)
	}
	go a.Write([]byte("x"))
	if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if b.wire.ahead != nil && b.wire.from < b.wire.to {
		t.Error("something is left in the read-ahead buffer")
	}
	a.wire.mu.Lock()
	defer a.wire.mu.Unlock()
	if a.wire.out != nil {
		t.Error("a write buffer is held")
	}
}

// TestAnySizesArrive sends writes of random sizes both ways at once.
func TestAnySizesArrive(t *testing.T) {
	a, b, _ := securedPair(t)
	send := func(c *secured, seed uint64) []byte {
		rng := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 3<<20)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		go func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(1<<rng.IntN(19)))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		}()
		return data
	}
	want := map[*secured][]byte{b: send(a, 1), a: send(b, 2)}
	var readers sync.WaitGroup
	for c, data := range want {
		readers.Go(func() {
			got := make([]byte, len(data))
			rng := rand.New(rand.NewPCG(3, 3))
			for n := 0; n < len(got); {
				k, err := c.Read(got[n:min(len(got), n+1+rng.IntN(100_000))])
				if err != nil {
					t.Error(err)
					return
				}
				n += k
			}
			if !bytes.Equal(got, data) {
				t.Error("what arrived is not what was sent")
			}
		})
	}
	readers.Wait()
}

func TestWriteAfterBreak(t *testing.T) {
	a, b, _ := securedPair(t)
	b.abort()
	select {
	case <-b.gone:
	default:
		t.Error("gone is not closed")
	}
	var err error
	for range 100 {
		if _, err = a.Write(make([]byte, 100<<10)); err != nil {
			return
		}
	}
	t.Error("writes to a closed connection succeed")
}
