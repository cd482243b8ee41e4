package cli

import (
	"bytes"
	"encoding/json"
)

// printJSON writes v on a line of its own.
func (a *app) printJSON(v any) error {
	b, err := encodeJSON(v, "")
	if err == nil {
		_, err = a.stdout.Write(b)
	}
	return err
}

// printState writes the state of an element: indented for people and as the
// description shows it, on one line with -o json.
func (a *app) printState(v any) error {
	indent := "\t"
	if a.flags.json() {
		indent = ""
	}
	b, err := encodeJSON(v, indent)
	if err == nil {
		_, err = a.stdout.Write(b)
	}
	return err
}

// encodeJSON encodes v and a newline, with characters such as & and < as they
// are.
func encodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(v)
	return b.Bytes(), err
}
