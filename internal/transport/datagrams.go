package transport

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// maxFlows is how many flows a server may have. At the limit further ones are
// nil: their links go without datagrams.
const maxFlows = 8192

// Datagrams is a server's socket for datagrams. Each link has a Flow of them,
// authenticated by keys that come from the link's connection. Whatever else
// reaches the socket is dropped without a word, at the cost of one look-up, or
// of one HMAC if it guessed a tag.
//
// A nil *Datagrams is a server without a socket: its flows are nil, and a nil
// *Flow sends and receives nothing.
type Datagrams struct {
	network Network
	conn    PacketConn
	closed  chan struct{}
	once    sync.Once
	reader  sync.WaitGroup

	mu    sync.RWMutex
	flows map[uint32]*Flow // by tag
}

// ListenDatagrams opens the socket at addr, HOST:PORT. Errors are those of
// Listen.
func ListenDatagrams(network Network, addr string) (*Datagrams, error) {
	conn, err := network.ListenPacket(addr)
	if err != nil {
		return nil, listenError(addr, err)
	}
	d := &Datagrams{network: network, conn: conn, closed: make(chan struct{}), flows: make(map[uint32]*Flow)}
	d.reader.Go(d.read)
	return d, nil
}

// Close closes the socket and waits until nothing is received any more.
func (d *Datagrams) Close() error {
	if d == nil {
		return nil
	}
	var err error
	d.once.Do(func() {
		close(d.closed)
		err = d.conn.Close()
	})
	d.reader.Wait()
	return err
}

// read takes in datagrams until the socket is closed.
func (d *Datagrams) read() {
	var buf [datagramSize + 1]byte // one more, to tell what is too long
	rest := time.Duration(0)
	for {
		n, err := d.conn.Read(buf[:])
		switch {
		case err == nil:
			rest = 0
			if n == datagramSize {
				d.receive(buf[:datagramSize])
			}
		case errors.Is(err, net.ErrClosed):
			return
		default: // some systems report here what became of an earlier write
			rest = min(max(2*rest, acceptRestLeast), acceptRestMost)
			if !restUnless(rest, d.closed) {
				return
			}
		}
	}
}

func (d *Datagrams) receive(datagram []byte) {
	d.mu.RLock()
	f := d.flows[binary.BigEndian.Uint32(datagram)]
	d.mu.RUnlock()
	if f != nil && f.in.check(datagram) {
		f.receive([DatagramData]byte(datagram[tagSize+counterSize:]))
	}
}

// Flow is the datagrams of one link: small, possibly lost, never doubled nor
// altered, in any order. Its methods may be called from any goroutine.
type Flow struct {
	datagrams *Datagrams
	tag       uint32
	receive   func([DatagramData]byte) // set before in is opened
	in        opener
	out       sealer
	to        net.Addr // guarded by out.mu; nil: nothing can be sent
}

// NewFlow makes a flow that is not open yet. It is the caller's to close.
func (d *Datagrams) NewFlow() *Flow {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.flows) >= maxFlows {
		return nil
	}
	f := &Flow{datagrams: d}
	for f.tag == 0 || d.flows[f.tag] != nil {
		f.tag = rand.Uint32()
	}
	d.flows[f.tag] = f
	return f
}

// Tag returns what the other end needs to send: a number other than 0, or 0 for
// a nil Flow, to which nothing can be sent.
func (f *Flow) Tag() uint32 {
	if f == nil {
		return 0
	}
	return f.tag
}

// Link is what a Flow needs to know of the link that it belongs to.
type Link struct {
	// Binding is that of the link's connection.
	Binding Binding
	// PeerTag is the Tag of the other end's flow; 0 if it has none.
	PeerTag uint32
	// PeerAddr is the HOST:PORT that the other end advertises.
	PeerAddr string
	// Receive is given what comes in, one after the other. While it blocks, no
	// flow receives anything. It may still be called once after the flow's Close.
	Receive func(data [DatagramData]byte)
}

// Open begins to receive and to send. It does not wait for anything. An error
// says why nothing can be sent; the flow is then of no use. Open is called once.
func (f *Flow) Open(link Link) error {
	if f == nil || link.PeerTag == 0 {
		return errors.New("one of the two ends has no socket for datagrams")
	}
	to, err := f.datagrams.network.PacketAddr(link.PeerAddr, link.Binding.conn.RemoteAddr())
	if err != nil {
		return err
	}
	out, in, err := link.Binding.datagramKeys(f.tag, link.PeerTag)
	if err != nil {
		return err
	}
	f.receive = link.Receive
	f.in.open(in)
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.out.open(out, link.PeerTag)
	f.to = to
	return nil
}

// Send sends data, of which there are DatagramData bytes, and reports whether
// the system took it. On Linux it never waits; elsewhere only, in theory, for room
// in the system's buffer, which holds hundreds of datagrams.
func (f *Flow) Send(data []byte) bool {
	if f == nil || len(data) != DatagramData {
		return false
	}
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	if f.to == nil {
		return false
	}
	b := f.out.seal(data)
	if b == nil {
		return false
	}
	_, err := f.datagrams.conn.WriteTo(b, f.to)
	return err == nil
}

// Close ends the flow: nothing is sent after it. It does not overlap Open.
func (f *Flow) Close() {
	if f == nil {
		return
	}
	f.datagrams.mu.Lock()
	delete(f.datagrams.flows, f.tag)
	f.datagrams.mu.Unlock()
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.to = nil
}
