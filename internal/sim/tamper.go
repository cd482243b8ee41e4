package sim

import "github.com/gocircuit/circuit/internal/membership"

// tamper plants faults that the checkers must find. It is for their tests.
type tamper struct {
	packet  func(*end, *packet) bool // reports whether the packet is swallowed
	outputs func(*process, []membership.Output) []membership.Output
}

func (s *Sim) tampered(e *end, p *packet) bool {
	return s.tamper != nil && s.tamper.packet != nil && s.tamper.packet(e, p)
}

func (s *Sim) tamperedOutputs(p *process, outs []membership.Output) []membership.Output {
	if s.tamper == nil || s.tamper.outputs == nil {
		return outs
	}
	return s.tamper.outputs(p, outs)
}
