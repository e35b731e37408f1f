package sweep

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/simnet"
)

// names is a name server that knows Config.Host. From one lookup on another fixture may answer.
type names struct {
	host string
	ep   *dnsfault.Endpoint

	mu    sync.Mutex
	over  bool
	count int
	from  int // the first lookup that the fault strikes; 0 if there is none
	bad   func(dnsfault.Query)
	fired bool
}

// zone is all that the name server knows.
func zone(host string) dnsfault.Zone { return dnsfault.Zone{host: {"127.0.0.1"}} }

// checkHost finds what is wrong with Config.Host.
func checkHost(host string) error {
	if host == "" {
		return nil
	}
	_, err := zone(host).Plan()
	if _, bad := netip.ParseAddr(host); bad == nil || strings.EqualFold(host, "localhost") || err != nil {
		return fmt.Errorf(`Config.Host is %q; want the name of a host, such as "db.example"`, host)
	}
	return nil
}

// start starts it, if there is a name to look up.
func (n *names) start(ctx context.Context, nw *simnet.Network, host string) (err error) {
	if n.host = host; host != "" {
		n.ep, err = dnsfault.Start(ctx, n, fixtures.Place{Stack: nw})
	}
	return err
}

// Plan implements [dnsfault.Fixture].
func (n *names) Plan() (dnsfault.Plan, error) {
	p, err := zone(n.host).Plan()
	good := p.Serve
	p.Serve = func(q dnsfault.Query) {
		if bad := n.take(q); bad != nil {
			bad(q)
		} else {
			good(q)
		}
	}
	return p, err
}

// take counts a query. It returns who answers it if there is a fault.
func (n *names) take(q dnsfault.Query) (bad func(dnsfault.Query)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if q.Type != "A" || !strings.EqualFold(strings.TrimSuffix(q.Name, "."), strings.TrimSuffix(n.host, ".")) {
		return nil
	}
	if !n.over {
		n.count++
	}
	if n.from == 0 || n.count < n.from {
		return nil
	}
	n.fired = true
	return n.bad
}

// lookups is how many there were before the fault was over, and whether it struck one.
func (n *names) lookups() (count int, fired bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count, n.fired
}

// arm has a fixture answer from the nth lookup on, until undo is called.
func (n *names) arm(nth int, f dnsfault.Fixture) (undo func()) {
	p, _ := f.Plan() // it has no fields that can be wrong
	if p.Serve == nil {
		p.Serve = func(dnsfault.Query) {}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.from, n.bad = nth, p.Serve
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.from = 0
	}
}

// stop ends the count: what is looked up once the fault is over cannot be hit by one.
func (n *names) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
}

func (n *names) close() {
	if n.ep != nil {
		_ = n.ep.Close()
	}
}

// lookups are the points of a lookup, and of those after it.
func lookups(nth int, host string) (list []point) {
	for _, f := range []struct {
		name string
		do   dnsfault.Fixture
	}{
		{"no-such-host", dnsfault.NXDomain{}},
		{"servfail", dnsfault.ServFail{}},
		{"silent", dnsfault.Silent{}},
		{"slow", dnsfault.Late{Delay: slow, Then: zone(host)}},
	} {
		list = append(list, point{conn: connID{N: nth}, place: lookingUp, fault: Fault{Name: f.name},
			does: func(a arena) func() { return a.names.arm(nth, f.do) }})
	}
	return list
}

// addr is where the client connects to.
func (n *names) addr(ip string) string {
	if n.ep == nil {
		return ip
	}
	_, port, _ := net.SplitHostPort(ip)
	return net.JoinHostPort(n.host, port)
}

// resolve looks up the host of an address, as a dialer does.
func (n *names) resolve(ctx context.Context, network, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if n.ep == nil || err != nil || !strings.EqualFold(host, n.host) {
		return address, nil
	}
	ips, err := n.ep.Resolver().LookupNetIP(ctx, "ip4", strings.TrimSuffix(host, ".")+".")
	if err != nil {
		return "", &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return net.JoinHostPort(ips[0].String(), port), nil
}
