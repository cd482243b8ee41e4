package circuit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
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
	if len(b) > MaxCmdBytes {
		return Cmd{}, Errorf(Invalid, fmt.Sprintf("the command is longer than %d bytes", MaxCmdBytes))
	}
	var c Cmd
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Cmd{}, Errorf(Invalid, cmdSyntax(err))
	}
	if err := exactFields(b); err != nil {
		return Cmd{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Cmd{}, Errorf(Invalid, "there is something after the command's closing brace")
	}
	return c, c.Validate()
}

// exactFields refuses field names that differ in case from those of Cmd, which
// package json takes, and names that come twice. b is valid.
func exactFields(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	seen := map[string]bool{}
	for depth, name := 0, true; ; {
		token, err := dec.Token()
		if err != nil {
			return nil // the end
		}
		switch delim, ok := token.(json.Delim); {
		case ok && (delim == '{' || delim == '['):
			depth++
			continue
		case ok:
			depth--
		case depth == 1 && name:
			field := token.(string)
			if _, known := reflect.TypeFor[Cmd]().FieldByName(field); !known {
				return Errorf(Invalid, fmt.Sprintf("the command has an unknown field %q", clip(field)))
			}
			if seen[field] {
				return Errorf(Invalid, fmt.Sprintf("the command's field %s is given twice", field))
			}
			seen[field], name = true, false
			continue
		}
		if depth == 0 {
			return nil
		}
		name = name || depth == 1
	}
}

// cmdSyntax puts a JSON error in the words of the person who wrote the command.
func cmdSyntax(err error) string {
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
		return fmt.Sprintf("the command is not valid JSON at byte %d: %s", syntax.Offset, syntax.Error())
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
	case size > MaxCmdBytes:
		return Errorf(Invalid, fmt.Sprintf("the command is longer than %d bytes", MaxCmdBytes))
	case c.Spool < 0:
		return Errorf(Invalid, "Spool is negative")
	case c.Overflow != "" && c.Overflow != OverflowBlock && c.Overflow != OverflowDrop:
		return Errorf(Invalid, fmt.Sprintf(`Overflow is %q; expected "block" or "drop"`, clip(string(c.Overflow))))
	}
	return nil
}
