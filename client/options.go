package client

import (
	"os"

	"github.com/gocircuit/circuit/internal/transport"
)

// Option is a setting of Dial.
type Option func(*config)

type config struct {
	key       Key
	keyFile   string
	fallbacks []string
	getenv    func(string) string
	notice    func(string)      // nil for none
	network   transport.Network // nil for TCP; tests have others
}

func newConfig(opts []Option) *config {
	c := &config{getenv: os.Getenv}
	for _, o := range opts {
		o(c)
	}
	return c
}

// WithKey gives the circuit's key. Without it, and without WithKeyFile, the key
// is the one in the URL, or else in the file that the environment variable
// CIRCUIT_KEY names. Keys given in several ways must be the same.
func WithKey(k Key) Option { return func(c *config) { c.key = k } }

// WithKeyFile names a file that holds the circuit's key, as circuit keygen
// makes it. A file that others can read is refused.
func WithKeyFile(path string) Option { return func(c *config) { c.keyFile = path } }

// WithFallback names further servers of the same circuit, as URLs or
// HOST:PORT, to dial in at when the first one cannot be reached, at once or
// later.
func WithFallback(urls ...string) Option {
	return func(c *config) { c.fallbacks = append(c.fallbacks, urls...) }
}

// WithNotice calls f with what people should know while they wait, a line without
// a newline: that the server which the client is connected to has not answered
// for 3 seconds. It may recover; if it does not, the calls that wait for it end
// within 10. f is called from any goroutine, may be called several times at once,
// and must neither block nor close the client.
func WithNotice(f func(text string)) Option { return func(c *config) { c.notice = f } }

// WithEnv takes the environment variables CIRCUIT and CIRCUIT_KEY, and those
// that say where local servers are found, from getenv instead of os.Getenv.
func WithEnv(getenv func(name string) string) Option { return func(c *config) { c.getenv = getenv } }
