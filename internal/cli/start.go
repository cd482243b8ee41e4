package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/server"
)

const startHelp = `  circuit start -a 10.0.0.1:11022
  circuit start -a 10.0.0.2:11088 -j circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d

Usage: circuit start [-a HOST:PORT] [-j URL]... [flags]

Runs a server, and prints one line on standard output, its URL, once it is usable.
Copy it to the -j of the next server. Unless a key is configured, the URL holds
the circuit's key, and is as secret.

  -a HOST:PORT          listen here (127.0.0.1:11022, which other hosts cannot
                        reach); port 0 takes any, and no host, or 0.0.0.0,
                        listens on all interfaces
  -j URL                join the circuit of this server: a URL, @FILE, - for
                        standard input, or HOST:PORT with a key; may be repeated
                        for up to 64 servers, any one that answers is enough, and
                        if none does, the server keeps trying
  --key FILE            the circuit's key, as circuit keygen makes it (or
                        CIRCUIT_KEY)
  --if NAME             listen on the address of this network interface; -a, if
                        given, then says the port, as :11022
  --advertise HOST:PORT where others reach this server, if not where it listens
  --data DIR            keep identity, key, peers and output here across restarts
  --log-format FORMAT   text or json; the log goes to standard error
  --limit NAME=VALUE    change a limit; may be repeated:

%s
INT or TERM: leaves the circuit, ends the processes that it hosts, and exits 0. A
second signal ends it at once.
`

func (a *app) startCommand() command {
	s := &starter{app: a, logFormat: formatText}
	return command{
		use:   "start",
		short: "run a server",
		help:  fmt.Sprintf(startHelp, limitsHelp()),
		local: true,
		flags: s.flags,
		run:   s.run,
	}
}

// starter is what start is called with.
type starter struct {
	app       *app
	config    server.Config
	join      []string
	limits    []string
	logFormat format
}

func (s *starter) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.config.Addr, "address", "a", "", "listen here")
	f.StringArrayVarP(&s.join, "join", "j", nil, "join the circuit of this server: a URL, @FILE or -")
	f.StringVar(&s.config.Interface, "if", "", "listen on the address of this network interface")
	f.StringVar(&s.config.Advertise, "advertise", "", "where others reach this server")
	f.StringVar(&s.config.DataDir, "data", "", "keep what is to survive a restart here")
	f.Var(&s.logFormat, "log-format", "text or json")
	f.StringArrayVar(&s.limits, "limit", nil, "NAME=VALUE: change a limit")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("limit", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, d := range server.LimitDocs() {
			names = append(names, cobra.CompletionWithDesc(d.Name+"=", d.Help))
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

// limitsHelp lists the limits for the help.
func limitsHelp() string {
	var b strings.Builder
	for _, d := range server.LimitDocs() {
		value := fmt.Sprint(d.Default)
		if d.Bytes {
			value = circuit.Size(d.Default).String()
		}
		fmt.Fprintf(&b, "    %-14s %8s  %s\n", d.Name, value, d.Help)
	}
	return b.String()
}

// run runs the server, and ends its log. What it failed at is not said where
// standard error took not even the log.
func (s *starter) run(ctx context.Context, _ *cobra.Command, _ []string) error {
	log := newLogQueue(s.app.stderr, s.logFormat)
	s.config.Log = log.logger()
	err := s.serve(ctx)
	if !log.close(s.app.second) && err != nil {
		return status(errorCode(client.KindOf(err)))
	}
	return err
}

// serve starts the server and waits for its end. A signal ends it well, however
// far it has come.
func (s *starter) serve(ctx context.Context) error {
	srv, err := s.start(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	if err := s.printURL(srv.URL()); err != nil {
		s.close(srv)
		return err
	}
	select {
	case <-srv.Done():
	case <-ctx.Done():
		s.close(srv)
	}
	return srv.Err()
}

func (s *starter) start(ctx context.Context) (*server.Server, error) {
	if err := s.configure(ctx); err != nil {
		return nil, err
	}
	s.app.lingers.Store(true)
	return server.Start(ctx, s.config)
}

// close stops the server, at once when a second signal comes.
func (s *starter) close(srv *server.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Close(ctx)
	}()
	select {
	case <-stopped:
		return
	case <-s.app.second:
	}
	cancel()
	<-stopped
}

// configure settles what the flags and the environment say.
func (s *starter) configure(ctx context.Context) error {
	a := s.app
	for _, value := range s.join {
		texts, err := a.urlArguments(ctx, "-j", value)
		if err != nil {
			return err
		}
		for _, text := range texts {
			u, err := circuit.ParseURL(text)
			if err != nil {
				return err
			}
			s.config.Join = append(s.config.Join, u)
		}
	}
	for _, l := range s.limits {
		if err := s.config.Limits.Set(l); err != nil {
			return err
		}
	}
	key, err := a.configuredKey(ctx)
	if err != nil {
		return err
	}
	s.config.Key = key
	s.config.Version = "circuit " + buildVersion().Version
	return nil
}

// configuredKey loads the key that --key and CIRCUIT_KEY name; zero if none does.
// It takes no longer than ctx.
func (a *app) configuredKey(ctx context.Context) (circuit.Key, error) {
	var key circuit.Key
	for _, f := range []struct{ source, file string }{{"--key", a.flags.key}, {"CIRCUIT_KEY", a.env.Getenv("CIRCUIT_KEY")}} {
		if f.file == "" {
			continue
		}
		if _, err := circuit.ParseKey(f.file); err == nil {
			return circuit.Key{}, errKeyGiven(f.source)
		}
		k, err := await(ctx, func() (circuit.Key, error) { return credential.LoadKey(f.file) })
		if err != nil {
			return circuit.Key{}, err
		}
		if !key.IsZero() && k != key {
			return circuit.Key{}, circuit.Errorf(circuit.Invalid, "--key and CIRCUIT_KEY name files with different keys")
		}
		key = k
	}
	return key, nil
}

// errKeyGiven says that a key was given in place of the name of its file.
func errKeyGiven(source string) error {
	return circuit.Errorf(circuit.Invalid, source+" must name a file that holds the key, not hold the key itself")
}

// printURL prints the one line that start prints.
func (s *starter) printURL(u circuit.URL) error {
	if s.app.flags.json() {
		return s.app.printJSON(struct{ URL string }{u.Secret()})
	}
	_, err := fmt.Fprintln(s.app.stdout, u.Secret())
	return err
}
