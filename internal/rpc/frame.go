package rpc

import (
	"errors"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// MaxFrameData is the most data a sender puts into one frame: large enough for
// full speed, small enough that frames of other calls get between.
const MaxFrameData = 256 << 10

// Frame is the message circuit.v1.Frame with data that is never copied: on the
// way in it refers to the buffers that the transport read into, on the way out
// the transport writes its buffers as they are. Wherever a generated stream
// takes or gives a *circuitv1.Frame, SendMsg and RecvMsg take a *Frame.
//
// References: SendMsg takes its own reference to Data and leaves the caller's.
// RecvMsg gives the caller a reference, to be returned with Free.
type Frame struct {
	Data        mem.BufferSlice
	Offset      uint64
	Lost        uint64
	End         bool
	Message     uint64
	Sizes       []uint32
	Redelivered bool
	Confirmed   uint64
	Error       *circuitv1.Error
}

// Free returns the frame's reference to its data and forgets it.
func (f *Frame) Free() {
	f.Data.Free()
	f.Data = nil
}

// The fields of circuit.v1.Frame.
const (
	frameData        protowire.Number = 1
	frameOffset      protowire.Number = 2
	frameLost        protowire.Number = 3
	frameEnd         protowire.Number = 4
	frameMessage     protowire.Number = 5
	frameSizes       protowire.Number = 6
	frameRedelivered protowire.Number = 7
	frameConfirmed   protowire.Number = 8
	frameError       protowire.Number = 9
)

var errBadFrame = errors.New("malformed frame")

// marshal encodes all fields but data first, and then data by reference.
func (f *Frame) marshal() (mem.BufferSlice, error) {
	b := make([]byte, 0, 32+5*len(f.Sizes))
	b = appendUint(b, frameOffset, f.Offset)
	b = appendUint(b, frameLost, f.Lost)
	b = appendUint(b, frameEnd, protowire.EncodeBool(f.End))
	b = appendUint(b, frameMessage, f.Message)
	b = appendUint(b, frameRedelivered, protowire.EncodeBool(f.Redelivered))
	b = appendUint(b, frameConfirmed, f.Confirmed)
	if len(f.Sizes) > 0 {
		n := 0
		for _, s := range f.Sizes {
			n += protowire.SizeVarint(uint64(s))
		}
		b = protowire.AppendTag(b, frameSizes, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
		for _, s := range f.Sizes {
			b = protowire.AppendVarint(b, uint64(s))
		}
	}
	if f.Error != nil {
		e, err := proto.Marshal(f.Error)
		if err != nil {
			return nil, err
		}
		b = protowire.AppendTag(b, frameError, protowire.BytesType)
		b = protowire.AppendBytes(b, e)
	}
	n := f.Data.Len()
	if n == 0 {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	b = protowire.AppendTag(b, frameData, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	out := make(mem.BufferSlice, 0, 1+len(f.Data))
	out = append(out, mem.SliceBuffer(b))
	f.Data.Ref()
	return append(out, f.Data...), nil
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

// unmarshal decodes a frame. Where data comes last and all before it stands in
// the first buffer, as marshal writes it, data is taken by reference; any other
// order of fields is understood as well, by copying.
func (f *Frame) unmarshal(in mem.BufferSlice) error {
	*f = Frame{Sizes: f.Sizes[:0]}
	if len(in) == 0 {
		return nil
	}
	head := in[0].ReadOnlyData()
	rest, n, err := f.fields(head)
	switch at := len(head) - len(rest); {
	case err == nil && n == 0 && len(in) == 1:
		return nil
	case err == nil && n > 0 && at+n == in.Len():
		f.Data = slice(in, at)
		return nil
	}
	*f = Frame{Sizes: f.Sizes[:0]}
	all := in.Materialize()
	for {
		rest, n, err := f.fields(all)
		if err != nil || n > len(rest) {
			return errBadFrame
		}
		if n == 0 {
			return nil
		}
		f.Data = mem.BufferSlice{mem.SliceBuffer(rest[:n])}
		all = rest[n:]
	}
}

// fields decodes b up to its end, or up to the first byte of data, of which it
// returns the length: rest then begins with data, and may hold only a part.
func (f *Frame) fields(b []byte) (rest []byte, data int, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, 0, errBadFrame
		}
		b = b[n:]
		if num == frameData && typ == protowire.BytesType {
			size, n := protowire.ConsumeVarint(b)
			if n < 0 || size > math.MaxInt32 {
				return nil, 0, errBadFrame
			}
			if b = b[n:]; size > 0 {
				return b, int(size), nil
			}
			continue
		}
		if n = f.field(num, typ, b); n < 0 {
			return nil, 0, errBadFrame
		}
		b = b[n:]
	}
	return nil, 0, nil
}

// field decodes the value of one field other than data, and returns its length
// or a negative number.
func (f *Frame) field(num protowire.Number, typ protowire.Type, b []byte) int {
	switch {
	case num == frameSizes && typ == protowire.BytesType:
		list, n := protowire.ConsumeBytes(b)
		for len(list) > 0 && n > 0 {
			m := f.size(list)
			if m < 0 {
				return m
			}
			list = list[m:]
		}
		return n
	case num == frameSizes && typ == protowire.VarintType:
		return f.size(b)
	case num == frameError && typ == protowire.BytesType:
		e, n := protowire.ConsumeBytes(b)
		f.Error = new(circuitv1.Error)
		if n >= 0 && proto.Unmarshal(e, f.Error) != nil {
			return -1
		}
		return n
	case typ != protowire.VarintType:
		return protowire.ConsumeFieldValue(num, typ, b)
	}
	v, n := protowire.ConsumeVarint(b)
	switch num {
	case frameOffset:
		f.Offset = v
	case frameLost:
		f.Lost = v
	case frameEnd:
		f.End = protowire.DecodeBool(v)
	case frameMessage:
		f.Message = v
	case frameRedelivered:
		f.Redelivered = protowire.DecodeBool(v)
	case frameConfirmed:
		f.Confirmed = v
	}
	return n
}

func (f *Frame) size(b []byte) int {
	v, n := protowire.ConsumeVarint(b)
	if n >= 0 && v > math.MaxUint32 {
		return -1
	}
	f.Sizes = append(f.Sizes, uint32(v))
	return n
}

// slice returns references to the bytes of in from offset at to the end.
func slice(in mem.BufferSlice, at int) mem.BufferSlice {
	out := make(mem.BufferSlice, 0, len(in))
	for _, buf := range in {
		n := buf.Len()
		if at >= n {
			at -= n
			continue
		}
		out = append(out, buf.Slice(at, n))
		at = 0
	}
	return out
}
