package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gocircuit/circuit/client"
)

// patience is how long a command waits for an answer before it says so.
const patience = 3 * time.Second

// maxURLFile is the most that is read of a file of URLs.
const maxURLFile = 64 << 10

// dial connects to the circuit as the flags and the environment say, within
// --timeout.
func (a *app) dial(ctx context.Context) (*client.Client, error) {
	ctx, cancel := a.withTimeout(ctx)
	defer cancel()
	c, err := a.dialWithin(ctx)
	return c, overdue(ctx, err)
}

func (a *app) dialWithin(ctx context.Context) (*client.Client, error) {
	opts := []client.Option{
		client.WithEnv(a.env.Getenv),
		client.WithNotice(func(text string) { fmt.Fprintf(a.stderr, "circuit: %s\n", text) }),
	}
	if _, err := client.ParseKey(a.flags.key); err == nil {
		return nil, errKeyGiven("--key")
	}
	if a.flags.key != "" {
		opts = append(opts, client.WithKeyFile(a.flags.key))
	}
	var urls []string
	for _, value := range a.flags.dial {
		more, err := a.urlArguments(ctx, "-d", value)
		if err != nil {
			return nil, err
		}
		urls = append(urls, more...)
	}
	first, where := "", "a server"
	if len(urls) > 0 {
		first = urls[0]
		opts = append(opts, client.WithFallback(urls[1:]...))
		if u, err := client.ParseURL(first); err == nil {
			where = u.Address()
		}
	}
	defer a.patient("still dialling " + where)()
	return client.Dial(ctx, first, opts...)
}

// reach dials in, and calls f with the anchor at a path.
func (a *app) reach(ctx context.Context, path string, f func(*client.Anchor) error) error {
	p, err := client.ParsePath(path)
	if err != nil {
		return err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c.Anchor(p))
}

// ask is reach for an answer that is to come at once.
func (a *app) ask(ctx context.Context, path string, f func(context.Context, *client.Anchor) error) error {
	return a.reach(ctx, path, func(anchor *client.Anchor) error {
		defer a.patient("still waiting for an answer about " + path)()
		return f(ctx, anchor)
	})
}

// patient says on standard error that the command waits, if it still does after
// a few seconds. The function that it returns ends that.
func (a *app) patient(what string) (stop func()) {
	t := time.AfterFunc(patience, func() { fmt.Fprintf(a.stderr, "circuit: %s\n", what) })
	return func() { t.Stop() }
}

// urlArguments returns the URLs that the value of -d or -j stands for: itself,
// @FILE the lines of a file, - the first line of standard input. Errors never
// repeat a URL, which may hold the key. It takes no longer than ctx.
func (a *app) urlArguments(ctx context.Context, flag, value string) ([]string, error) {
	bad := func(text string, args ...any) ([]string, error) {
		return nil, &client.Error{Op: flag, Kind: client.ErrInvalid, Err: fmt.Errorf(text, args...)}
	}
	text, err := await(ctx, func() (string, error) { return a.urlText(value) })
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return bad("%s", plainError(err))
	}
	urls := strings.Fields(text)
	if len(urls) == 0 {
		return bad("there is no URL in %s", describeSource(value))
	}
	for _, u := range urls {
		if _, err := client.ParseURL(u); err != nil {
			return bad("%w", err)
		}
	}
	return urls, nil
}

// urlText reads the text that holds the URLs.
func (a *app) urlText(value string) (string, error) {
	if value == "-" {
		line, err := readLine(a.env.Stdin)
		if err != nil {
			return "", fmt.Errorf("standard input cannot be read: %s", plainError(err))
		}
		return line, nil
	}
	name, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxURLFile))
	return string(b), err
}

func describeSource(value string) string {
	switch {
	case value == "-":
		return "the first line of standard input"
	case strings.HasPrefix(value, "@"):
		return value[1:]
	}
	return "an empty argument"
}

// readLine reads one line and not a byte more: the rest is for others.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxURLFile; {
		n, err := r.Read(b)
		if n == 1 && b[0] != '\n' {
			line = append(line, b[0])
		}
		switch {
		case n == 1 && b[0] == '\n', err == io.EOF:
			return string(line), nil
		case err != nil:
			return "", err
		}
	}
	return string(line), nil
}
