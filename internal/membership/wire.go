package membership

import (
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/directory"
)

// Limits of the encoding. What exceeds them is malformed.
const (
	maxMessage  = 1 << 20
	maxRecords  = 4096 // of one message
	maxEvents   = maxRecent
	maxPrefixes = askWindow
	maxDepth    = 16 // nibbles of a prefix
	maxEvent    = MaxData + 4096
	maxAddress  = 512
	maxVersion  = 128
	maxExtra    = 1024 // unknown fields of one record

	maxIncarnation = 1 << 31
)

// The kinds of messages: each message has exactly one of these fields.
// docs/overlay.md describes them.
const (
	kindRoot      protowire.Number = 1 + iota // what I know, as a digest: ask
	kindAsk                                   // tell me what lies under these prefixes
	kindChildren                              // the digests of what lies under the sixteen longer ones
	kindRecords                               // all records under one
	kindPast                                  // events that are no records, which you may have missed
	kindSynced                                // I know all that you did
	kindResync                                // send me a Root
	kindNews                                  // a batch that is news to me
	kindEvent                                 // a change, numbered by its origin
	kindSignal                                // a pulse, a probe, or an answer; also sent as a datagram
	kindDatagrams                             // whether your datagrams get through
	kindPacked                                // another message, compressed
)

var errMalformed = errors.New("membership: malformed message")

// message is any message of the membership protocol. The fields that a kind
// does not use are zero.
type message struct {
	kind protowire.Number

	digest directory.Digest // Root: of what the sender tells
	count  uint64           // Root: servers in the circuit
	recent uint64           // Root: events that Past would tell

	prefixes []directory.Prefix   // Ask; Children and Records: one, that was asked for
	whole    bool                 // Ask: records, however many there are
	past     bool                 // Ask: the recent events
	children [16]directory.Digest // Children

	records []entry // Records, News
	events  []event // Past, News
	more    bool    // Records, Past, News: another part follows

	event  *event // Event
	signal signal // Signal
	on     bool   // Datagrams: they get through
	packed []byte // Packed; while it is decoded only
}

// entry is a record on its way, with what the wire says besides (rule M1).
type entry struct {
	directory.Record        // Since is not set
	ago              uint64 // seconds since it departed
	gone             bool   // of a suspicion: there is proof that the process is not there any more
}

// event is a change, or a broadcast, as its origin numbered it.
type event struct {
	origin circuit.ServerID
	number uint64
	record *entry // nil: not about a server
	data   []byte // of a Broadcast; nil: it is none
	raw    []byte // all of its encoding, which is passed on as it is
}

// field is one field of a message being decoded.
type field struct {
	num protowire.Number
	typ protowire.Type
	v   uint64 // of a varint, fixed64 or fixed32
	b   []byte // of bytes
	raw []byte // all of it
}

// eachField calls do with every field of b.
func eachField(b []byte, do func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		f := field{num: num, typ: typ}
		var m int
		switch typ {
		case protowire.VarintType:
			f.v, m = protowire.ConsumeVarint(b[n:])
		case protowire.Fixed64Type:
			f.v, m = protowire.ConsumeFixed64(b[n:])
		case protowire.BytesType:
			f.b, m = protowire.ConsumeBytes(b[n:])
		default:
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		}
		if m < 0 {
			return errMalformed
		}
		f.raw = b[:n+m]
		b = b[n+m:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether f is a certain field of a certain type.
func (f field) is(num protowire.Number, typ protowire.Type) bool { return f.num == num && f.typ == typ }

// decode takes what encode made. A message of an unknown kind has kind 0.
// Nothing of it shares memory with b.
func decode(b []byte) (message, error) {
	msg, err := decodeOnce(b)
	if err != nil || msg.kind != kindPacked {
		return msg, err
	}
	plain, err := unpack(msg.packed)
	if err != nil {
		return message{}, err
	}
	if msg, err = decodeOnce(plain); err == nil && msg.kind == kindPacked {
		err = errMalformed
	}
	return msg, err
}

func decodeOnce(b []byte) (message, error) {
	var msg message
	if len(b) > maxMessage {
		return msg, errMalformed
	}
	err := eachField(b, func(f field) error {
		if f.typ != protowire.BytesType || f.num < kindRoot || f.num > kindPacked {
			return nil
		}
		if msg.kind != 0 {
			return errMalformed
		}
		msg.kind = f.num
		return msg.setBody(f.b)
	})
	if err != nil {
		return message{}, err
	}
	return msg, nil
}

// setBody takes the body of a message of a known kind.
func (msg *message) setBody(b []byte) error {
	switch msg.kind {
	case kindEvent:
		e, err := decodeEvent(b)
		msg.event = &e
		return err
	case kindSignal:
		s, err := decodeSignal(b)
		msg.signal = s
		return err
	case kindPacked:
		msg.packed = b
		return nil
	}
	return eachField(b, msg.set)
}

// set takes one field of the message's body. Unknown ones are skipped.
func (msg *message) set(f field) error {
	switch msg.kind {
	case kindRoot:
		switch {
		case f.is(1, protowire.Fixed64Type):
			msg.digest = directory.Digest(f.v)
		case f.is(2, protowire.VarintType):
			msg.count = f.v
		case f.is(3, protowire.VarintType):
			msg.recent = f.v
		}
	case kindAsk:
		switch {
		case f.is(1, protowire.BytesType):
			return msg.setPrefix(f.b, maxPrefixes)
		case f.is(2, protowire.VarintType):
			msg.whole = f.v != 0
		case f.is(3, protowire.VarintType):
			msg.past = f.v != 0
		}
	case kindChildren:
		switch {
		case f.is(1, protowire.BytesType):
			return msg.setPrefix(f.b, 1)
		case f.is(2, protowire.BytesType):
			return msg.setChildren(f.b)
		}
	case kindRecords, kindPast, kindNews:
		return msg.setPart(f)
	case kindDatagrams:
		if f.is(1, protowire.VarintType) {
			msg.on = f.v != 0
		}
	}
	return nil
}

func (msg *message) setPrefix(b []byte, most int) error {
	var p directory.Prefix
	err := eachField(b, func(f field) error {
		switch {
		case f.is(1, protowire.Fixed64Type):
			p.Bits = f.v
		case f.is(2, protowire.VarintType) && f.v <= maxDepth:
			p.Depth = uint8(f.v)
		case f.num <= 2:
			return errMalformed
		}
		return nil
	})
	if err != nil || len(msg.prefixes) >= most {
		return errMalformed
	}
	msg.prefixes = append(msg.prefixes, p)
	return nil
}

func (msg *message) setChildren(b []byte) error {
	if len(b) != 8*len(msg.children) {
		return errMalformed
	}
	for i := range msg.children {
		msg.children[i] = directory.Digest(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return nil
}

func (msg *message) setPart(f field) error {
	switch {
	case f.is(1, protowire.BytesType) && msg.kind != kindPast:
		e, err := decodeEntry(f.b)
		if err != nil || len(msg.records) >= maxRecords {
			return errMalformed
		}
		msg.records = append(msg.records, e)
	case f.is(2, protowire.BytesType) && msg.kind != kindRecords:
		e, err := decodeEvent(f.b)
		if err != nil || len(msg.events) >= maxEvents {
			return errMalformed
		}
		msg.events = append(msg.events, e)
	case f.is(3, protowire.VarintType):
		msg.more = f.v != 0
	case f.is(4, protowire.BytesType) && msg.kind == kindRecords:
		return msg.setPrefix(f.b, 1)
	}
	return nil
}

func decodeEvent(b []byte) (event, error) {
	var e event
	if len(b) > maxEvent {
		return e, errMalformed
	}
	e.raw = append([]byte{}, b...)
	err := eachField(e.raw, func(f field) error {
		switch {
		case f.is(1, protowire.Fixed64Type):
			e.origin = circuit.ServerID(f.v)
		case f.is(2, protowire.VarintType) && f.v>>epochBits <= maxIncarnation:
			e.number = f.v
		case f.is(3, protowire.BytesType):
			r, err := decodeEntry(f.b)
			e.record = &r
			return err
		case f.is(4, protowire.BytesType) && len(f.b) <= MaxData:
			e.data = append([]byte{}, f.b...)
		case f.num <= 4:
			return errMalformed
		}
		return nil
	})
	return e, err
}

func decodeEntry(b []byte) (entry, error) {
	var e entry
	err := eachField(b, func(f field) error {
		switch {
		case f.is(1, protowire.Fixed64Type):
			e.ID = circuit.ServerID(f.v)
		case f.is(2, protowire.BytesType) && len(f.b) <= maxAddress:
			e.Address = string(f.b)
		case f.is(3, protowire.Fixed64Type):
			e.Instance = f.v
		case f.is(4, protowire.VarintType) && f.v <= maxIncarnation:
			e.Incarnation = f.v
		case f.is(5, protowire.BytesType) && len(f.b) <= maxVersion:
			e.Version = string(f.b)
		case f.is(6, protowire.VarintType):
			e.State = directory.State(min(f.v, 255))
		case f.is(7, protowire.VarintType) && f.v>>epochBits <= maxIncarnation:
			e.Events = f.v
		case f.is(8, protowire.VarintType):
			e.ago = f.v
		case f.is(9, protowire.VarintType):
			e.gone = f.v != 0
		case f.num <= 9 || len(e.Extra)+len(f.raw) > maxExtra:
			return errMalformed
		default:
			e.Extra += string(f.raw)
		}
		return nil
	})
	return e, err
}

// DatagramSize is how long every datagram is, in bytes.
const DatagramSize = 12

// The kinds of signals.
const (
	sigPulse uint8 = 1 + iota // I live
	sigProbe                  // say something
	sigAck                    // something
)

// signal is what fits into a datagram.
type signal struct {
	kind   uint8
	quiet  time.Duration    // since the digest changed, in steps of quietUnit
	next   time.Duration    // until the next pulse on this link, in steps of nextUnit
	digest directory.Digest // of the servers in the circuit
}

const (
	quietUnit = 100 * time.Millisecond // up to 25.5 s
	nextUnit  = 2 * time.Millisecond   // up to 131 s
)

func (s signal) encode() []byte {
	b := make([]byte, 0, DatagramSize)
	b = append(b, s.kind, uint8(min(max(s.quiet, 0)/quietUnit, 255)))
	b = binary.LittleEndian.AppendUint16(b, uint16(min((max(s.next, 0)+nextUnit-1)/nextUnit, 1<<16-1)))
	return binary.LittleEndian.AppendUint64(b, uint64(s.digest))
}

func decodeSignal(b []byte) (signal, error) {
	if len(b) != DatagramSize || b[0] < sigPulse || b[0] > sigAck {
		return signal{}, errMalformed
	}
	return signal{
		kind:   b[0],
		quiet:  time.Duration(b[1]) * quietUnit,
		next:   time.Duration(binary.LittleEndian.Uint16(b[2:])) * nextUnit,
		digest: directory.Digest(binary.LittleEndian.Uint64(b[4:])),
	}, nil
}
