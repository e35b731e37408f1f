package simnet

import (
	"context"
	"net/netip"
	"time"
)

// fallbackDelay is what net.Dialer waits for the first family before it tries the other too (RFC 8305, section 5).
const fallbackDelay = 300 * time.Millisecond

// byFamily splits addresses into those of the first one's family and the others.
func byFamily(addrs []netip.AddrPort) (first, others []netip.AddrPort) {
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, a)
		} else {
			others = append(others, a)
		}
	}
	return first, others
}

// A finish is how one of the two families came out of a race.
type finish struct {
	c       *Conn
	err     error
	primary bool
}

// race is Happy Eyeballs (RFC 8305): the fallback starts when the primary has failed, or is late. The first connection wins,
// and the other is closed; if there is none, the primary's error counts.
func race(ctx context.Context, primary, fallback []netip.AddrPort, dial func(context.Context, []netip.AddrPort) (*Conn, error)) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finishes := make(chan finish)
	returned := make(chan struct{})
	defer close(returned)
	start := func(addrs []netip.AddrPort, isPrimary bool) {
		c, err := dial(ctx, addrs)
		select {
		case finishes <- finish{c, err, isPrimary}:
		case <-returned:
			if c != nil {
				_ = c.Close()
			}
		}
	}
	go start(primary, true)
	late := time.NewTimer(fallbackDelay)
	defer late.Stop()
	var first error
	for running, waits := 1, true; running > 0; {
		select {
		case <-late.C:
		case f := <-finishes:
			running--
			if f.err == nil {
				return f.c, nil
			}
			if f.primary || first == nil {
				first = f.err
			}
		}
		if waits {
			waits = false
			running++
			go start(fallback, false)
		}
	}
	return nil, first
}
