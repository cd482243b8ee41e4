package circuit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
)

const x = "/X56e7a2a0d47a7b5d"

func TestParsePath(t *testing.T) {
	long := strings.Repeat("n", circuit.MaxNameBytes)
	for _, c := range []struct{ in, want string }{
		{"/", "/"},
		{"//", "/"},
		{x, x},
		{x + "/", x},
		{x + "//hi///charlie/", x + "/hi/charlie"},
		{x + "/grüße/日本 100%", x + "/grüße/日本 100%"},
		{x + "/" + long, x + "/" + long},
		{x + strings.Repeat("/n", circuit.MaxPathDepth-1), x + strings.Repeat("/n", circuit.MaxPathDepth-1)},
	} {
		p, err := circuit.ParsePath(c.in)
		if err != nil || p.String() != c.want {
			t.Errorf("%q: %v, %v; want %q", c.in, p, err, c.want)
		}
	}
	for _, in := range []string{
		"", "hi", "X56e7a2a0d47a7b5d", "/hi", "/X938fe923bcdef2390", "/X56E7A2A0D47A7B5D", "/Q56e7a2a0d47a7b5d", "/X0000000000000000",
		x + "/.", x + "/..", x + "/...", x + "/@any", x + "/a*", x + "/a?", x + "/[a", x + "/a]", x + "/{a", x + "/a}",
		x + "/\x00", x + "/a\nb", x + "/\xff", x + "/" + long + "n", x + strings.Repeat("/n", circuit.MaxPathDepth),
		x + strings.Repeat("/"+long, 17),
	} {
		if p, err := circuit.ParsePath(in); !errors.Is(err, circuit.Invalid) {
			t.Errorf("%.60q: %v, %v; want an Invalid error", in, p, err)
		}
	}
}

func TestPathParts(t *testing.T) {
	p, err := circuit.ParsePath(x + "/hi/charlie")
	if err != nil {
		t.Fatal(err)
	}
	id, ok := p.Server()
	if !ok || id.Path().String() != x || id.URLName() != "Q56e7a2a0d47a7b5d" {
		t.Errorf("server %v, %v", id, ok)
	}
	if p.Base() != "charlie" || p.Parent().String() != x+"/hi" || p.Parent().Parent() != id.Path() || id.Path().Parent() != circuit.Root {
		t.Errorf("base %q, parent %v", p.Base(), p.Parent())
	}
	if !id.Path().IsServer() || p.IsServer() || circuit.Root.IsServer() || !circuit.Root.IsRoot() {
		t.Error("IsServer or IsRoot is wrong")
	}
	if q, err := p.Join("a/b"); err != nil || q.String() != x+"/hi/charlie/a/b" || !p.Contains(q) || q.Contains(p) {
		t.Errorf("joined %v, %v", q, err)
	}
	sibling, err := p.Parent().Join("charlie2")
	if err != nil || p.Contains(sibling) || !circuit.Root.Contains(p) || !p.Contains(p) {
		t.Error("Contains is wrong")
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", x, x + "/hi/charlie", "//" + x + "//ü/", x + "/..."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := circuit.ParsePath(s)
		if err != nil {
			if !errors.Is(err, circuit.Invalid) || p != circuit.Root {
				t.Fatalf("%q: %v, %v", s, p, err)
			}
			return
		}
		again, err := circuit.ParsePath(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is %v, which is %v, %v", s, p, again, err)
		}
		if !p.IsRoot() {
			if back, err := p.Parent().Join(p.Base()); err != nil || back != p {
				t.Fatalf("%v: parent and base give %v, %v", p, back, err)
			}
			if _, ok := p.Server(); !ok {
				t.Fatalf("%v has no server", p)
			}
		}
	})
}
