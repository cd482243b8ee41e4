package circuit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of paths.
const (
	MaxNameBytes = 255  // longest name
	MaxPathBytes = 4096 // longest path, slashes included
	MaxPathDepth = 64   // most names in a path, the server's included
)

// Path names an anchor: "/" is the circuit's root, "/X56e7a2a0d47a7b5d" a
// server, "/X56e7a2a0d47a7b5d/hi/charlie" an anchor on that server. A Path is
// always valid; the zero Path is the root. Paths are comparable.
type Path struct {
	s string // canonical text; "" is the root
}

// Root is the circuit's root anchor.
var Root = Path{}

// ParsePath takes the text of a path. Repeated and trailing slashes are
// allowed and dropped. Errors are of kind Invalid and say what is wrong.
func ParsePath(s string) (Path, error) {
	if s == "" || s[0] != '/' {
		return Path{}, invalidPath(s, "a path begins with /")
	}
	var b strings.Builder
	depth := 0
	for name := range strings.SplitSeq(s, "/") {
		if name == "" {
			continue
		}
		if depth++; depth > MaxPathDepth {
			return Path{}, invalidPath(s, fmt.Sprintf("more than %d names deep", MaxPathDepth))
		}
		if depth == 1 {
			if _, err := ParseServerID(name); err != nil {
				return Path{}, invalidPath(s, err.(*Error).Err.Error())
			}
		} else if why := badName(name); why != "" {
			return Path{}, invalidPath(s, fmt.Sprintf("the name %q %s", clip(name), why))
		}
		b.WriteByte('/')
		b.WriteString(name)
	}
	if b.Len() > MaxPathBytes {
		return Path{}, invalidPath(s, fmt.Sprintf("longer than %d bytes", MaxPathBytes))
	}
	return Path{s: b.String()}, nil
}

func invalidPath(s, why string) error {
	return &Error{Path: clip(s), Kind: Invalid, Err: fmt.Errorf("%s", why)}
}

// badName says what is wrong with a name below a server, or "".
func badName(name string) string {
	switch {
	case len(name) == 0:
		return "is empty"
	case len(name) > MaxNameBytes:
		return fmt.Sprintf("is longer than %d bytes", MaxNameBytes)
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case name == "." || name == ".." || name == "...":
		return "is reserved"
	case name[0] == '@':
		return "begins with @, which is reserved"
	}
	for _, r := range name {
		if strings.ContainsRune("*?[]{}/", r) {
			return fmt.Sprintf("holds %q, which is reserved", r)
		}
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("holds the unprintable character %U", r)
		}
	}
	return ""
}

// String returns the canonical text of the path.
func (p Path) String() string {
	if p.s == "" {
		return "/"
	}
	return p.s
}

// IsRoot reports whether p is the circuit's root.
func (p Path) IsRoot() bool { return p.s == "" }

// IsServer reports whether p is the anchor of a server itself.
func (p Path) IsServer() bool { return p.s != "" && strings.LastIndexByte(p.s, '/') == 0 }

// Server returns the server that hosts p; ok is false for the root.
func (p Path) Server() (id ServerID, ok bool) {
	if p.s == "" {
		return 0, false
	}
	id, err := ParseServerID(p.s[1:18])
	return id, err == nil
}

// Names returns the names of p, the server's first. The root has none.
func (p Path) Names() []string {
	if p.s == "" {
		return nil
	}
	return strings.Split(p.s[1:], "/")
}

// Base returns the last name of p, "/" for the root.
func (p Path) Base() string {
	if p.s == "" {
		return "/"
	}
	return p.s[strings.LastIndexByte(p.s, '/')+1:]
}

// Parent returns the anchor above p. The root is its own parent.
func (p Path) Parent() Path {
	if p.s == "" {
		return p
	}
	return Path{s: p.s[:strings.LastIndexByte(p.s, '/')]}
}

// Join returns the path rel below p; rel may hold several names joined by
// slashes. Errors are of kind Invalid.
func (p Path) Join(rel string) (Path, error) { return ParsePath(p.s + "/" + rel) }

// Contains reports whether q is p or below it.
func (p Path) Contains(q Path) bool {
	return p.s == "" || p.s == q.s || strings.HasPrefix(q.s, p.s+"/")
}

// MarshalText implements encoding.TextMarshaler.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Path) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePath(string(b))
	return err
}
