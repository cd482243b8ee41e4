package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The peer is what the circuit is compared with: this program again, in a
// process of its own, behind plain crypto/tls as its documentation shows it.

// roleVariable makes this program the peer, or another process of a bench.
const roleVariable = "CIRCUIT_BENCH_ROLE"

const (
	rolePeer = "peer"

	// The first byte on a connection says what it is for.
	askCopy = 'c' // run the child and copy its standard output, 64 KiB at a time
	askEcho = 'e' // send back what comes
	askTake = 't' // take all that comes, and then say so with a byte

	copyBuffer = 64 << 10
)

// child is the process whose standard output is copied, as arguments: it
// writes n bytes, as fast as a pipe takes them.
func child(n int) []string {
	return []string{"dd", "if=/dev/zero", "bs=64k", fmt.Sprintf("count=%d", n/(64<<10))}
}

// play is main of the other processes that this program is, each in its role.
func play(role string) int {
	setting := func(name string) string { return os.Getenv(roleVariable + name) }
	switch role {
	case roleHost:
		return playHost(setting("_JOB"))
	case ofMemberlist, ofSerf:
		return gossip(role, setting("_NAME"), setting("_SEED"))
	case rolePeer: // serves until its standard input ends
		if err := serve(strings.Fields(setting("_CHILD"))); err != nil {
			fmt.Fprintln(os.Stderr, "bench: peer:", err)
			return 1
		}
		return 0
	}
	return 2
}

func serve(child []string) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, child)
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	l.Close()
	return err
}

func answer(conn net.Conn, child []string) {
	defer conn.Close()
	var ask [1]byte
	if _, err := io.ReadFull(conn, ask[:]); err != nil {
		return
	}
	switch ask[0] {
	case askEcho:
		plainCopy(conn, conn)
		return
	case askTake:
		plainCopy(io.Discard, conn)
		conn.Write(ask[:])
		return
	}
	cmd := exec.Command(child[0], child[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	plainCopy(conn, out)
	cmd.Wait()
}

// plainCopy copies through a buffer, whatever shortcuts the two ends offer.
func plainCopy(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
}

// peer is the running peer.
type peer struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	addr string
}

func startPeer(child []string) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+rolePeer, roleVariable+"_CHILD="+strings.Join(child, " "))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, errors.New("the peer did not start")
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

func (p *peer) stop() {
	p.in.Close()
	p.cmd.Wait()
}

// ask opens a connection for one purpose.
func (p *peer) ask(what byte) (*tls.Conn, error) {
	// Who is at the other end does not matter here; what TLS costs does.
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{what}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// give sends n bytes to the peer and returns once it has taken them.
func (p *peer) give(n int) (int64, error) {
	conn, err := p.ask(askTake)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	sent, err := plainCopy(conn, zeros(n))
	if err == nil {
		err = conn.CloseWrite()
	}
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	return sent, err
}

// zeros reads as n bytes of 0.
func zeros(n int) io.Reader { return io.LimitReader(zero{}, int64(n)) }

type zero struct{}

func (zero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
