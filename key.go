package circuit

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// KeySize is the length of a Key in bytes.
const KeySize = 32

// Key is the secret that makes a circuit: whoever has it is a member. It
// formats as a placeholder everywhere, so that it never reaches a log or an
// error by accident; Encode gives the text.
type Key [KeySize]byte

// ParseKey takes the text of a key: 43 characters of unpadded base64url. The
// error, of kind Invalid, does not repeat the text.
func ParseKey(s string) (Key, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != KeySize {
		return Key{}, &Error{Kind: Invalid, Err: errors.New("not a circuit key: expected 43 characters of unpadded base64url, as circuit keygen makes them")}
	}
	k := Key(b)
	if k.IsZero() {
		return Key{}, &Error{Kind: Invalid, Err: errors.New("not a circuit key: it is all zero")}
	}
	return k, nil
}

// Encode returns the key's text. It is a secret.
func (k Key) Encode() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// IsZero reports whether k is unset.
func (k Key) IsZero() bool { return k == Key{} }

const keyPlaceholder = "[key]"

// String returns a placeholder, never the key.
func (k Key) String() string { return keyPlaceholder }

// Format implements fmt.Formatter with a placeholder for every verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, keyPlaceholder) }

// MarshalText implements encoding.TextMarshaler with a placeholder.
func (k Key) MarshalText() ([]byte, error) { return []byte(keyPlaceholder), nil }
