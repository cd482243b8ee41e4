package rpc

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// drawFrame draws a frame's message, whose wire form generated code defines.
func drawFrame(t *rapid.T) *circuitv1.Frame {
	m := &circuitv1.Frame{
		Data:        rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "data"),
		Offset:      rapid.Uint64().Draw(t, "offset"),
		Lost:        rapid.Uint64().Draw(t, "lost"),
		End:         rapid.Bool().Draw(t, "end"),
		Message:     rapid.Uint64().Draw(t, "message"),
		Sizes:       rapid.SliceOfN(rapid.Uint32(), 0, 300).Draw(t, "sizes"),
		Redelivered: rapid.Bool().Draw(t, "redelivered"),
		Confirmed:   rapid.Uint64().Draw(t, "confirmed"),
	}
	if rapid.Bool().Draw(t, "failed") {
		m.Error = &circuitv1.Error{Kind: circuitv1.Error_LOST, Text: rapid.String().Draw(t, "text")}
	}
	return m
}

// cut returns b in buffers of arbitrary lengths, as a transport delivers it.
func cut(t *rapid.T, b []byte) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > 0 {
		n := rapid.IntRange(1, len(b)).Draw(t, "cut")
		out = append(out, mem.SliceBuffer(b[:n]))
		b = b[n:]
	}
	return out
}

func (f *Frame) message() *circuitv1.Frame {
	return &circuitv1.Frame{
		Data: f.Data.Materialize(), Offset: f.Offset, Lost: f.Lost, End: f.End, Message: f.Message,
		Sizes: f.Sizes, Redelivered: f.Redelivered, Confirmed: f.Confirmed, Error: f.Error,
	}
}

func TestFrameIsTheGeneratedMessageOnTheWire(t *testing.T) {
	c := Codec()
	rapid.Check(t, func(t *rapid.T) {
		want := drawFrame(t)
		b, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		if err := c.Unmarshal(cut(t, b), &f); err != nil {
			t.Fatalf("unmarshal of the generated encoding: %v", err)
		}
		if got := f.message(); !proto.Equal(got, want) {
			t.Fatalf("decoded %v, want %v", got, want)
		}
		own, err := c.Marshal(&f)
		if err != nil {
			t.Fatal(err)
		}
		var back circuitv1.Frame
		if err := proto.Unmarshal(own.Materialize(), &back); err != nil {
			t.Fatalf("generated code cannot decode a frame: %v", err)
		}
		if !proto.Equal(&back, want) {
			t.Fatalf("encoded %v, want %v", &back, want)
		}
		var again Frame
		if err := c.Unmarshal(cut(t, own.Materialize()), &again); err != nil {
			t.Fatalf("unmarshal of a frame's own encoding: %v", err)
		}
		if got := again.message(); !proto.Equal(got, want) {
			t.Fatalf("decoded %v, want %v", got, want)
		}
	})
}

func TestFrameDataIsNotCopied(t *testing.T) {
	c := Codec()
	data := bytes.Repeat([]byte("x"), 100_000)
	out, err := c.Marshal(&Frame{Data: mem.BufferSlice{mem.SliceBuffer(data)}, Offset: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := out[1].ReadOnlyData(); &got[0] != &data[0] {
		t.Error("marshal copied the data")
	}
	var f Frame
	if err := c.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	if got := f.Data[0].ReadOnlyData(); &got[0] != &data[0] {
		t.Error("unmarshal copied the data")
	}
}

// counted is a pool that knows how many of its buffers are out.
type counted struct{ out int }

func (p *counted) Get(n int) *[]byte { p.out++; b := make([]byte, n); return &b }
func (p *counted) Put(*[]byte)       { p.out-- }

func TestFrameReferences(t *testing.T) {
	c, pool := Codec(), &counted{}
	f := Frame{Data: mem.BufferSlice{mem.NewBuffer(pool.Get(1<<16), pool)}}
	out, err := c.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	f.Free()
	var in Frame
	if err := c.Unmarshal(out, &in); err != nil {
		t.Fatal(err)
	}
	out.Free()
	if pool.out != 1 {
		t.Fatalf("%d buffers are out while one frame holds one", pool.out)
	}
	in.Free()
	if pool.out != 0 {
		t.Fatalf("%d buffers are out after the last frame was freed", pool.out)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x0a, 3, 'a', 'b', 'c', 0x10, 7}, 2)
	f.Add([]byte{0x32, 4, 1, 2, 3, 0x80}, 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		in := mem.BufferSlice{mem.SliceBuffer(b)}
		if at > 0 && at < len(b) {
			in = mem.BufferSlice{mem.SliceBuffer(b[:at]), mem.SliceBuffer(b[at:])}
		}
		var ours Frame
		var theirs circuitv1.Frame
		err, theirErr := ours.unmarshal(in), proto.Unmarshal(b, &theirs)
		if err == nil && theirErr == nil {
			theirs.ProtoReflect().SetUnknown(nil)
			if theirs.Error != nil {
				theirs.Error.ProtoReflect().SetUnknown(nil)
				ours.Error.ProtoReflect().SetUnknown(nil)
			}
			if len(ours.Sizes) == len(theirs.Sizes) && ours.Data.Len() != len(theirs.Data) {
				t.Fatalf("%d bytes of data, generated code finds %d", ours.Data.Len(), len(theirs.Data))
			}
		}
		if err != nil && theirErr == nil && len(theirs.ProtoReflect().GetUnknown()) == 0 && len(theirs.Data) > 0 && len(theirs.Sizes) == 0 && theirs.Error == nil {
			t.Fatalf("refused what generated code takes: %v", &theirs)
		}
	})
}
