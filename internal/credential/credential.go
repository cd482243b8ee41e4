// Package credential turns the circuit's key into what its connections are
// authenticated with: by HKDF the key gives a certificate authority, and every
// server and client issues itself a certificate from it that holds its role
// and, for servers, its ID. Whoever has the key is therefore a member, and
// nobody else is.
//
// Package transport calls it for every connection; package client and
// internal/server make the credentials and load the keys. A Credential does
// not change once made and may be used by any number of goroutines.
//
// Certificates derived from the key are valid from 1970 to 9999, so that skewed
// clocks never split a circuit. The derivation is part of the wire: it is
// described in docs/security.md.
package credential

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/gocircuit/circuit"
)

// Role says what the holder of a certificate is.
type Role uint8

// The roles. They are part of the wire, as "client" and "server".
const (
	Client Role = 1 + iota
	Server
)

// String returns the role as certificates spell it.
func (r Role) String() string {
	switch r {
	case Client:
		return "client"
	case Server:
		return "server"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Peer is who stands at the other end of a connection.
type Peer struct {
	Role Role
	ID   circuit.ServerID // zero for clients
}

const (
	// serverName is what clients ask for and what every certificate is valid
	// for. Addresses are not compared: the key and the ID are.
	serverName = "circuit"
	// uriScheme begins the identity in a certificate: "circuit:client" or
	// "circuit:server:56e7a2a0d47a7b5d".
	uriScheme = "circuit"
	// hkdfInfo separates this use of the key from any other.
	hkdfInfo = "circuit v1 certificate authority"
	protocol = "h2"
)

// Credential is what one server or client authenticates itself and others with.
type Credential struct {
	peer  Peer
	chain tls.Certificate
	roots *x509.CertPool
}

// New makes the credential of a server (id not zero) or a client (id zero) of
// the circuit that key makes.
func New(key circuit.Key, role Role, id circuit.ServerID) (*Credential, error) {
	peer := Peer{Role: role, ID: id}
	if key.IsZero() {
		return nil, circuit.Errorf(circuit.Invalid, "no circuit key is configured")
	}
	if !peer.valid() {
		return nil, circuit.Errorf(circuit.Internal, "a server's credential needs its ID, a client's has none")
	}
	authority, signer, err := newAuthority(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the circuit's certificate authority: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leafTemplate(peer), authority, public, signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return &Credential{
		peer:  peer,
		chain: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf},
		roots: roots,
	}, nil
}

// Peer returns whose credential it is.
func (c *Credential) Peer() Peer { return c.peer }

// ServerTLS returns the configuration of an accepting side. It demands a
// certificate of the same circuit. The caller may change the result.
func (c *Credential) ServerTLS() *tls.Config {
	cfg := c.common()
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = c.roots
	cfg.SessionTicketsDisabled = true // a ticket would outlive what it was given for
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := PeerOf(s)
		return err
	}
	return cfg
}

// ClientTLS returns the configuration of a dialling side. It demands a server
// of the same circuit, and the server want unless that is zero; otherwise the
// handshake fails with a *WrongServerError, or with what OtherCircuit
// recognizes. The caller may change the result.
func (c *Credential) ClientTLS(want circuit.ServerID) *tls.Config {
	cfg := c.common()
	cfg.RootCAs = c.roots
	cfg.ServerName = serverName
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		peer, err := PeerOf(s)
		switch {
		case err != nil:
			return err
		case peer.Role != Server:
			return errors.New("the certificate is not a circuit server's")
		case want != 0 && peer.ID != want:
			return &WrongServerError{Want: want, Got: peer.ID}
		}
		return nil
	}
	return cfg
}

func (c *Credential) common() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{protocol},
		Certificates: []tls.Certificate{c.chain},
		// Records are always full: the transport joins them into large writes.
		DynamicRecordSizingDisabled: true,
	}
}

// WrongServerError is the end of a handshake with a server of the right
// circuit that is not the one wanted.
type WrongServerError struct {
	Want, Got circuit.ServerID
}

// Error names both servers.
func (e *WrongServerError) Error() string {
	return fmt.Sprintf("expected the server %s, but %s answers there", e.Want, e.Got)
}

// OtherCircuit reports whether err is the end of a client's handshake with a
// server of another circuit, that is, one whose key differs.
func OtherCircuit(err error) bool {
	var failed *tls.CertificateVerificationError
	if !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0 {
		return false
	}
	_, err = peerOf(failed.UnverifiedCertificates[0])
	return err == nil
}

// PeerOf returns who stands at the other end of an authenticated connection.
func PeerOf(s tls.ConnectionState) (Peer, error) {
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return Peer{}, errors.New("the connection is not authenticated")
	}
	return peerOf(s.PeerCertificates[0])
}

func peerOf(leaf *x509.Certificate) (Peer, error) {
	if len(leaf.URIs) == 1 && leaf.URIs[0].Scheme == uriScheme {
		if p, ok := parsePeer(leaf.URIs[0].Opaque); ok {
			return p, nil
		}
	}
	return Peer{}, errors.New("the certificate names no member of a circuit")
}

func (p Peer) valid() bool {
	return (p.Role == Server) == (p.ID != 0) && (p.Role == Client || p.Role == Server)
}

// opaque returns the identity as the certificate holds it, after "circuit:".
func (p Peer) opaque() string {
	if p.Role == Client {
		return Client.String()
	}
	return Server.String() + ":" + p.ID.String()[1:]
}

func parsePeer(opaque string) (Peer, bool) {
	if opaque == Client.String() {
		return Peer{Role: Client}, true
	}
	digits, ok := strings.CutPrefix(opaque, Server.String()+":")
	if !ok {
		return Peer{}, false
	}
	id, err := circuit.ParseServerID("X" + digits)
	return Peer{Role: Server, ID: id}, err == nil
}

// newAuthority derives the circuit's certificate authority. Every member
// derives the same certificate, bit for bit.
func newAuthority(key circuit.Key) (*x509.Certificate, crypto.Signer, error) {
	seed, err := hkdf.Key(sha256.New, key[:], nil, hkdfInfo, ed25519.SeedSize)
	if err != nil {
		return nil, nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	notBefore, notAfter := always()
	id := sha256.Sum256(private.Public().(ed25519.PublicKey))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "circuit"},
		SubjectKeyId:          id[:20],
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, private, err
}

func leafTemplate(p Peer) *x509.Certificate {
	notBefore, notAfter := always()
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "circuit " + p.Role.String()},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{serverName},
		URIs:        []*url.URL{{Scheme: uriScheme, Opaque: p.opaque()}},
	}
	if p.Role == Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return t
}

// always is the longest validity that certificates can express: RFC 5280,
// 4.1.2.5, gives its end as the one of certificates without an end.
func always() (from, to time.Time) {
	return time.Unix(0, 0).UTC(), time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
}
