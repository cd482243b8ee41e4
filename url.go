package circuit

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// URL says how to reach a server:
//
//	circuit://[KEY@]HOST:PORT[/PID/QID]
//
// HOST:PORT alone is accepted as well, where a key is configured.
type URL struct {
	Key  Key      // the circuit's key, zero if the URL carries none
	Host string   // host name or IP address, without brackets
	Port int      // 1-65535
	PID  int      // the server's process ID, for people; 0 if not given
	ID   ServerID // the server's identity, verified on connecting; 0 if not given
}

const urlScheme = "circuit://"

// ParseURL takes a circuit URL or a bare HOST:PORT. Errors are of kind
// Invalid and never repeat a key.
func ParseURL(s string) (URL, error) {
	s = strings.TrimSpace(s)
	var u URL
	rest, full := strings.CutPrefix(s, urlScheme)
	if !full && strings.Contains(s, "://") {
		return URL{}, invalidURL("the scheme is not circuit://")
	}
	if full {
		if key, after, ok := cutKey(rest); ok {
			k, err := ParseKey(key)
			if err != nil {
				return URL{}, invalidURL("what stands before the @ is " + err.(*Error).Err.Error())
			}
			u.Key, rest = k, after
		}
	}
	addr, tail, hasTail := strings.Cut(rest, "/")
	if hasTail && !full {
		return URL{}, invalidURL("expected circuit://HOST:PORT/PID/QID or HOST:PORT")
	}
	if err := u.parseAddr(addr); err != nil {
		return URL{}, err
	}
	if tail == "" {
		return u, nil
	}
	pid, id, ok := strings.Cut(tail, "/")
	n, err := strconv.Atoi(pid)
	if !ok || err != nil || n < 0 {
		return URL{}, invalidURL("expected /PID/QID after the address, as in /78517/Q56e7a2a0d47a7b5d")
	}
	u.PID = n
	if u.ID, err = parseID('Q', strings.TrimSuffix(id, "/")); err != nil {
		return URL{}, invalidURL(err.(*Error).Err.Error())
	}
	return u, nil
}

// cutKey splits the credentials off; an @ after the first slash is not one.
func cutKey(s string) (key, rest string, ok bool) {
	i := strings.IndexAny(s, "@/")
	if i < 0 || s[i] != '@' {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

func (u *URL) parseAddr(addr string) error {
	parsed := url.URL{Host: addr}
	host, port := parsed.Hostname(), parsed.Port()
	if host == "" || port == "" || joinHostPort(host, port) != addr {
		return invalidURL("expected HOST:PORT, as in 10.0.0.1:11022 or [::1]:11022")
	}
	if strings.ContainsAny(host, "@/?#% \t\r\n\"'<>\\") || !printable(host) {
		return invalidURL("the host has a character that no host name has")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return invalidURL("the port is not a number from 1 to 65535")
	}
	u.Host, u.Port = host, int(n)
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == '�' {
			return false
		}
	}
	return true
}

func invalidURL(why string) error {
	return &Error{Kind: Invalid, Err: fmt.Errorf("not a circuit URL: %w", errors.New(why))}
}

// Address returns HOST:PORT.
func (u URL) Address() string { return joinHostPort(u.Host, strconv.Itoa(u.Port)) }

// joinHostPort brackets hosts that hold a colon, as IPv6 addresses do.
func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// String returns the URL without its key, safe for logs and errors.
func (u URL) String() string { return u.text(false) }

// Secret returns the URL with its key, if it has one. It is as secret as the
// key itself.
func (u URL) Secret() string { return u.text(true) }

func (u URL) text(secret bool) string {
	var b strings.Builder
	b.WriteString(urlScheme)
	if secret && !u.Key.IsZero() {
		b.WriteString(url.User(u.Key.Encode()).String())
		b.WriteByte('@')
	}
	b.WriteString(u.Address())
	if u.ID != 0 {
		fmt.Fprintf(&b, "/%d/%s", u.PID, u.ID.URLName())
	}
	return b.String()
}
