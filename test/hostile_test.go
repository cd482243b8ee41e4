package test

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/gocircuit/circuit"
	circuitv1 "github.com/gocircuit/circuit/api/circuit/v1"
	"github.com/gocircuit/circuit/internal/credential"
	"github.com/gocircuit/circuit/internal/rpc"
	"github.com/gocircuit/circuit/internal/transport"
)

// attack is a way to connect without the right to.
type attack struct {
	name string
	// make makes one connection and misuses it. It returns the connection, and
	// whether the server served it.
	make func(addr string) (net.Conn, bool, error)
}

// attacks returns all ways.
func attacks(t *testing.T) []attack {
	foreign, err := credential.New(credential.NewKey(), credential.Client, 0)
	if err != nil {
		t.Fatal(err)
	}
	foreignTLS := foreign.ClientTLS(0)
	foreignTLS.InsecureSkipVerify, foreignTLS.VerifyConnection, foreignTLS.VerifyPeerCertificate = true, nil, nil
	return []attack{
		{"no certificate", func(addr string) (net.Conn, bool, error) {
			return handshake(addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: foreignTLS.NextProtos})
		}},
		{"foreign certificate", func(addr string) (net.Conn, bool, error) { return handshake(addr, foreignTLS) }},
		{"garbage", func(addr string) (net.Conn, bool, error) {
			conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
			if err != nil {
				return nil, false, err
			}
			garbage := make([]byte, 1+rand.IntN(4096))
			for i := range garbage {
				garbage[i] = byte(rand.Uint32())
			}
			_, _ = conn.Write(garbage) // the server may have hung up
			return conn, false, nil
		}},
		{"mute", func(addr string) (net.Conn, bool, error) {
			conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
			return conn, false, err
		}},
	}
}

// handshake connects with a configuration that the server must not accept. In
// TLS 1.3 the client learns of that when it first reads.
func handshake(addr string, config *tls.Config) (net.Conn, bool, error) {
	plain, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, false, err
	}
	_ = plain.SetDeadline(time.Now().Add(20 * time.Second))
	conn := tls.Client(plain, config)
	if conn.Handshake() != nil {
		return plain, false, nil
	}
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return plain, false, nil
	}
	n, _ := conn.Read(make([]byte, 1))
	return plain, n > 0, nil
}

// TestHostileClients connects in all wrong ways at once, and wants nothing to be
// served, nothing to crash, and an honest client to be answered all the while.
func TestHostileClients(t *testing.T) {
	n, peeks := size(1000, 10_000), size(20, 100)
	w := newWorld(t)
	s := w.start(t, "s0")
	var held sync.Mutex
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()

	ways := attacks(t)
	var attackers sync.WaitGroup
	attackers.Go(func() {
		err := each(n, func(i int) error {
			way := ways[i%len(ways)]
			conn, served, err := way.make(s.addr)
			if err != nil {
				return err
			}
			if served {
				t.Errorf("%s was served", way.name)
			}
			held.Lock()
			defer held.Unlock()
			conns = append(conns, conn)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	var took []time.Duration
	for range peeks {
		r := w.run("", "peek", "-d", s.url, s.path)
		if r.code != 0 {
			t.Errorf("an honest peek: exit code %d: %s", r.code, r.stderr)
		}
		took = append(took, r.took)
	}
	attackers.Wait()
	slices.Sort(took)
	if nth := took[len(took)*99/100-1]; nth > time.Second {
		t.Errorf("99 of 100 honest peeks took up to %v", nth)
	}
	t.Logf("%d attacks; %d honest peeks took %v in the middle and %v at most", n, peeks, took[len(took)/2], took[len(took)-1])
	if r := w.run("", "ls", "-d", s.url, "/"); r.code != 0 {
		t.Errorf("afterwards: exit code %d: %s", r.code, r.stderr)
	}
}

// TestForgedMark wants a client that pretends to be a server that passes a call
// on to be refused.
func TestForgedMark(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	u, err := circuit.ParseURL(servers[0].url)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := credential.New(u.Key, credential.Client, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dialer := &transport.Dialer{Cred: cred, Codec: rpc.Codec()}
	conn, err := dialer.Dial(ctx, servers[0].addr, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range servers {
		path, err := circuit.ParsePath(s.path)
		if err != nil {
			t.Fatal(err)
		}
		call := rpc.WithPath(ctx, path)
		anchors := circuitv1.NewAnchorsClient(conn)
		if _, err := anchors.Get(call, &circuitv1.GetRequest{}); err != nil {
			t.Errorf("an honest call: %v", rpc.FromStatus("peek", s.path, err))
		}
		forged := metadata.AppendToOutgoingContext(call, "circuit-forwarded", "1")
		_, err = anchors.Get(forged, &circuitv1.GetRequest{})
		if err := rpc.FromStatus("peek", s.path, err); circuit.KindOf(err) != circuit.Denied {
			t.Errorf("a forged call about %s: %v", s.path, err)
		}
	}
	mesh, err := circuitv1.NewMeshClient(conn).Link(ctx)
	if err == nil {
		_, err = mesh.Recv()
	}
	if err := rpc.FromStatus("link", "", err); circuit.KindOf(err) != circuit.Denied {
		t.Errorf("a client's call of what is for servers only: %v", err)
	}
}
