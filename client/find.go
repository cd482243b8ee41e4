package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/dialfile"
)

// The environment of Dial.
const (
	envCircuit = "CIRCUIT"     // a file that holds a URL, or a URL
	envKey     = "CIRCUIT_KEY" // a file that holds a key
)

// maxURLFile is the longest file that is taken for one that holds a URL.
const maxURLFile = 64 << 10

// resolved is where to dial.
type resolved struct {
	targets []URL // in order of preference
	key     Key
	found   *dialed // targets[0], if it was found and is connected already
}

// resolve finds out which servers to dial, and the circuit's key.
func (c *config) resolve(ctx context.Context, url string) (r resolved, err error) {
	known := make(chan told, 1)
	// Nothing ends the reading of a pipe into which nobody writes: it is left
	// to itself then.
	go func() { known <- c.told(url) }()
	var t told
	select {
	case t = <-known:
	case <-ctx.Done():
		return r, contextError(ctx, nil)
	}
	if t.err != nil {
		return r, t.err
	}
	url, keys := t.url, t.keys
	texts := c.fallbacks
	if url != "" {
		texts = append([]string{url}, texts...)
	}
	for _, text := range texts {
		u, err := circuit.ParseURL(text)
		if err != nil {
			return r, err
		}
		if err := keys.add(u.Key, "the URL "+u.String()); err != nil {
			return r, err
		}
		r.targets = append(r.targets, u)
	}
	if url == "" {
		if r.found, err = c.findLocal(ctx, keys.key); err != nil {
			return r, err
		}
		r.targets = append([]URL{r.found.target}, r.targets...)
		_ = keys.add(r.found.target.Key, "") // it is the same, or the only one
	}
	if r.key = keys.key; r.key.IsZero() {
		return r, circuit.Errorf(circuit.Invalid, fmt.Sprintf("no key for %s: use the URL with the key in it, or name the file of the key with %s", r.targets[0].Address(), envKey))
	}
	return r, nil
}

// told is what the program and the environment tell.
type told struct {
	url  string // "" if there is none
	keys keyring
	err  error
}

// told reads what there is to know without asking anybody. url is the program's.
func (c *config) told(url string) (t told) {
	if t.url = url; url == "" {
		t.url, t.err = c.fromEnv()
	}
	if t.err == nil {
		t.err = c.configuredKeys(&t.keys)
	}
	return t
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
	if errors.Is(err, os.ErrNotExist) && (strings.Contains(value, "@") || circuit.Redact(value) != value) {
		return "", circuit.Errorf(circuit.Invalid, envCircuit+" is neither a file that holds a circuit URL nor such a URL")
	}
	var why *os.PathError
	if errors.As(err, &why) {
		err = why.Err
	}
	return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("%s=%.200q is neither a file that holds a circuit URL nor such a URL: %v", envCircuit, circuit.Redact(value), err))
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
		if _, err := circuit.ParseKey(f.name); err == nil {
			return circuit.Errorf(circuit.Invalid, strings.TrimRight(f.source, " =")+" must name a file that holds the key, not hold the key itself")
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

// Local servers that are tried. Times are counted in ticks of localStart that this
// program saw: while the machine is too busy to run it, no server is late.
const (
	maxLocal   = 16
	localStart = 50 * time.Millisecond // the head start of each over the next
	localTicks = 6                     // for how many ticks it comes before later ones
	localLimit = 60                    // how many ticks they all have
	localTime  = localLimit * localStart
)

// findLocal connects to the newest server of this user on this machine that
// answers; a key that is not zero excludes servers of other circuits.
func (c *config) findLocal(ctx context.Context, key Key) (*dialed, error) {
	dir := dialfile.Dir(c.getenv)
	urls, err := dialfile.List(dir)
	if err != nil {
		return nil, err
	}
	var others []string // and why they will not do
	var candidates []URL
	for _, u := range urls {
		if !key.IsZero() && !u.Key.IsZero() && u.Key != key {
			others = append(others, u.Address()+" has another key")
			continue
		}
		if u.Key.IsZero() {
			u.Key = key
		}
		candidates = append(candidates, u)
	}
	won, failed := c.race(ctx, candidates[:min(len(candidates), maxLocal)])
	if won != nil {
		return won, nil
	}
	for _, d := range failed {
		others = append(others, nameFailure(d))
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, nil)
	}
	why := fmt.Sprintf("no server of this user runs here (none in %s)", dir)
	if len(others) > 0 {
		why = "of the servers here none will do: " + strings.Join(others, "; ")
	}
	return nil, circuit.Errorf(circuit.Unreachable, fmt.Sprintf("no server to dial: no URL is given, %s is not set, and %s; name a server with -d URL", envCircuit, why))
}

// race connects to the newest of the candidates, which come first, that
// answers. Each has a head start over the next, and some time in which it is
// preferred to it; when that is over, the first that answers will do.
func (c *config) race(ctx context.Context, candidates []URL) (won *dialed, failed []dialed) {
	ctx, stop := context.WithTimeoutCause(ctx, 2*dialTime, errNoLocal()) // however busy the machine is
	defer stop()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	answers := make(chan func(), len(candidates))
	results := make([]*dialed, 0, len(candidates)) // nil while there is none
	pending := 0
	begin := func() {
		i := len(results)
		results, pending = append(results, nil), pending+1
		go func() {
			d := c.tryLocal(ctx, candidates[i])
			answers <- func() { results[i] = &d }
		}()
	}
	ticker := time.NewTicker(localStart)
	defer ticker.Stop()
	for tick := 0; ; {
		for won == nil && len(results) < len(candidates) && (len(results) <= tick || pending == 0) {
			begin()
		}
		if pending == 0 {
			break
		}
		select {
		case answer := <-answers:
			pending--
			answer()
		case <-ticker.C:
			if tick++; tick == localLimit {
				end(errNoLocal())
			}
		}
		if won == nil {
			if won = preferred(results, tick); won != nil {
				end(nil)
			}
		}
	}
	for _, d := range results {
		switch {
		case d.err != nil:
			failed = append(failed, *d)
		case d != won:
			d.link.Close()
		}
	}
	return won, failed
}

func errNoLocal() error {
	return circuit.Errorf(circuit.Unreachable, fmt.Sprintf("no answer within %v", localTime))
}

// preferred returns the one to take of the candidates that were begun, nil if
// there is none yet.
func preferred(results []*dialed, tick int) *dialed {
	for i, d := range results {
		switch {
		case d == nil && tick < i+localTicks:
			return nil
		case d != nil && d.err == nil:
			return d
		}
	}
	return nil
}

func (c *config) tryLocal(ctx context.Context, u URL) dialed {
	dial, err := c.dialer(u.Key)
	if err != nil {
		return dialed{target: u, err: err}
	}
	return dialTarget(ctx, dial, u)
}
