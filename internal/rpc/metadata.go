package rpc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/gocircuit/circuit"
)

// The metadata keys of the wire; api/circuit/v1/common.proto describes them.
const (
	keyPath       = "circuit-path"
	keyGeneration = "circuit-generation"
	keyForwarded  = "circuit-forwarded"
	keyBulk       = "circuit-bulk"
)

// WithPath lets calls made with the context concern the anchor at p.
func WithPath(ctx context.Context, p circuit.Path) context.Context {
	return metadata.AppendToOutgoingContext(ctx, keyPath, escape(p.String()))
}

// PathFrom returns the path that an incoming call concerns: the root if it
// names none. Errors are of kind Invalid.
func PathFrom(ctx context.Context) (circuit.Path, error) {
	s, ok, err := single(ctx, keyPath)
	if !ok || err != nil {
		return circuit.Root, err
	}
	text, err := unescape(s)
	if err != nil {
		return circuit.Root, err
	}
	return circuit.ParsePath(text)
}

// WithGeneration lets calls made with the context concern one generation of an
// element; 0 means whichever is there.
func WithGeneration(ctx context.Context, generation uint64) context.Context {
	if generation == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, keyGeneration, strconv.FormatUint(generation, 10))
}

// GenerationFrom returns the generation that an incoming call concerns, 0 if
// it names none. Errors are of kind Invalid.
func GenerationFrom(ctx context.Context) (uint64, error) {
	s, ok, err := single(ctx, keyGeneration)
	if !ok || err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, circuit.Errorf(circuit.Invalid, keyGeneration+" is not a decimal number")
	}
	return n, nil
}

// WithBulk marks calls made with the context as carrying much data, so that
// they share no connection with small ones.
func WithBulk(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, keyBulk, "1")
}

// IsBulk reports whether calls made with the context are marked by WithBulk.
func IsBulk(ctx context.Context) bool {
	md, _ := metadata.FromOutgoingContext(ctx)
	return len(md.Get(keyBulk)) > 0
}

// Forward returns a context for passing an incoming call on to another server:
// with the call's metadata and deadline, marked as forwarded.
func Forward(ctx context.Context) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{keyForwarded: {"1"}}
	for k, v := range in {
		if strings.HasPrefix(k, "circuit-") && k != keyForwarded {
			out[k] = v
		}
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// IsForwarded reports whether an incoming call carries the mark of Forward.
// Whether to believe it is for package access to say.
func IsForwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, keyForwarded)) > 0
}

func single(ctx context.Context, key string) (value string, ok bool, err error) {
	v := metadata.ValueFromIncomingContext(ctx, key)
	if len(v) > 1 {
		return "", false, circuit.Errorf(circuit.Invalid, key+" is given more than once")
	}
	if len(v) == 0 {
		return "", false, nil
	}
	return v[0], true, nil
}

const hexDigits = "0123456789ABCDEF"

// escape percent-encodes what metadata cannot carry as it is.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 > len(s) {
			return "", badEscape(s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", badEscape(s)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}

func badEscape(s string) error {
	return circuit.Errorf(circuit.Invalid, fmt.Sprintf("%s %.60q is not percent-encoded", keyPath, s))
}
