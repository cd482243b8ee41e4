package server

import (
	"fmt"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
)

// resolveKey returns the circuit's key from the sources there are, which must
// agree; and whether the server's URL carries it, because no key was
// configured. Where there is no source, a new circuit begins.
func resolveKey(cfg Config, kept *state) (key circuit.Key, inURL bool, err error) {
	source := ""
	take := func(from string, k circuit.Key, advice string) {
		switch {
		case k.IsZero() || err != nil:
		case key.IsZero():
			key, source = k, from
		case key != k:
			err = circuit.Errorf(circuit.Invalid, fmt.Sprintf("the key of %s is not the key of %s; a server is in one circuit: %s", from, source, advice))
		}
	}
	take("--key or CIRCUIT_KEY", cfg.Key, "")
	for _, u := range cfg.Join {
		take("-j "+u.String(), u.Key, "give one of the two")
	}
	take("the data directory "+kept.dir, kept.key, "start without that key to go on in the circuit of the directory, or with another --data")
	switch {
	case err != nil:
		return circuit.Key{}, false, err
	case !key.IsZero():
		return key, cfg.Key.IsZero(), nil
	case len(cfg.Join) > 0:
		return circuit.Key{}, false, circuit.Errorf(circuit.Invalid, "there is no key to join with; give the whole URL that the other server printed, or --key FILE on both")
	case kept.used():
		return circuit.Key{}, false, circuit.Errorf(circuit.Invalid, fmt.Sprintf("the data directory %s is of a server whose key is not in it; give that with --key FILE or CIRCUIT_KEY, or start with another --data to begin a new circuit", kept.dir))
	}
	return credential.NewKey(), true, nil
}
