package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocircuit/circuit"
)

// flows is a link between a client's socket and a server's, and what arrives.
type flows struct {
	sockets [2]*Datagrams
	ends    [2]*Flow // the dialling side's, the accepting side's
	got     [2]chan [DatagramData]byte
}

// newFlows links two sockets by a connection from network c to network s.
func newFlows(t testing.TB, s, c Network, serverAddr, clientAddr string) *flows {
	t.Helper()
	server := startServer(t, s, serverAddr, ListenConfig{})
	conn := server.dial(t, c)
	if err := signal(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	bindings := [2]Binding{conn.Binding(), <-server.bound}
	f := new(flows)
	for i, place := range []struct {
		network Network
		addr    string
	}{{c, clientAddr}, {s, server.Addr().String()}} {
		var err error
		if f.sockets[i], err = ListenDatagrams(place.network, place.addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.sockets[i].Close() })
		f.ends[i] = f.sockets[i].NewFlow()
		f.got[i] = make(chan [DatagramData]byte, 4096)
	}
	for i, peerAddr := range []string{serverAddr, clientAddr} {
		host, _, _ := net.SplitHostPort(peerAddr)
		if host == "" {
			host = "127.0.0.1"
		}
		_, port, _ := net.SplitHostPort(f.sockets[1-i].conn.LocalAddr().String())
		if err := f.ends[i].Open(Link{
			Binding: bindings[i], PeerTag: f.ends[1-i].Tag(), PeerAddr: net.JoinHostPort(host, port),
			Receive: func(data [DatagramData]byte) { f.got[i] <- data },
		}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// inMemory runs f with a link from host "c" to host "s".
func inMemory(t *testing.T, f func(t *testing.T, m *Memory, f *flows)) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		f(t, m, newFlows(t, m.Host("s"), m.Host("c"), "s:11022", "c:11022"))
	})
}

// arrived returns how many datagrams have come to an end since the last time.
func (f *flows) arrived(end int) (n int) {
	synctest.Wait()
	for ; len(f.got[end]) > 0; n++ {
		<-f.got[end]
	}
	return n
}

func TestDatagramsOnRealSockets(t *testing.T) {
	for _, pair := range [][2]string{
		{"127.0.0.1:0", "127.0.0.1:0"}, {"[::1]:0", "[::1]:0"}, {"localhost:0", "localhost:0"},
		{":0", ":0"}, {"127.0.0.1:0", ":0"}, // all interfaces: one socket for IPv4 and IPv6
	} {
		t.Run(pair[0]+" "+pair[1], func(t *testing.T) {
			if l, err := net.Listen("tcp", pair[0]); err != nil {
				t.Logf("this machine has no %s: %v", pair[0], err)
				return
			} else {
				l.Close()
			}
			f := newFlows(t, TCP{}, TCP{}, pair[0], pair[1])
			for i, end := range f.ends {
				if !end.Send(testData) {
					t.Fatal("not sent")
				}
				select {
				case got := <-f.got[1-i]:
					if string(got[:]) != string(testData) {
						t.Errorf("got %q", got)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("nothing came")
				}
			}
		})
	}
}

func TestDatagramsMayBeLost(t *testing.T) {
	inMemory(t, func(t *testing.T, m *Memory, f *flows) {
		send := func(end, n int) {
			for range n {
				if !f.ends[end].Send(testData) {
					t.Fatal("not sent")
				}
				synctest.Wait()
			}
		}
		check := func(what string, end, least, most int) {
			t.Helper()
			if n := f.arrived(end); n < least || n > most {
				t.Errorf("%s: %d came, not %d to %d", what, n, least, most)
			}
		}
		send(0, 1000)
		send(1, 1000)
		check("no loss", 1, 1000, 1000)
		check("no loss", 0, 1000, 1000)
		m.Lose("c", "s", 0.25)
		send(0, 1000)
		send(1, 1000)
		check("a quarter", 1, 650, 850)
		check("the other way", 0, 1000, 1000)
		m.Lose("c", "s", 0)
		m.CutOneWay("c", "s")
		send(0, 10)
		send(1, 10)
		check("cut", 1, 0, 0)
		check("the other way", 0, 10, 10)
		m.Heal("c", "s")
		send(0, 1)
		check("healed", 1, 1, 1)
		f.sockets[1].Close()
		send(0, 1)
		check("closed", 1, 0, 0)
	})
}

// TestStrangersDatagrams sends what is not genuine, from a third socket.
func TestStrangersDatagrams(t *testing.T) {
	inMemory(t, func(t *testing.T, m *Memory, f *flows) {
		stranger, err := m.Host("x").ListenPacket("x:0")
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		throw := func(b []byte, end int) int {
			if _, err := stranger.WriteTo(b, f.sockets[end].conn.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			return f.arrived(end)
		}
		// What the dialling side says, as somebody on the way could record it.
		f.ends[0].out.mu.Lock()
		record := slices.Clone(f.ends[0].out.seal(testData))
		f.ends[0].out.mu.Unlock()
		retag := func(tag uint32) []byte {
			b := slices.Clone(record)
			binary.BigEndian.PutUint32(b, tag)
			return b
		}
		for _, tt := range []struct {
			name string
			data []byte
			to   int
		}{
			{"nothing", nil, 1},
			{"too short", record[:datagramSize-1], 1},
			{"too long", append(slices.Clone(record), 0), 1},
			{"no such link", retag(f.ends[1].Tag() + 1), 1},
			{"no link", retag(0), 1},
			{"sent back to its sender", retag(f.ends[0].Tag()), 0},
		} {
			if n := throw(tt.data, tt.to); n != 0 {
				t.Errorf("%s: %d arrived", tt.name, n)
			}
		}
		if n := throw(record, 1); n != 1 {
			t.Errorf("%d arrived of a genuine one from elsewhere", n)
		}
		if n := throw(record, 1); n != 0 {
			t.Error("a replay arrived")
		}
		f.ends[0].Send(testData)
		if f.arrived(1) != 1 {
			t.Error("what follows is lost")
		}
	})
}

func TestFlowEnds(t *testing.T) {
	inMemory(t, func(t *testing.T, m *Memory, f *flows) {
		f.ends[1].Close()
		if !f.ends[0].Send(testData) || f.arrived(1) != 0 {
			t.Error("a closed flow received")
		}
		if f.ends[1].Send(testData) || f.arrived(0) != 0 {
			t.Error("a closed flow sent")
		}
		f.ends[1].Close()
		if n := len(f.sockets[1].flows); n != 0 {
			t.Errorf("%d flows are left", n)
		}
		if f.ends[0].Send(testData[1:]) {
			t.Error("eleven bytes were sent")
		}
		f.sockets[0].Close()
		if f.ends[0].Send(testData) {
			t.Error("sent on a closed socket")
		}
		f.sockets[0].Close()
	})
}

// TestNoDatagrams has no socket at one end or the other.
func TestNoDatagrams(t *testing.T) {
	var none *Datagrams
	f := none.NewFlow()
	if f.Tag() != 0 || f.Send(testData) || f.Open(Link{PeerTag: 1}) == nil {
		t.Error("without a socket, there is a flow")
	}
	f.Close()
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	d, err := ListenDatagrams(NewMemory().Host("a"), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if f = d.NewFlow(); f.Open(Link{}) == nil || f.Send(testData) {
		t.Error("the other end has no socket, and yet something is sent")
	}
}

func TestFlowsAreLimited(t *testing.T) {
	d, err := ListenDatagrams(NewMemory().Host("a"), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tags := make(map[uint32]bool)
	var last *Flow
	for range maxFlows {
		last = d.NewFlow()
		tags[last.Tag()] = true
	}
	if len(tags) != maxFlows || tags[0] {
		t.Errorf("%d tags", len(tags))
	}
	if d.NewFlow() != nil {
		t.Error("there is no limit")
	}
	last.Close()
	if d.NewFlow() == nil {
		t.Error("a closed flow counts")
	}
}

func TestDatagramPortInUse(t *testing.T) {
	m := NewMemory()
	for _, tt := range []struct {
		network Network
		addr    string
	}{{TCP{}, "127.0.0.1:0"}, {m.Host("a"), "a:1"}} {
		first, err := tt.network.ListenPacket(tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ListenDatagrams(tt.network, first.LocalAddr().String()); circuit.KindOf(err) != circuit.Exists {
			t.Errorf("got %v", err)
		}
		first.Close()
		again, err := ListenDatagrams(tt.network, first.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	}
	if _, err := (TCP{}).ListenPacket("127.0.0.1:no"); err == nil {
		t.Error("that is no port")
	}
}

func TestPacketAddr(t *testing.T) {
	near := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 4711}
	for _, tt := range []struct{ addr, want string }{
		{"10.0.0.1:11022", "10.0.0.1:11022"},
		{"[fd00::1]:11022", "[fd00::1]:11022"},
		{"[fe80::1%eth0]:11022", "[fe80::1%eth0]:11022"},
		{"some.host:11022", "10.0.0.9:11022"},
		{"10.0.0.1", ""}, {"10.0.0.1:99999", ""}, {"10.0.0.1:x", ""},
	} {
		got, err := TCP{}.PacketAddr(tt.addr, near)
		if err != nil && tt.want != "" || err == nil && got.String() != tt.want {
			t.Errorf("%s: %v, %v", tt.addr, got, err)
		}
	}
	if a, err := (TCP{}).PacketAddr("some.host:11022", memoryAddr{"x", 1}); err == nil {
		t.Errorf("got %v", a)
	}
}

// brokenPackets fails some Reads as a system does that reports there what
// became of earlier writes.
type brokenPackets struct {
	PacketConn
	left atomic.Int64
}

func (p *brokenPackets) Read(b []byte) (int, error) {
	if p.left.Add(-1) >= 0 {
		return 0, syscall.ECONNREFUSED
	}
	return p.PacketConn.Read(b)
}

type brokenNetwork struct{ Network }

func (n brokenNetwork) ListenPacket(addr string) (PacketConn, error) {
	p, err := n.Network.ListenPacket(addr)
	broken := &brokenPackets{PacketConn: p}
	broken.left.Store(9)
	return broken, err
}

func TestDatagramReaderGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		f := newFlows(t, brokenNetwork{m.Host("s")}, m.Host("c"), "s:11022", "c:11022")
		began := time.Now()
		f.ends[0].Send(testData)
		<-f.got[1]
		if took := time.Since(began); took < 9*acceptRestLeast || took > 9*acceptRestMost {
			t.Errorf("it took %v", took)
		}
		f.sockets[1].conn.(*brokenPackets).left.Store(1 << 30)
		f.ends[0].Send(testData)
		f.ends[0].Send(testData) // the first one was being waited for
		time.Sleep(time.Second)
		f.sockets[1].Close() // ends although it rests
	})
}

// TestDatagramsFromManyGoroutines sends, opens and closes all at once.
func TestDatagramsFromManyGoroutines(t *testing.T) {
	f := newFlows(t, TCP{}, TCP{}, "127.0.0.1:0", "127.0.0.1:0")
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range 500 {
				f.ends[0].Send(testData)
				f.ends[1].Send(testData)
				f.sockets[1].NewFlow().Close()
			}
		})
	}
	senders.Go(func() {
		<-f.got[1]
		f.ends[0].Close()
		f.sockets[0].Close()
	})
	senders.Wait()
	if f.ends[0].Send(testData) || !f.ends[1].Send(testData) {
		t.Error("the wrong end is closed")
	}
	f.sockets[1].Close()
	if errors.Is(f.sockets[1].Close(), net.ErrClosed) {
		t.Error("closing twice fails")
	}
}

func TestDatagramsDoNotAllocate(t *testing.T) {
	f := newFlows(t, TCP{}, TCP{}, "127.0.0.1:0", "127.0.0.1:0")
	s, o := sealed()
	d := new(Datagrams)
	d.flows = map[uint32]*Flow{0x01020304: {in: opener{mac: o.mac}, receive: func([DatagramData]byte) {}}}
	if n := testing.AllocsPerRun(100, func() { f.ends[0].Send(testData) }); n != 0 {
		t.Errorf("%v allocations to send", n)
	}
	if n := testing.AllocsPerRun(100, func() { d.receive(s.seal(testData)) }); n != 0 {
		t.Errorf("%v allocations to receive", n)
	}
}

func BenchmarkDatagram(b *testing.B) {
	b.Run("send", func(b *testing.B) {
		f := newFlows(b, TCP{}, TCP{}, "127.0.0.1:0", "127.0.0.1:0")
		f.sockets[1].Close() // so that only sending is measured
		b.ReportAllocs()
		for b.Loop() {
			f.ends[0].Send(testData)
		}
	})
	s, o := sealed()
	genuine := slices.Clone(s.seal(testData))
	d := &Datagrams{flows: map[uint32]*Flow{0x01020304: {in: opener{mac: o.mac}, receive: func([DatagramData]byte) {}}}}
	b.Run("genuine", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.receive(s.seal(testData))
		}
	})
	b.Run("replayed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.receive(genuine)
		}
	})
	b.Run("unknown", func(b *testing.B) {
		unknown := slices.Clone(genuine)
		unknown[0] ^= 1
		b.ReportAllocs()
		for b.Loop() {
			d.receive(unknown)
		}
	})
}
