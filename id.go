package circuit

import (
	"fmt"
	"strconv"
)

// ServerID is the identity of a server: 64 random bits, never zero. In a URL
// it is written Q and 16 lower-case hexadecimal digits, as an anchor X and the
// same digits.
type ServerID uint64

// String returns the anchor name of the server, such as "X56e7a2a0d47a7b5d".
func (id ServerID) String() string { return fmt.Sprintf("X%016x", uint64(id)) }

// URLName returns the identity as URLs spell it, such as "Q56e7a2a0d47a7b5d".
func (id ServerID) URLName() string { return fmt.Sprintf("Q%016x", uint64(id)) }

// Path returns the anchor of the server.
func (id ServerID) Path() Path { return Path{s: "/" + id.String()} }

// ParseServerID takes the anchor name of a server: "X" and 16 hexadecimal
// digits. Errors are of kind Invalid.
func ParseServerID(s string) (ServerID, error) { return parseID('X', s) }

func parseID(prefix byte, s string) (ServerID, error) {
	bad := func() (ServerID, error) {
		return 0, &Error{Kind: Invalid, Err: fmt.Errorf("%q is not a server: expected %c and 16 hexadecimal digits, as in %c56e7a2a0d47a7b5d", clip(s), prefix, prefix)}
	}
	if len(s) != 17 || s[0] != prefix {
		return bad()
	}
	for _, c := range []byte(s[1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return bad()
		}
	}
	n, err := strconv.ParseUint(s[1:], 16, 64)
	if err != nil || n == 0 {
		return bad()
	}
	return ServerID(n), nil
}

// clip shortens user input for an error message.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
