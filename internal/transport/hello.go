package transport

import (
	"errors"
	"io"
)

// A TLS record begins with its type, a version and its length; the first of a
// connection is a handshake record that holds a ClientHello (RFC 8446, 5.1 and
// 4.1.2).
const (
	recordHeader    = 5
	typeHandshake   = 22
	typeClientHello = 1
	maxHello        = 8 << 10 // bytes of a first record; real ones have a quarter
)

var errNotTLS = errors.New("what came is not the beginning of TLS")

// awaitHello reads the first record and puts it where TLS will find
// it, and refuses what does not begin with a ClientHello. It costs nothing but
// a read, so that the mute and the confused never reach TLS.
func awaitHello(w *wire) error {
	var head [recordHeader + 1]byte
	if _, err := io.ReadFull(w.Conn, head[:recordHeader]); err != nil {
		return err
	}
	size := int(head[3])<<8 | int(head[4])
	if head[0] != typeHandshake || head[1] != 3 || size < 4 || size > maxHello {
		return errNotTLS
	}
	if _, err := io.ReadFull(w.Conn, head[recordHeader:]); err != nil {
		return err
	}
	if head[recordHeader] != typeClientHello {
		return errNotTLS
	}
	hello := make([]byte, recordHeader+size)
	copy(hello, head[:])
	if _, err := io.ReadFull(w.Conn, hello[len(head):]); err != nil {
		return err
	}
	w.early = hello
	return nil
}
