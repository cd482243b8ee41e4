package rpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that ours extends
	"google.golang.org/grpc/mem"
)

// Raw is any message, left encoded. The router passes messages on as Raw, and
// so needs to know none. References are as in Frame.
type Raw struct{ Data mem.BufferSlice }

// Free returns the reference to the message and forgets it.
func (r *Raw) Free() {
	r.Data.Free()
	r.Data = nil
}

type codec struct{ proto encoding.CodecV2 }

// Codec returns the codec of all connections between servers and clients. It
// is protobuf on the wire; in the program it takes *Frame and *Raw beside
// generated messages.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

// Name returns "proto", for that is what the wire carries.
func (c codec) Name() string { return "proto" }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Frame:
		return m.marshal()
	case *Raw:
		m.Data.Ref()
		return append(mem.BufferSlice(nil), m.Data...), nil
	}
	b, err := c.proto.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	return b, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *Frame:
		return m.unmarshal(data)
	case *Raw:
		data.Ref()
		m.Data = append(mem.BufferSlice(nil), data...)
		return nil
	}
	if err := c.proto.Unmarshal(data, v); err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	return nil
}
