package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
)

// The environment of Dial.
const (
	envCircuit = "CIRCUIT"     // a file that holds a URL, or a URL
	envKey     = "CIRCUIT_KEY" // a file that holds a key
)

// maxURLFile is the longest file that is taken for one that holds a URL.
const maxURLFile = 64 << 10

// resolve returns the servers to dial, in order of preference, and the
// circuit's key.
func (c *config) resolve(ctx context.Context, url string) (targets []URL, key Key, err error) {
	if url == "" {
		url, err = c.fromEnv()
		if err != nil {
			return nil, Key{}, err
		}
	}
	keys := keyring{}
	if err := c.configuredKeys(&keys); err != nil {
		return nil, Key{}, err
	}
	if url != "" {
		u, err := circuit.ParseURL(url)
		if err != nil {
			return nil, Key{}, err
		}
		targets = append(targets, u)
	}
	for _, text := range c.fallbacks {
		u, err := circuit.ParseURL(text)
		if err != nil {
			return nil, Key{}, err
		}
		targets = append(targets, u)
	}
	for _, u := range targets {
		if err := keys.add(u.Key, "the URL "+u.String()); err != nil {
			return nil, Key{}, err
		}
	}
	if url == "" {
		u, err := c.findLocal(ctx, keys.key)
		if err != nil {
			return nil, Key{}, err
		}
		targets = append([]URL{u}, targets...)
		if err := keys.add(u.Key, "the local server "+u.String()); err != nil {
			return nil, Key{}, err
		}
	}
	if keys.key.IsZero() {
		return nil, Key{}, circuit.Errorf(circuit.Invalid, fmt.Sprintf("no key for %s: use the URL with the key in it, or name the key's file, as in %s=FILE", targets[0].Address(), envKey))
	}
	return targets, keys.key, nil
}

// fromEnv returns the URL that CIRCUIT tells, "" if it is not set.
func (c *config) fromEnv() (string, error) {
	value := strings.TrimSpace(c.getenv(envCircuit))
	if value == "" || strings.Contains(value, "://") {
		return value, nil
	}
	text, err := readURLFile(value)
	if err == nil {
		return text, nil
	}
	if _, parsed := circuit.ParseURL(value); parsed == nil && errors.Is(err, os.ErrNotExist) {
		return value, nil
	}
	var why *os.PathError
	if errors.As(err, &why) {
		err = why.Err
	}
	return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("%s=%.200q is neither a file that holds a circuit URL nor such a URL: %v", envCircuit, value, err))
}

func readURLFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxURLFile+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", errors.New("the file is empty")
	}
	if _, err := circuit.ParseURL(text); err != nil {
		return "", err
	}
	return text, nil
}

// keyring is the key, and who said so first.
type keyring struct {
	key    Key
	source string
}

func (k *keyring) add(key Key, source string) error {
	switch {
	case key.IsZero() || key == k.key:
		return nil
	case k.key.IsZero():
		k.key, k.source = key, source
		return nil
	}
	return circuit.Errorf(circuit.Invalid, fmt.Sprintf("two different keys: from %s and from %s", k.source, source))
}

// configuredKeys adds the keys that do not come with URLs.
func (c *config) configuredKeys(keys *keyring) error {
	if err := keys.add(c.key, "the program"); err != nil {
		return err
	}
	for _, f := range []struct{ name, source string }{{c.keyFile, "the key file "}, {c.getenv(envKey), envKey + "="}} {
		if f.name == "" {
			continue
		}
		key, err := credential.LoadKey(f.name)
		if err != nil {
			return err
		}
		if err := keys.add(key, f.source+f.name); err != nil {
			return err
		}
	}
	return nil
}

// findLocal returns the newest server on this machine that answers.
func (c *config) findLocal(ctx context.Context, key Key) (URL, error) {
	return URL{}, circuit.Errorf(circuit.Unreachable, "no local server")
}
