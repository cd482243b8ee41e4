package transport

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"math"
	"sync"
)

// A datagram on the wire: which link it is for, in numbers that the receiver
// chose; a counter; what it carries; and a truncated HMAC-SHA-256 of all that
// (RFC 2104). With the headers of UDP and IPv4 it is 56 bytes, of IPv6 76, which
// every path carries whole.
const (
	tagSize     = 4
	counterSize = 4
	// DatagramData is how many bytes one datagram carries.
	DatagramData = 12
	macSize      = 8

	signedSize   = tagSize + counterSize + DatagramData
	datagramSize = signedSize + macSize

	datagramKey = 32 // bytes of the key of one direction
	// datagramLabel separates these keys from anything else that is derived from
	// a connection's secrets (RFC 8446, 7.5).
	datagramLabel = "EXPORTER-circuit-datagrams-v1"
)

// Binding stands for a connection whose two ends derive secrets from it that
// nobody else knows.
type Binding struct {
	conn    *secured
	dialled bool // by this end
}

// Binding returns the one of the connection for small calls.
func (c *Conn) Binding() Binding { return Binding{c.main.conn, true} }

// BindingFrom returns that of the connection that the call of ctx came in on; ok
// is false where ctx is not that of a call served through a Listener.
func BindingFrom(ctx context.Context) (b Binding, ok bool) {
	auth, ok := authFrom(ctx)
	return Binding{auth.conn, false}, ok
}

// datagramKeys derives the keys of a flow on the connection, from the tags that
// its two ends chose. So they differ for each link, should a connection have
// several.
func (b Binding) datagramKeys(ownTag, peerTag uint32) (out, in []byte, err error) {
	dialler, acceptor := peerTag, ownTag
	if b.dialled {
		dialler, acceptor = ownTag, peerTag
	}
	var tags [2 * tagSize]byte
	binary.BigEndian.PutUint32(tags[:], dialler)
	binary.BigEndian.PutUint32(tags[tagSize:], acceptor)
	state := b.conn.ConnectionState()
	keys, err := state.ExportKeyingMaterial(datagramLabel, tags[:], 2*datagramKey)
	if err != nil {
		return nil, nil, err
	}
	out, in = keys[:datagramKey], keys[datagramKey:] // the dialling side's come first
	if !b.dialled {
		out, in = in, out
	}
	return out, in, nil
}

// sealer makes the datagrams of one direction of a link.
type sealer struct {
	mu      sync.Mutex
	mac     hash.Hash
	counter uint32
	buf     [signedSize + sha256.Size]byte // the tag is in place
}

// open is called with mu held.
func (s *sealer) open(key []byte, tag uint32) {
	s.mac = hmac.New(sha256.New, key)
	binary.BigEndian.PutUint32(s.buf[:], tag)
}

// seal returns the next datagram, valid until the next call, or nil if the
// counter has come to its end. It is called with mu held, after open.
func (s *sealer) seal(data []byte) []byte {
	if s.counter == math.MaxUint32 {
		return nil
	}
	s.counter++
	binary.BigEndian.PutUint32(s.buf[tagSize:], s.counter)
	copy(s.buf[tagSize+counterSize:signedSize], data)
	s.mac.Reset()
	s.mac.Write(s.buf[:signedSize])
	s.mac.Sum(s.buf[:signedSize])
	return s.buf[:datagramSize]
}

// opener checks the datagrams of the other direction.
type opener struct {
	mu   sync.Mutex
	mac  hash.Hash // nil until open
	seen window
	sum  [sha256.Size]byte
}

func (o *opener) open(key []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mac = hmac.New(sha256.New, key)
}

// check reports whether a datagram of the right size is genuine and new.
func (o *opener) check(datagram []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mac == nil {
		return false
	}
	o.mac.Reset()
	o.mac.Write(datagram[:signedSize])
	o.mac.Sum(o.sum[:0])
	if subtle.ConstantTimeCompare(o.sum[:macSize], datagram[signedSize:]) != 1 {
		return false
	}
	return o.seen.accept(binary.BigEndian.Uint32(datagram[tagSize:]))
}
