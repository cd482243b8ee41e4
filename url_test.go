package circuit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gocircuit/circuit"
)

const key = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyISE"

func TestParseURL(t *testing.T) {
	k, err := circuit.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in     string
		want   circuit.URL
		public string
	}{
		{"circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d",
			circuit.URL{Host: "10.0.0.1", Port: 11022, PID: 78517, ID: 0x56e7a2a0d47a7b5d}, "circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d"},
		{"circuit://" + key + "@db.example:1/2/Q0000000000000001\n",
			circuit.URL{Key: k, Host: "db.example", Port: 1, PID: 2, ID: 1}, "circuit://db.example:1/2/Q0000000000000001"},
		{"10.0.0.1:11022", circuit.URL{Host: "10.0.0.1", Port: 11022}, "circuit://10.0.0.1:11022"},
		{"circuit://[::1]:11022", circuit.URL{Host: "::1", Port: 11022}, "circuit://[::1]:11022"},
		{"circuit://" + key + "@localhost:80/", circuit.URL{Key: k, Host: "localhost", Port: 80}, "circuit://localhost:80"},
	} {
		u, err := circuit.ParseURL(c.in)
		if err != nil || u != c.want || u.String() != c.public {
			t.Errorf("%q: %#v, %v", c.in, u, err)
		}
		if back, err := circuit.ParseURL(u.Secret()); err != nil || back != u {
			t.Errorf("%q: its own text gives %#v, %v", c.in, back, err)
		}
	}
	for _, in := range []string{
		"", "localhost", "localhost:", ":11022", "localhost:0", "localhost:65536", "localhost:+1", "http://localhost:80", "circuit:localhost:80",
		"localhost:80/1/Q56e7a2a0d47a7b5d", "circuit://localhost:80/1", "circuit://localhost:80/1/X56e7a2a0d47a7b5d", "circuit://localhost:80/-1/Q56e7a2a0d47a7b5d",
		"circuit://localhost:80/1/Q0000000000000000", "circuit://secret@localhost:80", "circuit://" + key[1:] + "@localhost:80", "circuit://lo cal:80", "::1:11022",
	} {
		u, err := circuit.ParseURL(in)
		if !errors.Is(err, circuit.Invalid) {
			t.Errorf("%q: %#v, %v; want an Invalid error", in, u, err)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), key[1:]) {
			t.Errorf("%q: the error tells the key: %v", in, err)
		}
	}
}

func TestKeyNeverFormats(t *testing.T) {
	k, err := circuit.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	u := circuit.URL{Key: k, Host: "h", Port: 1}
	j, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q %d %x", k, k, k, k, k, k, k), fmt.Sprintf("%v %+v %#v %d", u, u, u, u.Key), string(j)} {
		if strings.Contains(s, key) || strings.Contains(s, "102") {
			t.Errorf("the key shows in %s", s)
		}
	}
	if k.Encode() != key || !strings.Contains(u.Secret(), key) {
		t.Error("the key is lost")
	}
}

func FuzzURL(f *testing.F) {
	f.Add("circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d")
	f.Add("circuit://" + key + "@[::1%eth0]:1")
	f.Add("host:1")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := circuit.ParseURL(s)
		if err != nil {
			if !errors.Is(err, circuit.Invalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if back, err := circuit.ParseURL(u.Secret()); err != nil || back.Address() != u.Address() || back.Key != u.Key || back.ID != u.ID {
			t.Fatalf("%q is %#v, whose text %q gives %#v, %v", s, u, u.Secret(), back, err)
		}
	})
}
