package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gocircuit/circuit"
)

// listenAddr returns the HOST:PORT to listen on.
func listenAddr(cfg Config) (string, error) {
	given, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return "", circuit.Errorf(circuit.Invalid, "the address to listen on is not HOST:PORT, as in 10.0.0.1:11022")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", circuit.Errorf(circuit.Invalid, "the port to listen on is not a number from 0 to 65535")
	}
	if cfg.Interface == "" {
		return cfg.Addr, nil
	}
	ifc, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("there is no network interface %q", cfg.Interface))
	}
	addrs, err := ifc.Addrs()
	if err != nil {
		return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("the addresses of interface %q cannot be read", cfg.Interface))
	}
	if given != "" {
		if !has(addrs, given) {
			return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("the host to listen on, %s, is no address of interface %q; give only a port, as :11022, or no interface", given, cfg.Interface))
		}
		return cfg.Addr, nil
	}
	host := pick(addrs, true)
	if host == "" {
		return "", circuit.Errorf(circuit.Invalid, fmt.Sprintf("the network interface %q has no address to listen on", cfg.Interface))
	}
	return net.JoinHostPort(host, port), nil
}

// advertiseAddr returns the HOST:PORT to tell others, for a listener at bound.
func advertiseAddr(cfg Config, bound string) (string, error) {
	if cfg.Advertise != "" {
		u, err := circuit.ParseURL(cfg.Advertise)
		if err != nil || !u.Key.IsZero() || u.ID != 0 {
			return "", circuit.Errorf(circuit.Invalid, "the address to advertise is not HOST:PORT, as in 10.0.0.1:11022")
		}
		return u.Address(), nil
	}
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", circuit.Errorf(circuit.Internal, fmt.Sprintf("listening on %q, which has no port", bound))
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		// A name that was given stays a name; only the port may have been chosen.
		if given, _, err := net.SplitHostPort(cfg.Addr); err == nil && cfg.Interface == "" && given != "" {
			host = given
		}
		return net.JoinHostPort(host, port), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", circuit.Errorf(circuit.Invalid, "this machine's addresses cannot be read; say where others reach this server with --advertise")
	}
	if host = pick(addrs, false); host == "" {
		host = "127.0.0.1"
		cfg.Log.Warn("this machine has no address that others could reach; advertising loopback", slog.String("address", net.JoinHostPort(host, port)))
	}
	return net.JoinHostPort(host, port), nil
}

// warnOfLoopback warns where servers on other hosts are to be joined that cannot
// reach this one.
func (s *Server) warnOfLoopback() {
	elsewhere := func(u circuit.URL) bool { return !isLoopback(u.Host) }
	if i := slices.IndexFunc(s.cfg.Join, elsewhere); i >= 0 && isLoopback(s.url.Host) {
		s.log.Warn("other hosts cannot reach this server, for it advertises a loopback address; say where they can with -a or --advertise",
			slog.String("address", s.url.Address()), slog.String("join", s.cfg.Join[i].Address()))
	}
}

// isLoopback reports whether a host, as an address names it, is this machine for
// itself alone. Other names than localhost are taken for those of other machines.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	}
	return ip.Unmap().IsLoopback() || ip.IsUnspecified()
}

// has reports whether host is one of the addresses.
func has(addrs []net.Addr, host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip.Unmap().WithZone("")
	})
}

// pick returns the first global unicast address, IPv4 before IPv6, and if any
// is fine, the first address of any other sort.
func pick(addrs []net.Addr, any bool) string {
	best, rank := "", 0
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip, r := prefix.Addr().Unmap(), 0
		switch {
		case ip.IsGlobalUnicast() && ip.Is4():
			r = 4
		case ip.IsGlobalUnicast():
			r = 3
		case any && ip.Is4():
			r = 2
		case any && !ip.IsLinkLocalUnicast():
			r = 1
		}
		if r > rank {
			best, rank = ip.String(), r
		}
	}
	return best
}
