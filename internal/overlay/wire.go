package overlay

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// kind tells the messages of the overlay protocol apart; docs/overlay.md
// describes them.
type kind uint64

const (
	kindOpen   kind = 1 + iota // may this link be the one between us?
	kindAccept                 // yes
	kindRefuse                 // no, and why
	kindPing                   // are you there?
	kindPong                   // yes
	kindWant                   // whether I want this link; at first, both do
	kindBye                    // I close it, for neither of us wants it
)

// code says why a link is refused.
type code uint64

const (
	codeDuplicate code = 1 + iota // there is, or will be, another link between us
	codeTaken                     // the server with your ID is alive, at Address
	codeLeaving                   // I am leaving the circuit
	codeBusy                      // your ID is being looked into
)

// message is any message of the overlay protocol; the fields that a kind does
// not use are zero.
type message struct {
	kind    kind
	epoch   uint64 // Open, Refuse
	code    code   // Refuse
	address string // Refuse with codeTaken
	want    bool   // Want
}

// Limits of the encoding.
const (
	maxMessage = 4096
	maxAddress = 512
	maxEpoch   = 1 << 62 // a higher one leaves no room to count on
)

var errMalformed = errors.New("overlay: malformed message")

const (
	fieldKind    protowire.Number = 1
	fieldEpoch   protowire.Number = 2
	fieldCode    protowire.Number = 3
	fieldAddress protowire.Number = 4
	fieldWant    protowire.Number = 5
)

func (msg message) encode() []byte {
	var b []byte
	for _, f := range []struct {
		num protowire.Number
		v   uint64
	}{{fieldKind, uint64(msg.kind)}, {fieldEpoch, msg.epoch}, {fieldCode, uint64(msg.code)}, {fieldWant, protowire.EncodeBool(msg.want)}} {
		if f.v != 0 {
			b = protowire.AppendTag(b, f.num, protowire.VarintType)
			b = protowire.AppendVarint(b, f.v)
		}
	}
	if msg.address != "" {
		b = protowire.AppendTag(b, fieldAddress, protowire.BytesType)
		b = protowire.AppendString(b, msg.address)
	}
	return b
}

// decode takes what encode made. Unknown fields are skipped; of a field that is
// there twice, the last counts.
func decode(b []byte) (message, error) {
	var msg message
	if len(b) > maxMessage {
		return msg, errMalformed
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return msg, errMalformed
		}
		b = b[n:]
		var v uint64
		switch {
		case typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case num == fieldAddress && typ == protowire.BytesType:
			var s string
			s, n = protowire.ConsumeString(b)
			if len(s) > maxAddress {
				return msg, errMalformed
			}
			msg.address = s
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return msg, errMalformed
		}
		if typ == protowire.VarintType {
			msg.set(num, v)
		}
		b = b[n:]
	}
	if msg.epoch > maxEpoch {
		return msg, errMalformed
	}
	return msg, nil
}

func (msg *message) set(num protowire.Number, v uint64) {
	switch num {
	case fieldKind:
		msg.kind = kind(v)
	case fieldEpoch:
		msg.epoch = v
	case fieldCode:
		msg.code = code(v)
	case fieldWant:
		msg.want = protowire.DecodeBool(v)
	}
}
