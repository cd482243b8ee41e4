package rpc

import (
	"fmt"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
)

// The protocol versions that this program speaks.
const (
	MinVersion = 1
	MaxVersion = 1
)

// NewHello returns the Hello of this program: its protocol versions, no
// features, and its name and version for people.
func NewHello(software string) *circuitv1.Hello {
	return &circuitv1.Hello{MinVersion: MinVersion, MaxVersion: MaxVersion, Software: software}
}

// Compatible returns nil if two speakers have a protocol version in common,
// and otherwise an error of kind Unsupported that names both.
func Compatible(ours, theirs *circuitv1.Hello) error {
	if max(ours.GetMinVersion(), theirs.GetMinVersion()) <= min(ours.GetMaxVersion(), theirs.GetMaxVersion()) {
		return nil
	}
	return circuit.Errorf(circuit.Unsupported, fmt.Sprintf("no common protocol version: %s speaks %d to %d, %s speaks %d to %d; upgrade the older one",
		software(ours), ours.GetMinVersion(), ours.GetMaxVersion(), software(theirs), theirs.GetMinVersion(), theirs.GetMaxVersion()))
}

func software(h *circuitv1.Hello) string {
	if h.GetSoftware() == "" {
		return "an unnamed peer"
	}
	return fmt.Sprintf("%.80q", h.GetSoftware())
}
