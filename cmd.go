package circuit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of commands.
const (
	MaxCmdBytes  = 1 << 20  // longest command in JSON, and most bytes of Path, Dir, Args and Env together
	DefaultSpool = 64 << 20 // bytes kept of each of a process's output streams, unless the command says otherwise
)

// Overflow says what happens when a process writes and its output's spool is
// full.
type Overflow string

// The ways to overflow; the zero value means OverflowBlock.
const (
	// OverflowBlock gives up only bytes that a reader has acknowledged, and
	// otherwise holds the process back, as a pipe does.
	OverflowBlock Overflow = "block"
	// OverflowDrop gives up the oldest bytes.
	OverflowDrop Overflow = "drop"
)

// Cmd describes a process to run.
type Cmd struct {
	// Env is the whole environment, as NAME=VALUE; of a NAME given twice the
	// last counts. Nil, not empty, means the hosting server's own.
	Env []string
	// Dir is the working directory; empty means the hosting server's own.
	Dir string
	// Path is the program. Without a slash it is looked up in the hosting
	// server's PATH. It must not be empty.
	Path string
	// Args are the arguments after the program's name.
	Args []string
	// Scrub removes the element when the process ends, after those who waited
	// have their answer.
	Scrub bool `json:",omitempty"`
	// Spool is how many bytes are kept of each of standard output and standard
	// error; 0 means DefaultSpool.
	Spool Size `json:",omitempty"`
	// Overflow says what happens when the spool is full; empty means
	// OverflowBlock.
	Overflow Overflow `json:",omitempty"`
}

// ParseCmd takes a command as one JSON object with the fields of Cmd. Unknown
// fields and anything after the object are errors, of kind Invalid; so is what
// Validate refuses.
func ParseCmd(b []byte) (Cmd, error) {
	switch {
	case len(b) > MaxCmdBytes:
		return Cmd{}, Errorf(Invalid, fmt.Sprintf("the command is longer than %d bytes", MaxCmdBytes))
	case bytes.HasPrefix(b, []byte("\ufeff")):
		return Cmd{}, Errorf(Invalid, "the command begins with a byte order mark; save it as UTF-8 without one")
	}
	var c Cmd
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Cmd{}, Errorf(Invalid, cmdSyntax(b, err))
	}
	fields, err := exactFields(b)
	if err != nil {
		return Cmd{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Cmd{}, Errorf(Invalid, "there is something after the command's closing brace")
	}
	if fields["Spool"] && c.Spool == 0 {
		return Cmd{}, Errorf(Invalid, fmt.Sprintf("the command's field Spool is 0, and output is always kept; leave it out for %v, or give at least 1", Size(DefaultSpool)))
	}
	return c, c.Validate()
}

// exactFields returns which fields a command has. It refuses names that differ
// in case from those of Cmd, which package json takes, and names that come twice;
// and text that package json would replace. b is valid.
func exactFields(b []byte) (map[string]bool, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	seen := map[string]bool{}
	field := ""
	for depth, name := 0, true; ; {
		from := dec.InputOffset()
		token, err := dec.Token()
		if err != nil {
			return seen, nil // the end
		}
		if _, ok := token.(string); ok && !exactText(b[from:dec.InputOffset()]) {
			return nil, Errorf(Invalid, fmt.Sprintf("the command's field %s is not valid UTF-8 at byte %d or after it; a command can hold only text", field, from+1))
		}
		switch delim, ok := token.(json.Delim); {
		case ok && (delim == '{' || delim == '['):
			depth++
			continue
		case ok:
			depth--
		case depth == 1 && name:
			field = token.(string)
			if _, known := reflect.TypeFor[Cmd]().FieldByName(field); !known {
				return nil, Errorf(Invalid, fmt.Sprintf("the command has an unknown field %q", clip(field)))
			}
			if seen[field] {
				return nil, Errorf(Invalid, fmt.Sprintf("the command's field %s is given twice", field))
			}
			seen[field], name = true, false
			continue
		}
		if depth == 0 {
			return seen, nil
		}
		name = name || depth == 1
	}
}

// exactText reports whether a valid JSON string stands for the text that it
// holds: package json replaces bytes that are not UTF-8, and halves of surrogate
// pairs without the other.
func exactText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return true
		}
		r, size := escaped(b[i:])
		if utf16.IsSurrogate(r) {
			low, more := escaped(b[i+size:])
			if utf16.DecodeRune(r, low) == utf8.RuneError {
				return false
			}
			size += more
		}
		b = b[i+size:]
	}
}

// escaped returns the number that \u at the beginning of b gives, or 0, and how
// long it is, or any other escape.
func escaped(b []byte) (r rune, size int) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, 2
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0, 2
	}
	return rune(n), 6
}

// cmdSyntax puts a JSON error in the words of the person who wrote the command.
func cmdSyntax(b []byte, err error) string {
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	var own *Error
	switch {
	case errors.As(err, &own):
		return "the command's field Spool: " + own.Error()
	case errors.Is(err, io.EOF):
		return `the command is empty; expected JSON such as {"Path":"/bin/ls","Args":["/"]}`
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the command's JSON ends too early"
	case errors.As(err, &syntax):
		at := max(min(syntax.Offset, int64(len(b)))-1, 0)
		return fmt.Sprintf("the command is not valid JSON: it cannot go on at byte %d with %q", syntax.Offset, clip(string(b[at:min(at+10, int64(len(b)))])))
	case errors.As(err, &mistyped) && mistyped.Field == "":
		return fmt.Sprintf(`the command is a JSON %s; expected an object such as {"Path":"/bin/ls","Args":["/"]}`, mistyped.Value)
	case errors.As(err, &mistyped):
		return fmt.Sprintf("the command's field %s cannot be a JSON %s", mistyped.Field, mistyped.Value)
	}
	return "the command has an " + strings.TrimPrefix(err.Error(), "json: ")
}

// Validate reports the first thing wrong with c, as an error of kind Invalid.
func (c *Cmd) Validate() error {
	size := len(c.Path) + len(c.Dir)
	for _, list := range [][]string{c.Args, c.Env} {
		for _, s := range list {
			size += len(s) + 1
			if strings.IndexByte(s, 0) >= 0 {
				return Errorf(Invalid, "Args or Env holds a NUL byte")
			}
			if !utf8.ValidString(s) {
				return Errorf(Invalid, fmt.Sprintf("Args or Env holds %q, which is not valid UTF-8", clip(s)))
			}
		}
	}
	for _, s := range c.Env {
		if strings.IndexByte(s, '=') < 1 {
			return Errorf(Invalid, fmt.Sprintf("Env holds %q, which is not NAME=VALUE", clip(s)))
		}
	}
	switch {
	case c.Path == "":
		return Errorf(Invalid, "the command has no Path; name the program to run")
	case strings.IndexByte(c.Path+c.Dir, 0) >= 0:
		return Errorf(Invalid, "Path or Dir holds a NUL byte")
	case !utf8.ValidString(c.Path + c.Dir):
		return Errorf(Invalid, "Path or Dir is not valid UTF-8")
	case size > MaxCmdBytes:
		return Errorf(Invalid, fmt.Sprintf("the command is longer than %d bytes", MaxCmdBytes))
	case c.Spool < 0:
		return Errorf(Invalid, "Spool is negative")
	case c.Overflow != "" && c.Overflow != OverflowBlock && c.Overflow != OverflowDrop:
		return Errorf(Invalid, fmt.Sprintf(`Overflow is %q; expected "block" or "drop"`, clip(string(c.Overflow))))
	}
	return nil
}
