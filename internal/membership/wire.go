package membership

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
)

// Limits of the encoding. What exceeds them is malformed.
const (
	maxMessage = 1 << 20
	maxRecords = 4096 // of one message
	maxAddress = 512
	maxVersion = 128
	maxExtra   = 1024 // unknown fields of one record

	maxIncarnation = 1 << 31
)

// The kinds of messages: each message has exactly one of these fields.
// docs/overlay.md describes them.
const (
	kindDirectory protowire.Number = 1 + iota // records, and how far each origin's events are known
	kindEvent                                 // a change, numbered by its origin
	kindPulse                                 // I live; and when I shall say so next
	kindProbe                                 // say something
	kindAck                                   // something
	kindVote                                  // what I think of a server that I observe
	kindAlarm                                 // look at that server, now
)

var errMalformed = errors.New("membership: malformed message")

// message is any message of the membership protocol. The fields that a kind
// does not use are zero.
type message struct {
	kind protowire.Number

	records []entry // Directory
	more    bool    // Directory: another part follows
	reply   bool    // Directory: please send yours

	origin circuit.ServerID // Event
	seq    uint64           // Event
	record *entry           // Event; nil if it is of a kind that this version does not know

	next   uint64    // Pulse: milliseconds to the next one
	quiet  uint64    // Pulse: milliseconds since the digest changed
	digest [2]uint64 // Pulse: of the servers in the circuit

	subject     circuit.ServerID // Vote, Alarm
	incarnation uint64           // Vote
	verdict     verdict          // Vote
}

// entry is a record on its way: with what the wire says besides.
type entry struct {
	Record
	seq   uint64 // number of the last event known that its server originated
	ago   uint64 // seconds since it departed
	extra string // fields of a later version, passed on as they are
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
func decode(b []byte) (message, error) {
	var msg message
	if len(b) > maxMessage {
		return msg, errMalformed
	}
	err := eachField(b, func(f field) error {
		if f.typ != protowire.BytesType || f.num < kindDirectory || f.num > kindAlarm {
			return nil
		}
		if msg.kind != 0 {
			return errMalformed
		}
		msg.kind = f.num
		return eachField(f.b, msg.set)
	})
	if err != nil {
		return message{}, err
	}
	return msg, nil
}

// set takes one field of the message's body. Unknown ones are skipped.
func (msg *message) set(f field) error {
	switch msg.kind {
	case kindDirectory:
		return msg.setDirectory(f)
	case kindEvent:
		return msg.setEvent(f)
	case kindPulse:
		switch {
		case f.is(1, protowire.VarintType):
			msg.next = f.v
		case f.is(2, protowire.Fixed64Type):
			msg.digest[0] = f.v
		case f.is(3, protowire.Fixed64Type):
			msg.digest[1] = f.v
		case f.is(4, protowire.VarintType):
			msg.quiet = f.v
		}
	case kindVote, kindAlarm:
		switch {
		case f.is(1, protowire.Fixed64Type):
			msg.subject = circuit.ServerID(f.v)
		case f.is(2, protowire.VarintType):
			msg.incarnation = f.v
		case f.is(3, protowire.VarintType):
			msg.verdict = verdict(min(f.v, uint64(gone)+1))
		}
	}
	return nil
}

func (msg *message) setDirectory(f field) error {
	switch {
	case f.is(1, protowire.BytesType):
		e, err := decodeEntry(f.b)
		if err != nil {
			return err
		}
		if len(msg.records) >= maxRecords {
			return errMalformed
		}
		msg.records = append(msg.records, e)
	case f.is(2, protowire.VarintType):
		msg.more = f.v != 0
	case f.is(3, protowire.VarintType):
		msg.reply = f.v != 0
	}
	return nil
}

func (msg *message) setEvent(f field) error {
	switch {
	case f.is(1, protowire.Fixed64Type):
		msg.origin = circuit.ServerID(f.v)
	case f.is(2, protowire.VarintType):
		msg.seq = f.v
	case f.is(3, protowire.BytesType):
		e, err := decodeEntry(f.b)
		if err != nil {
			return err
		}
		msg.record = &e
	}
	return nil
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
			e.State = State(min(f.v, 255))
		case f.is(7, protowire.VarintType):
			e.seq = f.v
		case f.is(8, protowire.VarintType):
			e.ago = f.v
		case f.num <= 8 || len(e.extra)+len(f.raw) > maxExtra:
			return errMalformed
		default:
			e.extra += string(f.raw)
		}
		return nil
	})
	return e, err
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendFixed(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendFlag(b []byte, num protowire.Number, on bool) []byte {
	if !on {
		return b
	}
	return appendUint(b, num, 1)
}

func (e *entry) encode() []byte {
	b := make([]byte, 0, 48+len(e.Address)+len(e.Version)+len(e.extra))
	b = appendFixed(b, 1, uint64(e.ID))
	b = appendText(b, 2, e.Address)
	b = appendFixed(b, 3, e.Instance)
	b = appendUint(b, 4, e.Incarnation)
	b = appendText(b, 5, e.Version)
	b = appendUint(b, 6, uint64(e.State))
	b = appendUint(b, 7, e.seq)
	b = appendUint(b, 8, e.ago)
	return append(b, e.extra...)
}

func (msg *message) encode() []byte {
	var b []byte
	for i := range msg.records {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, msg.records[i].encode())
	}
	switch msg.kind {
	case kindDirectory:
		b = appendFlag(b, 2, msg.more)
		b = appendFlag(b, 3, msg.reply)
	case kindEvent:
		b = appendFixed(b, 1, uint64(msg.origin))
		b = appendUint(b, 2, msg.seq)
		if msg.record != nil {
			b = protowire.AppendTag(b, 3, protowire.BytesType)
			b = protowire.AppendBytes(b, msg.record.encode())
		}
	case kindPulse:
		b = appendUint(b, 1, msg.next)
		b = appendFixed(b, 2, msg.digest[0])
		b = appendFixed(b, 3, msg.digest[1])
		b = appendUint(b, 4, msg.quiet)
	case kindVote, kindAlarm:
		b = appendFixed(b, 1, uint64(msg.subject))
		b = appendUint(b, 2, msg.incarnation)
		b = appendUint(b, 3, uint64(msg.verdict))
	}
	out := make([]byte, 0, len(b)+8)
	return protowire.AppendBytes(protowire.AppendTag(out, msg.kind, protowire.BytesType), b)
}
