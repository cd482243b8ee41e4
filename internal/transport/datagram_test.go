package transport

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func TestDatagramKeys(t *testing.T) {
	a, b, _ := securedPair(t) // b dialled
	acceptor, dialler := Binding{a, false}, Binding{b, true}
	keys := func(b Binding, own, peer uint32) (out, in []byte) {
		out, in, err := b.datagramKeys(own, peer)
		if err != nil {
			t.Fatal(err)
		}
		return out, in
	}
	aOut, aIn := keys(acceptor, 7, 9)
	bOut, bIn := keys(dialler, 9, 7)
	if !bytes.Equal(aOut, bIn) || !bytes.Equal(bOut, aIn) {
		t.Error("the two ends have different keys")
	}
	if len(aOut) != datagramKey || bytes.Equal(aOut, aIn) {
		t.Errorf("%d bytes; or the directions share a key", len(aOut))
	}
	otherOut, otherIn := keys(acceptor, 7, 10)
	a, _, _ = securedPair(t)
	elseOut, elseIn := keys(Binding{a, false}, 7, 9)
	for _, key := range [][]byte{otherOut, otherIn, elseOut, elseIn} {
		if bytes.Equal(key, aOut) || bytes.Equal(key, aIn) {
			t.Error("two links have a key in common")
		}
	}
}

// sealed returns the two halves of one direction.
func sealed() (*sealer, *opener) {
	key := bytes.Repeat([]byte{7}, datagramKey)
	var s sealer
	var o opener
	s.open(key, 0x01020304)
	o.open(key)
	return &s, &o
}

var testData = []byte("twelve bytes")

func TestDatagramFormat(t *testing.T) {
	s, _ := sealed()
	got := s.seal(testData)
	want := append([]byte{1, 2, 3, 4, 0, 0, 0, 1}, "twelve bytes"...)
	if len(got) != 28 || !bytes.Equal(got[:20], want) {
		t.Errorf("got %x", got)
	}
	// As another implementation of HMAC-SHA-256 has it.
	if mac := [8]byte(got[20:]); mac != [8]byte{0x44, 0xbb, 0x1f, 0x24, 0x49, 0x42, 0x34, 0x53} {
		t.Errorf("the MAC is %x", mac)
	}
}

func TestDatagramsAreChecked(t *testing.T) {
	s, o := sealed()
	first := bytes.Clone(s.seal(testData))
	for i := range first {
		for bit := range 8 {
			bad := bytes.Clone(first)
			bad[i] ^= 1 << bit
			if o.check(bad) {
				t.Errorf("bit %d of byte %d does not matter", bit, i)
			}
		}
	}
	second := bytes.Clone(s.seal(testData))
	if !o.check(second) || !o.check(first) {
		t.Error("genuine ones are refused, in another order")
	}
	if o.check(first) || o.check(second) {
		t.Error("a replay is taken")
	}
	if new(opener).check(s.seal(testData)) {
		t.Error("something is taken without a key")
	}
}

// TestDatagramCounterEnds never uses a counter twice.
func TestDatagramCounterEnds(t *testing.T) {
	s, o := sealed()
	s.counter = math.MaxUint32 - 1
	last := s.seal(testData)
	if c := binary.BigEndian.Uint32(last[tagSize:]); c != math.MaxUint32 || !o.check(last) {
		t.Errorf("the last counter is %d", c)
	}
	for range 2 {
		if s.seal(testData) != nil {
			t.Error("counters begin again")
		}
	}
}
