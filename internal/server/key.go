package server

import (
	"fmt"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
)

// resolveKey returns the circuit's key from the sources there are, which must
// agree; and whether the server's URL carries it, because no key was
// configured. Where there is no source, a new circuit begins.
func resolveKey(cfg Config, kept circuit.Key) (key circuit.Key, inURL bool, err error) {
	source := ""
	take := func(from string, k circuit.Key) {
		switch {
		case k.IsZero() || err != nil:
		case key.IsZero():
			key, source = k, from
		case key != k:
			err = circuit.Errorf(circuit.Invalid, fmt.Sprintf("the key of %s is not the key of %s; a server is in one circuit", from, source))
		}
	}
	take("--key or CIRCUIT_KEY", cfg.Key)
	for _, u := range cfg.Join {
		take("-j "+u.String(), u.Key)
	}
	take("the data directory", kept)
	if err != nil {
		return circuit.Key{}, false, err
	}
	if key.IsZero() && len(cfg.Join) > 0 {
		return circuit.Key{}, false, circuit.Errorf(circuit.Invalid, "there is no key to join with; give the whole URL that the other server printed, or --key FILE on both")
	}
	if key.IsZero() {
		key = credential.NewKey()
	}
	return key, cfg.Key.IsZero(), nil
}
