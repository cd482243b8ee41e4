package credential

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocircuit/circuit"
)

const id1, id2 = circuit.ServerID(0x56e7a2a0d47a7b5d), circuit.ServerID(0x1)

func mustNew(t *testing.T, key circuit.Key, role Role, id circuit.ServerID) *Credential {
	t.Helper()
	c, err := New(key, role, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// handshake connects client to server and returns what each learnt.
func handshake(t *testing.T, server, client *tls.Config) (atServer, atClient Peer, serverErr, clientErr error) {
	t.Helper()
	a, b := loopback(t)
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer a.Close()
		s := tls.Server(a, server)
		if serverErr = s.Handshake(); serverErr == nil {
			atServer, serverErr = PeerOf(s.ConnectionState())
			s.Write([]byte("x"))
		}
	}()
	c := tls.Client(b, client)
	if clientErr = c.Handshake(); clientErr == nil {
		// The client's handshake ends before the server has judged it.
		_, clientErr = c.Read(make([]byte, 1))
	}
	if clientErr == nil {
		atClient, clientErr = PeerOf(c.ConnectionState())
	}
	b.Close()
	<-done
	return
}

func TestSameCircuit(t *testing.T) {
	key := NewKey()
	server := mustNew(t, key, Server, id1)
	for _, tt := range []struct {
		name   string
		client *Credential
		want   circuit.ServerID
	}{
		{"client to any", mustNew(t, key, Client, 0), 0},
		{"client to the one", mustNew(t, key, Client, 0), id1},
		{"server to the one", mustNew(t, key, Server, id2), id1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			atServer, atClient, serverErr, clientErr := handshake(t, server.ServerTLS(), tt.client.ClientTLS(tt.want))
			if serverErr != nil || clientErr != nil {
				t.Fatalf("server: %v, client: %v", serverErr, clientErr)
			}
			if atServer != tt.client.Peer() || atClient != server.Peer() {
				t.Errorf("the server sees %v, the client %v", atServer, atClient)
			}
		})
	}
}

func TestWrongServer(t *testing.T) {
	key := NewKey()
	_, _, _, err := handshake(t, mustNew(t, key, Server, id1).ServerTLS(), mustNew(t, key, Client, 0).ClientTLS(id2))
	var wrong *WrongServerError
	if !errors.As(err, &wrong) || wrong.Want != id2 || wrong.Got != id1 {
		t.Fatalf("got %v", err)
	}
	if OtherCircuit(err) {
		t.Error("taken for another circuit")
	}
}

func TestOtherKey(t *testing.T) {
	_, _, serverErr, err := handshake(t, mustNew(t, NewKey(), Server, id1).ServerTLS(), mustNew(t, NewKey(), Client, 0).ClientTLS(0))
	if err == nil || serverErr == nil {
		t.Fatalf("server: %v, client: %v", serverErr, err)
	}
	if !OtherCircuit(err) {
		t.Errorf("not recognized: %v", err)
	}
}

func TestClientsCannotServe(t *testing.T) {
	key := NewKey()
	_, _, _, err := handshake(t, mustNew(t, key, Client, 0).ServerTLS(), mustNew(t, key, Client, 0).ClientTLS(0))
	if err == nil {
		t.Fatal("a client's certificate was taken for a server's")
	}
}

// TestServerRefuses connects with everything but a certificate of the circuit.
func TestServerRefuses(t *testing.T) {
	key := NewKey()
	server := mustNew(t, key, Server, id1)
	none := mustNew(t, key, Client, 0).ClientTLS(0)
	none.Certificates = nil
	foreign := mustNew(t, NewKey(), Server, id2).ClientTLS(0)
	foreign.InsecureSkipVerify, foreign.VerifyConnection = true, nil
	old := mustNew(t, key, Client, 0).ClientTLS(0)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, cfg := range map[string]*tls.Config{"no certificate": none, "a foreign one": foreign, "TLS 1.2": old} {
		t.Run(name, func(t *testing.T) {
			_, _, serverErr, clientErr := handshake(t, server.ServerTLS(), cfg)
			if serverErr == nil || clientErr == nil {
				t.Errorf("server: %v, client: %v", serverErr, clientErr)
			}
		})
	}
}

func TestSkewedClocks(t *testing.T) {
	key := NewKey()
	for _, year := range []int{1970, 2226, 9999} {
		now := func() time.Time { return time.Date(year, time.January, 1, 0, 0, 1, 0, time.UTC) }
		server, client := mustNew(t, key, Server, id1).ServerTLS(), mustNew(t, key, Client, 0).ClientTLS(0)
		server.Time = now
		if _, _, serverErr, clientErr := handshake(t, server, client); serverErr != nil || clientErr != nil {
			t.Errorf("server in %d: %v, %v", year, serverErr, clientErr)
		}
		server.Time, client.Time = nil, now
		if _, _, serverErr, clientErr := handshake(t, server, client); serverErr != nil || clientErr != nil {
			t.Errorf("client in %d: %v, %v", year, serverErr, clientErr)
		}
	}
}

func TestAuthorityIsDeterministic(t *testing.T) {
	key := NewKey()
	a, _, err := newAuthority(key)
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := newAuthority(key)
	if !bytes.Equal(a.Raw, b.Raw) {
		t.Error("two derivations differ")
	}
	if other, _, _ := newAuthority(NewKey()); bytes.Equal(a.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo) {
		t.Error("two keys give one authority")
	}
	if a.PublicKeyAlgorithm != x509.Ed25519 {
		t.Error("not ed25519:", a.PublicKeyAlgorithm)
	}
}

func TestNewRefuses(t *testing.T) {
	key := NewKey()
	for _, tt := range []struct {
		key  circuit.Key
		role Role
		id   circuit.ServerID
	}{{circuit.Key{}, Client, 0}, {key, Client, id1}, {key, Server, 0}, {key, 0, 0}, {key, 3, id1}} {
		if _, err := New(tt.key, tt.role, tt.id); err == nil {
			t.Errorf("%v %v was accepted", tt.role, tt.id)
		} else if strings.Contains(err.Error(), key.Encode()) {
			t.Error("the error holds the key")
		}
	}
}

func TestParsePeer(t *testing.T) {
	for _, p := range []Peer{{Role: Client}, {Role: Server, ID: id1}, {Role: Server, ID: 1}} {
		if got, ok := parsePeer(p.opaque()); !ok || got != p {
			t.Errorf("%v became %v", p, got)
		}
	}
	for _, s := range []string{"", "client:", "client:1", "server", "server:", "server:0000000000000000", "server:1", "admin"} {
		if got, ok := parsePeer(s); ok {
			t.Errorf("%q was taken for %v", s, got)
		}
	}
}

func TestPeerOfNeedsVerification(t *testing.T) {
	c := mustNew(t, NewKey(), Server, id1)
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.chain.Leaf}}
	if p, err := PeerOf(state); err == nil {
		t.Errorf("an unverified certificate gave %v", p)
	}
}
