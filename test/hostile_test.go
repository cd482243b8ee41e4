package test

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

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

// connect makes a bare connection to a server, as a client with the circuit's key.
func connect(t *testing.T, s *server) *transport.Conn {
	t.Helper()
	u, err := circuit.ParseURL(s.url)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := credential.New(u.Key, credential.Client, 0)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &transport.Dialer{Cred: cred, Codec: rpc.Codec()}
	conn, err := dialer.Dial(t.Context(), s.addr, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// methods returns the names of all methods of services.
func methods(services ...grpc.ServiceDesc) (names []string) {
	for _, s := range services {
		for _, m := range s.Methods {
			names = append(names, "/"+s.ServiceName+"/"+m.MethodName)
		}
		for _, m := range s.Streams {
			names = append(names, "/"+s.ServiceName+"/"+m.StreamName)
		}
	}
	return names
}

// ask calls a method with an empty request, or an empty stream of one, and
// returns how that ends, nil if it is answered. A call that is not a stream is
// one of one message each way on the wire.
func ask(ctx context.Context, conn *transport.Conn, method string, path circuit.Path, md ...string) error {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(rpc.WithPath(ctx, path), md...), 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(new(rpc.Raw)); err != nil && err != io.EOF {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var reply rpc.Raw
	err = stream.RecvMsg(&reply)
	reply.Free()
	return err
}

// TestForgedMark wants a client that speaks as servers do among themselves to
// be refused, whatever it asks for and wherever: one that says it passes a call
// on, and one that links up. What it asked for must not be done.
func TestForgedMark(t *testing.T) {
	w := newWorld(t)
	servers := w.circuit(t, 2)
	conn := connect(t, servers[0])
	all := methods(circuitv1.Anchors_ServiceDesc, circuitv1.Procs_ServiceDesc, circuitv1.Chans_ServiceDesc, circuitv1.Servers_ServiceDesc,
		circuitv1.Mesh_ServiceDesc, grpc_health_v1.Health_ServiceDesc, grpc_reflection_v1.ServerReflection_ServiceDesc)
	all = append(all, "/circuit.v9.Moons/Rise")
	denied := func(what string, path circuit.Path, err error) {
		if status.Code(err) != codes.PermissionDenied || circuit.KindOf(rpc.FromStatus("", "", err)) != circuit.Denied {
			t.Errorf("%s about %s: %v", what, path, err)
		}
	}
	for _, s := range servers {
		w.must(t, "", "mkchan", "-d", s.url, s.path+"/q", "3")
		for _, text := range []string{s.path, s.path + "/q"} {
			path, err := circuit.ParsePath(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range all {
				denied("a forged "+method, path, ask(t.Context(), conn, method, path, "circuit-forwarded", "1"))
			}
			for _, method := range methods(circuitv1.Mesh_ServiceDesc) {
				denied("a client's "+method, path, ask(t.Context(), conn, method, path))
			}
		}
	}
	for _, s := range servers {
		path, err := circuit.ParsePath(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{circuitv1.Anchors_Get_FullMethodName, circuitv1.Anchors_List_FullMethodName} {
			if err := ask(t.Context(), conn, method, path); err != nil {
				t.Errorf("an honest %s about %s: %v", method, path, err)
			}
		}
		if stat := w.must(t, "", "peek", "-d", s.url, s.path+"/q"); !strings.Contains(stat, `"Closed": false`) {
			t.Errorf("after all that was refused, %s/q is\n%s", s.path, stat)
		}
		if list := w.list(s); len(list) != len(servers) {
			t.Errorf("%s lists %v", s.name, list)
		}
	}
}
