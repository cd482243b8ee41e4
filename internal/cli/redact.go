package cli

import (
	"io"
	"strings"
	"sync"

	"github.com/gocircuit/circuit/client"
)

// errorWriter is standard error. It keeps lines written by several goroutines
// whole, and lets no key pass, wherever in what it is told one stands. Each
// Write must be of whole lines.
type errorWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (e *errorWriter) Write(p []byte) (int, error) {
	text := redact(string(p))
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := io.WriteString(e.w, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// keyLength is the length of a key's text.
const keyLength = 43

// redact returns s without keys: neither those that are keys, nor what stands
// before an @ and is long enough to have one in it.
func redact(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) && inKey(s[n]) {
			n++
		}
		for n > keyLength && s[0] == '-' { // the dashes of a flag
			b.WriteByte('-')
			s, n = s[1:], n-1
		}
		_, err := client.ParseKey(s[:n])
		if err == nil || n >= keyLength && n < len(s) && s[n] == '@' {
			b.WriteString("[key]")
		} else {
			b.WriteString(s[:n])
		}
		if n < len(s) {
			b.WriteByte(s[n])
			n++
		}
		s = s[n:]
	}
	return b.String()
}

// inKey reports whether c may stand in a key's text.
func inKey(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
