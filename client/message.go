package client

import (
	"bytes"
	"io"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/rpc"
)

// Message is a message being received. It is not for use by several goroutines
// at once, and it is of no use after the next call of its Receiver's Next.
type Message struct {
	r           *Receiver
	number      uint64
	redelivered bool
	only        bool // of Chan.Recv: its receiver ends with it

	left  int   // bytes of r.data that belong to it
	ended bool  // nothing comes after those
	err   error // why the rest will not come

	acked, closed bool
}

// Redelivered reports that the message was handed to another receiver before,
// who went away without confirming it, and may have used it.
func (m *Message) Redelivered() bool { return m.redelivered }

// Read returns the next bytes of the message, and io.EOF at its end. A message
// that is cut off, because its sender went away, gives an error of kind
// ErrLost, never io.EOF.
func (m *Message) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, m.err
	}
	if err := m.fill(); err != nil {
		return 0, err
	}
	n := m.r.data.read(b, m.left)
	m.left -= n
	return n, nil
}

// WriteTo writes the rest of the message to w, with fewer copies than Read
// makes.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	var done int64
	for {
		if err := m.fill(); err == io.EOF {
			return done, nil
		} else if err != nil {
			return done, err
		}
		n, err := m.r.data.writeTo(w, m.left)
		m.left -= n
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
}

// Bytes reads the rest of the message, whatever its length.
func (m *Message) Bytes() ([]byte, error) {
	var b bytes.Buffer
	b.Grow(m.left)
	_, err := m.WriteTo(&b)
	return b.Bytes(), err
}

// Done acknowledges the message, which must have been read to its end, and
// returns once the circuit has confirmed it: then no other receiver gets it.
// ErrLost says that the connection broke before, or, together with ErrTimeout
// or ErrCanceled, that the context ended: another receiver may or may not get
// it, marked as redelivered.
func (m *Message) Done() error {
	if err := m.ack(); err != nil {
		return err
	}
	err := m.r.confirm(m.number)
	if m.only {
		m.r.abandon()
	}
	return err
}

// Ack acknowledges the message, which must have been read to its end, and all
// that the Receiver gave before it, without waiting: the acknowledgement
// travels with the next request, at the latest with Flush or Close of the
// Receiver, which wait for it to be confirmed. For a message of Chan.Recv it is
// the same as Done.
func (m *Message) Ack() error {
	if m.only {
		return m.Done()
	}
	return m.ack()
}

func (m *Message) ack() error {
	if m.acked {
		return nil
	}
	switch err := m.fill(); {
	case err == nil:
		return m.r.s.invalid("a message is acknowledged only once it has been read to its end")
	case err != io.EOF:
		return err
	}
	m.acked = true
	m.r.ack = m.number
	return nil
}

// Close gives the message up, unless Done or Ack acknowledged it: then another
// receiver gets it. For a message of Chan.Recv it also ends the call. A message
// that a Receiver gave need not be closed; given up it is when its Receiver is
// closed.
func (m *Message) Close() error {
	if m.only {
		m.r.abandon()
	}
	m.closed = true
	return nil
}

func (s subject) invalid(text string) error {
	return circuit.At(s.op, s.path.String(), circuit.Errorf(circuit.Invalid, text))
}

// fill returns once there are bytes of the message, or with io.EOF at its end.
func (m *Message) fill() error {
	r := m.r
	for m.left == 0 || m.err != nil || m.closed || r.current != m {
		switch {
		case r.current != m:
			return r.s.invalid("this message is over: its receiver went on to the next")
		case m.closed:
			return circuit.At(r.s.op, r.s.path.String(), circuit.Errorf(circuit.Closed, "this message is closed"))
		case m.err != nil:
			return m.err
		case m.ended:
			return io.EOF
		}
		f, err := r.frame(false)
		if err != nil {
			m.err = err
			return err
		}
		if f.Message != 0 && f.Message != m.number {
			f.Free()
			m.err = r.fail(circuit.Errorf(circuit.Internal, "the server sent messages out of order"))
			return m.err
		}
		m.take(&f)
	}
	return nil
}

// take takes the content of a frame.
func (m *Message) take(f *rpc.Frame) {
	if f.Message == 0 {
		f.Free()
		return
	}
	m.left, m.ended = f.Data.Len(), f.End
	m.r.data.set(f.Data)
	if f.Error != nil {
		m.err = circuit.At(m.r.s.op, m.r.s.path.String(), rpc.ErrorFromProto(f.Error))
	}
}

// skip drops what was not read.
func (m *Message) skip() {
	m.closed = false
	for m.fill() == nil {
		m.r.data.skip(m.left)
		m.left = 0
	}
}
