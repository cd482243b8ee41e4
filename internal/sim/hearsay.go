package sim

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/membership"
)

// told reports whether an input told a server the very news n. Otherwise the
// server drew its own conclusion: from votes, from time passing, or from a
// server's next life that the last one ended. That somebody is dead is said by
// events only; directories raise the question.
func told(in membership.Input, n news) bool {
	const directory, event = 1, 2
	r, ok := in.(membership.Receive)
	if !ok {
		return false
	}
	found := false
	fields(r.Data, func(kind protowire.Number, _ uint64, body []byte) {
		fields(body, func(num protowire.Number, _ uint64, record []byte) {
			isRecord := kind == event && num == 3 || kind == directory && num == 1 && n.state != membership.StateDead
			if isRecord && tells(record, n) {
				found = true
			}
		})
	})
	return found
}

// tells reports whether a record is the news n.
func tells(record []byte, n news) bool {
	var have news
	fields(record, func(num protowire.Number, v uint64, _ []byte) {
		switch num {
		case 1:
			have.id = circuit.ServerID(v)
		case 3:
			have.instance = v
		case 4:
			have.incarnation = v
		case 6:
			have.state = membership.State(v)
		}
	})
	if have.state == membership.StateSuspect {
		have.state = membership.StateAlive
	}
	return have == n
}

// fields calls do with each field of a message that is a number or bytes.
func fields(b []byte, do func(num protowire.Number, v uint64, body []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		var v uint64
		var body []byte
		m := 0
		switch typ {
		case protowire.VarintType:
			v, m = protowire.ConsumeVarint(b[n:])
		case protowire.Fixed64Type:
			v, m = protowire.ConsumeFixed64(b[n:])
		case protowire.BytesType:
			body, m = protowire.ConsumeBytes(b[n:])
		default:
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		}
		if m < 0 {
			return
		}
		do(num, v, body)
		b = b[n+m:]
	}
}
