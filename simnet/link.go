package simnet

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// slow tells whether what is sent takes its time. The caller holds mu.
func (n *Network) slow() bool { return n.latency > 0 || n.holds > 0 }

// Latency makes everything that is sent from now on arrive d later, in each direction: a connect takes 2 d, and so do a
// request and its answer. Nothing overtakes what was sent before it. undo goes back to what it was at the call. A negative
// d is none.
func (n *Network) Latency(d time.Duration) (undo func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.latency
	n.latency = max(0, d)
	n.stir()
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.latency = old
		n.stir()
	})
}

// Hold keeps everything that is sent from now on in the air: SYNs, data, FIN and RST arrive when release is called, in
// order. Several may hold at once.
func (n *Network) Hold() (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holds++
	n.stir()
	n.updateKeepAlive() // probes are held as well
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.holds--; n.holds == 0 {
			n.letGo()
			n.updateKeepAlive()
		}
	})
}

// letGo lets arrive what was held, at once. The caller holds mu.
func (n *Network) letGo() {
	held := n.held
	n.held = nil
	for _, e := range held {
		n.schedule(e, now())
	}
	for _, c := range byNumber(n.flying) {
		for i := range c.flight.segments {
			if c.flight.segments[i].at.IsZero() {
				c.flight.segments[i].at = now()
			}
		}
		c.takeOff()
	}
}

// Partition makes everything that is sent vanish, SYNs included, until heal is called: then it arrives with the next
// retransmission, or connections have failed with ETIMEDOUT before. Unlike [Conn.Partition] it cuts both directions, and
// closing does not heal it. Several may cut at once.
func (n *Network) Partition() (heal func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts++
	n.stir()
	for _, c := range byNumber(n.conns) {
		c.cutOff()
	}
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.cuts--; n.cuts == 0 {
			n.updateKeepAlive()
		}
	})
}

func (n *Network) updateKeepAlive() {
	for _, c := range byNumber(n.conns) {
		c.alive.update(c)
	}
}

// byNumber puts sockets in the order in which they were made, so that each run of a program goes the same way.
func byNumber(set map[*Conn]struct{}) []*Conn {
	list := make([]*Conn, 0, len(set))
	for c := range set {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
	return list
}

// after lets something arrive that is no part of a connection: at once, if the network has no latency; or, if it is cut by
// then, be lost. The caller holds mu.
func (n *Network) after(arrive, lost func()) {
	do := func() {
		if n.cuts == 0 {
			arrive()
		} else if lost != nil {
			lost()
		}
	}
	switch {
	case n.holds > 0:
		n.held = append(n.held, &event{do: do})
	case n.latency > 0:
		n.schedule(&event{do: do}, now().Add(n.latency))
	default:
		do()
	}
}
