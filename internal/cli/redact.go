package cli

import (
	"io"
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
	text := client.Redact(string(p))
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := io.WriteString(e.w, text); err != nil {
		return 0, err
	}
	return len(p), nil
}
