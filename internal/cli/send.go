package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit/client"
)

const sendHelp = `  circuit send /X88550014d4c82e4d/this/is/charlie < some_file
  seq 1000 | circuit send --lines /X88550014d4c82e4d/work

Usage: circuit send [--lines] PATH

Sends its standard input as one message, of any length, as soon as a receiver
takes it or the channel's buffer has a free place. A message in the buffer may
have 32 KiB; a longer one streams through to its receiver. Exits 0 only when the
message was buffered whole, or its receiver has confirmed it.

  --lines   send each line as a message of its own, its newline included

Exits 8 if the channel is closed.
`

// lineBuffer is the longest line that is sent at once; longer ones stream.
const lineBuffer = 32 << 10

func (a *app) sendCommand() command {
	var lines bool
	return command{
		use:   "send PATH",
		short: "send messages into a channel",
		help:  sendHelp,
		args:  [2]int{1, 1},
		plain: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&lines, "lines", false, "send each line as a message")
		},
		complete: a.completePath,
		run: func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.reach(ctx, args[0], func(anchor *client.Anchor) error {
				a.noteTerminal("the message")
				return a.send(ctx, anchor.Chan().Sender(ctx), lines)
			})
		},
	}
}

// send sends standard input as one message, or each line of it as one.
func (a *app) send(ctx context.Context, s *client.Sender, lines bool) error {
	in := a.input(ctx, s.Done())
	sendFrom := func(r io.Reader) error {
		_, err := s.SendFrom(r)
		return err
	}
	var err error
	if lines {
		err = eachLine(in, s.Send, sendFrom)
	} else {
		err = sendFrom(in)
	}
	cerr := s.Close()
	if err == nil || cerr != nil && errors.Is(err, errEnded) || inDoubt(cerr) {
		err = cerr
	}
	return err
}

// eachLine calls short with each line of r, which it must not keep, and long
// with those that exceed the buffer. The lines have their newline, which the
// last may lack.
func eachLine(r io.Reader, short func([]byte) error, long func(io.Reader) error) error {
	lines := bufio.NewReaderSize(r, lineBuffer)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			rest := &restOfLine{lines: lines}
			if err := long(io.MultiReader(bytes.NewReader(bytes.Clone(line)), rest)); err != nil {
				return err
			}
			if rest.err == io.EOF {
				return nil
			}
			continue
		case err != nil && err != io.EOF:
			return err
		}
		if len(line) > 0 {
			if err := short(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// restOfLine reads to the end of a line.
type restOfLine struct {
	lines *bufio.Reader
	piece []byte
	ended bool
	err   error // of the reader below
}

// Read implements io.Reader.
func (r *restOfLine) Read(b []byte) (int, error) {
	for len(r.piece) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		var err error
		r.piece, err = r.lines.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			r.err = err
			if err != io.EOF {
				return 0, err
			}
		}
		r.ended = err != bufio.ErrBufferFull
	}
	n := copy(b, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}
