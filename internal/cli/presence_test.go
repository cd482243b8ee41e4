package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
	"github.com/gocircuit/circuit/client"
	"github.com/gocircuit/circuit/internal/server"
)

// onServer returns a program that finds s in CIRCUIT, and the server's anchor.
func onServer(t *testing.T, s *server.Server) (program, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(s.URL().Secret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return program{env: map[string]string{"CIRCUIT": file}}, s.URL().ID.Path().String()
}

// comeAndGo lets a server join the circuit of s and leave it, and returns its
// anchor.
func comeAndGo(t *testing.T, s *server.Server) string {
	t.Helper()
	other := startServer(t, server.Config{Join: []circuit.URL{s.URL()}})
	for deadline := time.Now().Add(10 * time.Second); len(s.Members()) < 2; {
		if time.Now().After(deadline) {
			t.Fatal("a server does not join in 10 s")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	other.Close(ctx)
	return other.URL().ID.Path().String()
}

// TestSubscriptions takes subscriptions through their lives by the command line.
func TestSubscriptions(t *testing.T) {
	s := startServer(t, server.Config{})
	p, x := onServer(t, s)
	came, gone := x+"/came", x+"/gone"
	p.must(t, "mk@join", came)
	p.must(t, "mk@leave", gone)
	p.fails(t, exitTaken, "circuit: mk@leave "+gone+": there is already a @leave here; scrub it first", "mk@leave", gone)
	other := comeAndGo(t, s)
	if out := p.must(t, "recv", "-n", "2", came); out != x+"\n"+other+"\n" {
		t.Errorf("recv of joins printed %q", out)
	}
	p.fails(t, exitTimeout, "circuit: recv "+came+": gave up after 100ms", "recv", "--timeout", "100ms", came)
	wantMatch(t, p.must(t, "recv", "-o", "json", gone), `^{"Change":"left","Path":"`+other+`","Address":"127\.0\.0\.1:\d+",("Version":"[^"]*",)?"Time":"[^"]+"}\n$`)
	wantMatch(t, p.must(t, "peek", gone), `^{\n\t"Kind": "@leave",\n\t"Pending": 0,\n\t"Overflow": 0,\n\t"Limit": 65536,\n`)
	wantMatch(t, p.must(t, "ls", "-l", x), `^@join 0 pending +`+came+`\n@leave 0 pending +`+gone+`\n$`)
	p.fails(t, exitUsage, "there is a @join here, not a channel", "send", came)
	p.must(t, "scrub", gone)
	p.fails(t, exitNotFound, "circuit: recv "+gone+": ", "recv", gone)
	p.must(t, "scrub", came)
}

// TestOverflow lets more servers come than may wait.
func TestOverflow(t *testing.T) {
	s := startServer(t, server.Config{Limits: server.Limits{Events: 2}})
	p, x := onServer(t, s)
	p.must(t, "mk@join", x+"/came")
	p.must(t, "mk@leave", x+"/gone")
	var others []string
	for range 3 {
		others = append(others, comeAndGo(t, s))
	}
	r := p.run("recv", "-n", "3", x+"/gone")
	if r.code != exitFailed || r.stdout != "overflow 1\n"+others[1]+"\n"+others[2]+"\n" {
		t.Errorf("recv: exit code %d, printed %q", r.code, r.stdout)
	}
	wantMatch(t, r.stderr, `^circuit: recv `+x+`/gone: too many events waited; lost: 1; circuit ls / .*\n$`)
	r = p.run("recv", "-o", "json", x+"/came")
	if r.code != exitFailed || r.stdout != `{"Change":"overflow","Lost":2}`+"\n" {
		t.Errorf("recv -o json: exit code %d, printed %q", r.code, r.stdout)
	}
	wantMatch(t, p.must(t, "ls", "-l", x), `(?m)^@leave 0 pending, 1 lost +`+x+`/gone$`)
}

// TestOverflowAndScrub: a recv --all that had missed events exited 8 when the
// subscription was scrubbed, as if it had them all.
func TestOverflowAndScrub(t *testing.T) {
	s := startServer(t, server.Config{Limits: server.Limits{Events: 1}})
	p, x := onServer(t, s)
	gone := x + "/gone"
	for _, lost := range []bool{true, false} {
		p.must(t, "mk@leave", gone)
		last := comeAndGo(t, s)
		if lost {
			last = comeAndGo(t, s)
		}
		ended := make(chan result, 1)
		go func() { ended <- p.run("recv", "--all", gone) }()
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.must(t, "peek", gone), `"NumRecv": 1,`); {
			if time.Now().After(deadline) {
				t.Fatal("nothing is received in 10 s")
			}
		}
		p.must(t, "scrub", gone)
		r, code, stdout := <-ended, exitClosed, last+"\n"
		if lost {
			code, stdout = exitFailed, "overflow 1\n"+stdout
		}
		if r.code != code || r.stdout != stdout || !strings.HasSuffix(r.stderr, "circuit: recv "+gone+": the subscription was scrubbed\n") {
			t.Errorf("lost %v: exit code %d, printed %q, standard error %q", lost, r.code, r.stdout, r.stderr)
		}
	}
}

func TestServersAndOverlay(t *testing.T) {
	s := startServer(t, server.Config{Version: "circuit v1"})
	other := startServer(t, server.Config{Join: []circuit.URL{s.URL()}, Version: "circuit v1"})
	for deadline := time.Now().Add(10 * time.Second); len(s.Members())+len(other.Members()) < 4; {
		if time.Now().After(deadline) {
			t.Fatal("two servers are no circuit after 10 s")
		}
	}
	p, x := onServer(t, s)
	paths := []string{x, other.URL().ID.Path().String()}
	slices.Sort(paths)
	const columns = ` +127\.0\.0\.1:\d+ +\d+s +\d+\.\d\dms +1 v1\n`
	wantMatch(t, p.must(t, "servers"), `^PATH +ADDRESS +AGE +ROUND-TRIP +NEIGHBOURS +VERSION\n`+paths[0]+columns+paths[1]+columns+`$`)
	wantMatch(t, p.must(t, "servers", "-o", "json"), `^{"Path":"`+paths[0]+`","Address":"[^"]+","Version":"circuit v1","Joined":"[^"]+","Age":\d+,"RoundTrip":\d+,"Neighbours":\["`+paths[1]+`"\]}\n`)
	wantMatch(t, p.must(t, "overlay"), `^servers      2\nlinks        1, all known at both ends\ndegree       1 to 1, 1\.00 on average\ncomponents   1\n`)
	wantMatch(t, p.must(t, "overlay", "-o", "json"), `^{"Servers":\[{"Path":"`+paths[0]+`",.*"Links":\[{"A":"`+paths[0]+`","B":"`+paths[1]+`"}\],"Silent":0,.*}\n$`)
	wantMatch(t, p.must(t, "overlay", "-o", "dot"), `^graph circuit {\n(?s:.*)\t"`+paths[0]+`" -- "`+paths[1]+`" \[style=solid\];\n}\n$`)
	program{}.fails(t, exitUsage, `overlay: -o "yaml": expected text, json or dot`, "overlay", "-o", "yaml")
	program{}.fails(t, exitUsage, `servers: -o "dot": expected text or json`, "servers", "-o", "dot")
}

// TestUndialableServer asks all servers, of which one advertises an address where
// it is not found: ls ended there, and all named the address.
func TestUndialableServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	foreign := startServer(t, server.Config{})
	for address, says := range map[string]string{
		l.Addr().String():       "nothing listens there",
		foreign.URL().Address(): "this server belongs to another circuit",
	} {
		t.Run(says, func(t *testing.T) { undialable(t, address, says) })
	}
}

func undialable(t *testing.T, address, says string) {
	s := startServer(t, server.Config{})
	p, x := onServer(t, s)
	data := t.TempDir()
	const lost = "/X0000000000000001" // before all others
	if err := os.WriteFile(filepath.Join(data, "id"), []byte(lost[1:]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, server.Config{Join: []circuit.URL{s.URL()}, DataDir: data, Advertise: address})
	for deadline := time.Now().Add(10 * time.Second); len(s.Members()) < 2; {
		if time.Now().After(deadline) {
			t.Fatal("two servers are no circuit after 10 s")
		}
	}
	p.must(t, "mkchan", x+"/here")
	for _, args := range [][]string{{"ls", "/..."}, {"servers"}, {"overlay"}} {
		r := p.run(args...)
		if r.code != exitSome || !strings.Contains(r.stdout, x) && args[0] != "overlay" {
			t.Errorf("circuit %v: exit code %d, printed %q", args, r.code, r.stdout)
		}
		wantMatch(t, r.stderr, `^circuit: `+args[0]+` `+lost+`: `+address+`: `+says)
		if args[0] == "ls" && r.stdout != fmt.Sprintf("---- %s\nchan %s/here\n", x, x) {
			t.Errorf("ls printed %q", r.stdout)
		}
	}
	p.fails(t, exitUnreachable, "circuit: peek "+lost+": "+address+": ", "peek", lost)
}

// TestJSONForScripts wants numbers of bytes to be numbers, lists to be lists, also
// empty ones, and servers to be paths: peek printed "0", null and X....
func TestJSONForScripts(t *testing.T) {
	s := startServer(t, server.Config{})
	p, x := onServer(t, s)
	p.must(t, "mkchan", x+"/c", "3")
	p.with(`{"Path":"/bin/true"}`).must(t, "mkproc", x+"/p")
	p.must(t, "wait", x+"/p")
	for _, args := range [][]string{{"peek", x}, {"peek", x + "/p"}, {"wait", x + "/p"}, {"peek", x + "/c"}, {"servers"}, {"overlay"}} {
		out := p.must(t, append(args, "-o", "json")...)
		for _, field := range []string{"SpoolBytes", "ChanBytes", "MaxRSS", "BufferedBytes", "Servers", "Neighbours", "Args", "Links", "Components"} {
			if strings.Contains(out, `"`+field+`":"`) || strings.Contains(out, `"`+field+`":null`) {
				t.Errorf("circuit %v: %s in %s", args, field, out)
			}
		}
	}
	other := startServer(t, server.Config{Join: []circuit.URL{s.URL()}})
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.must(t, "peek", "-o", "json", x), `"Neighbours":["`+other.URL().ID.Path().String()+`"]`); {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s: %s", p.must(t, "peek", "-o", "json", x))
		}
	}
}

// TestBadOverlay prints a graph with all that can be wrong with one.
func TestBadOverlay(t *testing.T) {
	path := func(id circuit.ServerID) client.Path { return id.Path() }
	o := &client.Overlay{
		Servers:    []client.OverlayServer{{Path: path(1), Address: "a:1"}, {Path: path(2), Silent: true, Err: errors.New("gone")}},
		Links:      []client.OverlayLink{{A: path(1), B: path(2), OneSided: true}},
		Silent:     1,
		OneSided:   1,
		MinDegree:  1,
		MeanDegree: 1.5,
		MaxDegree:  3,
		Components: []int{5, 2, 1},
		Lambda2:    1,
		Ideal:      0.6614,
		Diameter:   4, MeanDistance: 2.25,
	}
	want := `servers      2, of which 1 did not answer
links        1, of which 1 known at one end only
degree       1 to 3, 1.50 on average
components   3, of 5 2 1 servers
|lambda2|/d  1.000, ideal 0.661
diameter     4, 2.25 on average
`
	if got := string(overlayText(o)); got != want {
		t.Errorf("printed\n%s", got)
	}
	got := string(dot(o))
	for _, line := range []string{
		`"/X0000000000000001" [label="X0000000000000001\na:1", style=solid];`,
		`"/X0000000000000002" [label="X0000000000000002\n", style=dashed];`,
		`"/X0000000000000001" -- "/X0000000000000002" [style=dashed];`,
	} {
		if !regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(line) + `$`).MatchString(got) {
			t.Errorf("no line %s in\n%s", line, got)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m1s", time.Hour: "1h0m",
		25*time.Hour + 30*time.Minute: "1d1h", 72 * time.Hour: "3d0h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, strings.TrimSpace(got), want)
		}
	}
}
