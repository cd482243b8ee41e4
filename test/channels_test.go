package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocircuit/circuit/client"
)

// channel is the state of a channel as peek prints it.
func channel(t *testing.T, w *world, s *server, path string) client.ChanStat {
	t.Helper()
	var stat client.ChanStat
	if err := json.Unmarshal([]byte(w.must(t, "", "peek", "-d", s.url, path)), &stat); err != nil {
		t.Fatal(err)
	}
	return stat
}

// receivers returns how many receivers wait at a channel.
func receivers(t *testing.T, w *world, s *server, path string) int {
	t.Helper()
	return channel(t, w, s, path).Receivers
}

// TestKilledReceiver kills a receiver that waits, and wants the next message to
// reach the next receiver.
func TestKilledReceiver(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/channel"
	w.must(t, "", "mkchan", "-d", servers[0].url, path, "1")
	for i := range size(10, 100) {
		s := servers[i%2]
		blocked := w.begin(t, nil, "recv", "-d", s.url, path)
		w.await(t, 5*time.Second, "the receiver waits", func() bool { return receivers(t, w, s, path) == 1 })
		blocked.kill()
		text := fmt.Sprintf("message %d\n", i)
		w.must(t, text, "send", "-d", s.url, path)
		if got := w.must(t, "", "recv", "--timeout", "10s", "-d", s.url, path); got != text {
			t.Fatalf("received %q, want %q", got, text)
		}
	}
}

// TestBrokenMessage breaks a message of 10 MiB off in the middle, on either
// side, and wants the other side to be told.
func TestBrokenMessage(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	w := newWorld(t)
	servers := w.circuit(t, 2)
	path := servers[0].path + "/channel"
	w.must(t, "", "mkchan", "-d", servers[0].url, path)

	t.Run("receiver", func(t *testing.T) {
		out, in := pipe(t)
		receiver := w.beginInto(t, nil, in, "recv", "-d", servers[1].url, path)
		in.Close()
		sender := w.begin(t, bytes.NewReader(message), "send", "-d", servers[0].url, path)
		if _, err := io.CopyN(io.Discard, out, 1<<20); err != nil {
			t.Fatal(err)
		}
		receiver.kill()
		if r := sender.wait(); r.code == 0 || r.code >= 124 || !strings.HasPrefix(r.stderr, "circuit: send "+path) {
			t.Errorf("send: exit code %d: %s", r.code, r.stderr)
		}
	})
	t.Run("sender", func(t *testing.T) {
		input, feed := pipe(t)
		out, in := pipe(t)
		receiver := w.beginInto(t, nil, in, "recv", "-d", servers[1].url, path)
		in.Close()
		sender := w.begin(t, input, "send", "-d", servers[0].url, path)
		input.Close()
		if _, err := feed.Write(message[:1<<20]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, out, 1); err != nil {
			t.Fatal(err)
		}
		sender.kill()
		go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the receiver
		if r := receiver.wait(); r.code == 0 || r.code >= 124 || !strings.HasPrefix(r.stderr, "circuit: recv "+path) {
			t.Errorf("recv: exit code %d: %s", r.code, r.stderr)
		}
	})
	if got := channel(t, w, servers[0], path); got.NumRecv != 0 || got.Receivers != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// pipe returns the two ends of a pipe of the system.
func pipe(t *testing.T) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out.Close()
		in.Close()
	})
	return out, in
}

// TestManyMessages passes numbered messages from 16 senders to 16 receivers, and
// wants each received exactly once.
func TestManyMessages(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 3)
	got, redelivered := w.passMessages(t, servers, size(8_000, 100_000), func(s *server) string { return s.url }, false)
	for message, n := range got {
		if n != 1 {
			t.Errorf("message %q was received %d times", message, n)
		}
	}
	if redelivered != 0 {
		t.Errorf("%d messages were redelivered", redelivered)
	}
}

// TestCutReceivers does the same while the receivers' connections are cut at
// random: each message is received once, or again and then marked so.
func TestCutReceivers(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 3)
	proxies := make(map[string]*proxy)
	for _, s := range servers {
		proxies[s.name] = newProxy(t, s.addr)
	}
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				proxies[servers[rand.IntN(len(servers))].name].cut()
			case <-stop:
				return
			}
		}
	})
	got, redelivered := w.passMessages(t, servers, size(4_000, 100_000), func(s *server) string {
		return strings.Replace(s.url, s.addr, proxies[s.name].addr, 1)
	}, true)
	close(stop)
	cutter.Wait()
	for message, n := range got {
		if n != 1 {
			t.Errorf("message %q was received %d times without a mark", message, n)
		}
	}
	t.Logf("%d deliveries were marked as redelivered", redelivered)
}

// passMessages sends n numbered messages by 16 senders and receives them by 16
// receivers, which dial in as via says and, if again is set, go on until all is
// received when they fail. It returns how often each message was first
// delivered, or only delivered again, and how many deliveries were marked.
func (w *world) passMessages(t *testing.T, servers []*server, n int, via func(*server) string, again bool) (map[string]int, int) {
	t.Helper()
	const sides = 16
	path := servers[0].path + "/channel"
	w.must(t, "", "mkchan", "-d", servers[0].url, path, "100")
	began := time.Now()

	outputs := make([]bytes.Buffer, sides)
	var receiving sync.WaitGroup
	for i := range sides {
		s := servers[i%len(servers)]
		receiving.Go(func() {
			for {
				c, err := w.background(nil, &outputs[i], "recv", "--all", "-o", "json", "-d", via(s), path)
				if err != nil {
					t.Error(err)
					return
				}
				r := c.wait()
				switch {
				case r.code == 0:
					return
				case !again || r.stderr == "" || time.Since(began) > runLimit()/2:
					t.Errorf("recv: exit code %d: %s", r.code, r.stderr)
					return
				}
				outputs[i].WriteString("\n") // ends a line that was cut off
			}
		})
	}
	var sending sync.WaitGroup
	for i := range sides {
		sending.Go(func() {
			var lines strings.Builder
			for m := i; m < n; m += sides {
				lines.WriteString(strconv.Itoa(m) + "\n")
			}
			if r := w.run(lines.String(), "send", "--lines", "-d", servers[(i+1)%len(servers)].url, path); r.code != 0 {
				t.Errorf("send: exit code %d: %s", r.code, r.stderr)
			}
		})
	}
	sending.Wait()
	w.must(t, "", "close", "-d", servers[0].url, path)
	receiving.Wait()
	took := time.Since(began)
	t.Logf("%d messages in %v, %.0f a second", n, took.Round(time.Millisecond), float64(n)/took.Seconds())
	return countMessages(t, outputs, n)
}

// countMessages counts the deliveries of messages 0 to n-1.
func countMessages(t *testing.T, outputs []bytes.Buffer, n int) (map[string]int, int) {
	t.Helper()
	first, marked := make(map[string]int), make(map[string]int)
	total := 0
	for i := range outputs {
		for line := range strings.Lines(outputs[i].String()) {
			var m struct {
				Redelivered bool
				Data        []byte
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				continue // cut off
			}
			if m.Redelivered {
				total++
				marked[string(m.Data)]++
			} else {
				first[string(m.Data)]++
			}
		}
	}
	for i := range n {
		message := strconv.Itoa(i) + "\n"
		if first[message] == 0 && marked[message] > 0 {
			first[message] = 1 // its first delivery was cut off
		}
		if first[message] == 0 {
			t.Errorf("message %d was lost", i)
		}
	}
	if len(first) > n {
		t.Errorf("%d different messages, %d sent", len(first), n)
	}
	return first, total
}

// proxy passes connections on to a server, until it cuts them.
type proxy struct {
	addr   string
	target string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	all    sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, conns: make(map[net.Conn]bool)}
	p.all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.pass(from) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cut()
		p.all.Wait()
	})
	return p
}

// pass passes one connection on.
func (p *proxy) pass(from net.Conn) {
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		from.Close()
		return
	}
	p.mu.Lock()
	p.conns[from], p.conns[to] = true, true
	if p.closed {
		from.Close()
		to.Close()
	}
	p.mu.Unlock()
	p.all.Go(func() { p.copy(to, from) })
	p.copy(from, to)
}

// copy copies one way, and ends both when that ends.
func (p *proxy) copy(dst, src net.Conn) {
	_, _ = io.Copy(dst, src) // however it ends
	src.Close()
	dst.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, src)
	delete(p.conns, dst)
}

// cut cuts all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an orderly end
		}
		c.Close()
	}
}
