package membership

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit/internal/directory"
)

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

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendFlag(b []byte, num protowire.Number, on bool) []byte {
	if !on {
		return b
	}
	return appendUint(b, num, 1)
}

func (e *entry) encode() []byte {
	b := make([]byte, 0, 64+len(e.Address)+len(e.Version)+len(e.Extra))
	b = appendFixed(b, 1, uint64(e.ID))
	b = appendText(b, 2, e.Address)
	b = appendFixed(b, 3, e.Instance)
	b = appendUint(b, 4, e.Incarnation)
	b = appendText(b, 5, e.Version)
	b = appendUint(b, 6, uint64(e.State))
	b = appendUint(b, 7, e.Events)
	b = appendUint(b, 8, e.ago)
	b = appendFlag(b, 9, e.gone)
	return append(b, e.Extra...)
}

// encode returns the event's encoding, which is made once, by its origin.
func (e *event) encode() []byte {
	if e.raw != nil {
		return e.raw
	}
	var b []byte
	b = appendFixed(b, 1, uint64(e.origin))
	b = appendUint(b, 2, e.number)
	if e.record != nil {
		b = appendBytes(b, 3, e.record.encode())
	}
	if e.data != nil {
		b = appendBytes(b, 4, e.data)
	}
	e.raw = b
	return b
}

func appendPrefix(b []byte, num protowire.Number, p directory.Prefix) []byte {
	return appendBytes(b, num, appendUint(appendFixed(nil, 1, p.Bits), 2, uint64(p.Depth)))
}

func (msg *message) encode() []byte {
	b := msg.body()
	out := appendBytes(make([]byte, 0, len(b)+8), msg.kind, b)
	if len(out) > packFrom && (msg.kind == kindRecords || msg.kind == kindNews) {
		if packed := pack(out); len(packed) < len(out) {
			return packed
		}
	}
	return out
}

func (msg *message) body() []byte {
	var b []byte
	switch msg.kind {
	case kindRoot:
		b = appendFixed(b, 1, uint64(msg.digest))
		b = appendUint(b, 2, msg.count)
		b = appendUint(b, 3, msg.recent)
	case kindAsk:
		for _, p := range msg.prefixes {
			b = appendPrefix(b, 1, p)
		}
		b = appendFlag(b, 2, msg.whole)
		b = appendFlag(b, 3, msg.past)
	case kindChildren:
		for _, p := range msg.prefixes {
			b = appendPrefix(b, 1, p)
		}
		var digests []byte
		for _, d := range msg.children {
			digests = binary.LittleEndian.AppendUint64(digests, uint64(d))
		}
		b = appendBytes(b, 2, digests)
	case kindRecords, kindPast, kindNews:
		for i := range msg.records {
			b = appendBytes(b, 1, msg.records[i].encode())
		}
		for i := range msg.events {
			b = appendBytes(b, 2, msg.events[i].encode())
		}
		b = appendFlag(b, 3, msg.more)
		for _, p := range msg.prefixes {
			b = appendPrefix(b, 4, p)
		}
	case kindEvent:
		b = msg.event.encode()
	case kindSignal:
		b = msg.signal.encode()
	case kindDatagrams:
		b = appendFlag(b, 1, msg.on)
	}
	return b
}

// pack compresses a message.
func pack(plain []byte) []byte {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil { // of a level that does not exist
		return plain
	}
	_, err = w.Write(plain)
	if err != nil || w.Close() != nil { // of the buffer
		return plain
	}
	return appendBytes(nil, kindPacked, packed.Bytes())
}

// unpack undoes pack, up to the size of a message.
func unpack(packed []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxMessage+1))
	if err != nil || len(plain) > maxMessage {
		return nil, errMalformed
	}
	return plain, nil
}
