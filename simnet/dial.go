package simnet

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/eyeballs"
	"example.com/go-sockettest/network"
)

// synWaits are the pauses after each SYN. Linux 6.5 and later send four more after 1 s each before
// they double the pause (tcp(7): tcp_syn_retries and tcp_syn_linear_timeouts, which are 6 and 4).
// After the last pause the connect fails.
var synWaits = [...]time.Duration{time.Second, time.Second, time.Second, time.Second, time.Second, 2 * time.Second,
	4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second}

// A dial is a socket in SYN-SENT.
type dial struct {
	n         *Network
	from      *Host
	out       *way // to the other host
	back      *way
	to        *Host // nil if nobody has the address
	net       string
	la, ra    netip.AddrPort
	small     bool
	first     time.Time // of its SYNs
	syns      int
	last      time.Time // of the latest SYN
	skips     *port     // it drops all further SYNs until retryDials is called; else nil
	nextSYN   event
	answerDue event // the answer to a SYN that has arrived
	answering *port // that is about to answer
	changed   sync.Cond
	done      bool
	client    *Conn // the answer is on its way
	conn      *Conn // it has come
	errno     syscall.Errno
}

// A dialing is what the dials of one call have in common.
type dialing struct {
	small bool
	from  net.Addr       // nil unless the caller wants it
	local netip.AddrPort // the same
	who   sender
}

// dial connects to the first address that answers, as [net.Dialer] does.
func (h *Host) dial(ctx context.Context, nw, address string, by dialing) (*Conn, error) {
	addrs, err := h.resolve("dial", nw, address)
	if err != nil {
		return nil, err
	}
	if addrs, by.local, err = suitable(nw, addrs, by.from); err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	by.who = h.next(sender{dialled: address})
	h.n.mu.Unlock()
	first, second := byFamily(addrs)
	if len(second) == 0 {
		return h.dialInTurn(ctx, nw, first, by)
	}
	to := func(addrs []netip.AddrPort) eyeballs.Dial {
		return func(ctx context.Context) (net.Conn, error) { return h.dialInTurn(ctx, nw, addrs, by) }
	}
	c, err := eyeballs.Race(ctx, to(first), to(second), eyeballs.Delay)
	if err != nil {
		return nil, err
	}
	return c.(*Conn), nil
}

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

// dialInTurn connects to one address after the other.
func (h *Host) dialInTurn(ctx context.Context, nw string, addrs []netip.AddrPort, by dialing) (*Conn, error) {
	var first error
	for _, a := range addrs {
		c, err := h.connect(ctx, nw, a, by)
		if err == nil {
			return c, nil
		}
		failed := &net.OpError{Op: "dial", Net: nw, Source: by.from, Addr: resolvedTCP(a), Err: err}
		if first == nil {
			first = failed
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// connect sends SYNs until one is answered, the kernel gives up, or ctx is done.
func (h *Host) connect(ctx context.Context, nw string, a netip.AddrPort, by dialing) (*Conn, error) {
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	h.countConnect(specified(nw, a))
	if err := contextError(ctx); err != nil {
		return nil, err
	}
	d, err := h.newDial(nw, a, by)
	if err != nil {
		return nil, err
	}
	d.note()
	d.sendSYN()
	if !d.done && ctx.Done() != nil {
		stop := n.wakeAfter(ctx, &d.changed)
		defer stop()
	}
	for !d.done && ctx.Err() == nil {
		d.changed.Wait()
	}
	switch {
	case !d.done:
		d.finish(nil, syscall.EINTR) // nobody sees it
		return nil, contextError(ctx)
	case d.errno != 0:
		return nil, syscallError("connect", d.errno)
	}
	return d.conn, nil
}

// countConnect counts a connect that begins at the port that it is meant for, even if its SYN never
// gets there.
func (h *Host) countConnect(a netip.AddrPort) {
	if to, _ := h.route(a.Addr()); to != nil {
		if p := to.at(a); p != nil {
			p.connects++
		}
	}
}

// note remembers the connect at the port that it is meant for.
func (d *dial) note() {
	if d.to == nil {
		return
	}
	if p := d.to.at(d.ra); p != nil && len(p.attempts) < keepAttempts {
		p.attempts = append(p.attempts, attempt{d.first, d.la})
	}
}

// newDial gives the dial a local address.
func (h *Host) newDial(nw string, a netip.AddrPort, by dialing) (*dial, error) {
	n, a := h.n, specified(nw, a)
	to, own := h.route(a.Addr())
	la, err := h.clientAddr(own, by.local)
	switch {
	case err != nil:
		return nil, err
	case !own.IsValid() || a.Addr().IsMulticast() || broadcasts(a.Addr()):
		return nil, syscallError("connect", syscall.ENETUNREACH)
	case la.Addr().IsLoopback() && !a.Addr().IsLoopback(): // the answer would never come back
		return nil, syscallError("connect", syscall.EINVAL)
	}
	if la.Port() == 0 {
		la = netip.AddrPortFrom(la.Addr(), h.ephemeral(binding{addr: la}))
	}
	if la.Port() == 0 {
		return nil, syscallError("connect", syscall.EADDRNOTAVAIL)
	}
	d := &dial{n: n, from: h, to: to, net: nw, la: la, ra: a, small: by.small, first: time.Now()}
	d.changed.L = &n.mu
	d.nextSYN.do = d.sendSYN
	d.answerDue.do = func() { d.establish(d.answering) }
	if to != nil {
		by.who.addr = a
		ways := &[2]way{{path: n.path(h, to), who: &by.who}, {path: n.path(to, h), who: &by.who}}
		d.out, d.back = &ways[0], &ways[1]
	}
	h.used[d.la]++
	n.dials[d] = struct{}{}
	return d, nil
}

// clientAddr returns a client's own address, with port 0 for any: own, which is the one on the way,
// unless the client wants another.
func (h *Host) clientAddr(own netip.Addr, wants netip.AddrPort) (netip.AddrPort, error) {
	if ip := wants.Addr(); ip.IsValid() && !ip.IsUnspecified() {
		own = ip
	}
	b := binding{addr: netip.AddrPortFrom(own, wants.Port())}
	taken := func(p *port) bool { return p.overlaps(b) }
	switch {
	case own.IsValid() && !h.has(own):
		return b.addr, syscallError("bind", syscall.EADDRNOTAVAIL)
	case wants.Port() > 0 && (h.clientHas(b) || slices.ContainsFunc(h.bound[wants.Port()], taken)):
		return b.addr, syscallError("bind", syscall.EADDRINUSE)
	}
	return b.addr, nil
}

// broadcasts reports whether an address is that of all hosts, of the network or of loopback.
func broadcasts(ip netip.Addr) bool {
	return ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || ip == netip.AddrFrom4([4]byte{127, 255, 255, 255})
}

// sendSYN sends a SYN, and sets the time for the next one.
func (d *dial) sendSYN() {
	if d.to == nil {
		d.unreachable()
		return
	}
	d.countSkipped()
	if d.syns == len(synWaits) {
		d.finish(nil, syscall.ETIMEDOUT)
		return
	}
	d.syns++
	d.last = now()
	d.out.carryOrLose(func() {
		if !d.done && d.client == nil {
			d.landSYN(d.to.at(d.ra))
		}
	}, nil)
	if !d.done && d.skips == nil {
		d.scheduleSYN()
	}
}

// unreachable handles a connect to an address that no machine has: nobody answers who has it (ARP
// or neighbour discovery, three questions, a second apart), so no SYN can be sent.
func (d *dial) unreachable() {
	if d.syns > 0 {
		d.finish(nil, syscall.EHOSTUNREACH)
		return
	}
	d.syns++
	d.n.agenda.schedule(&d.nextSYN, time.Now().Add(3*time.Second))
}

// landSYN is the arrival of a SYN at a port; p is nil if nobody has bound it.
func (d *dial) landSYN(p *port) {
	switch {
	case p != nil && (p.state.Cut || p.state.Answer == network.Drop):
		p.dropSYN()
		d.skipSYNs(p)
	case p == nil || !p.takes():
		if p != nil {
			p.refuse()
		}
		d.back.carryOrLose(func() { d.fail(syscall.ECONNREFUSED) }, nil)
	case d.answering != nil: // the answer is on its way
	case d.first.Add(p.state.Handshake).After(time.Now()):
		d.answering = p
		d.n.agenda.schedule(&d.answerDue, d.first.Add(p.state.Handshake))
	default:
		d.establish(p)
	}
}

// establish completes the handshake, if the accept queue has room.
func (d *dial) establish(p *port) {
	d.answering = nil
	if len(p.queue) >= p.room() {
		p.dropSYN()
		return
	}
	client, server := d.pair(p.net)
	server.port = p
	p.open++
	if d.small {
		shrink(client, server)
	}
	if p.state.SmallWindow {
		shrink(server, client)
	}
	if !d.n.faulty {
		p.admit(server)
		d.finish(client, 0)
		return
	}
	d.client = client
	forget := func() {
		server.closed = true
		server.terminate(0)
		client.abort()
		d.client = nil
		if !d.done {
			d.from.used[d.la]++ // with the next SYN it tries again
		}
	}
	d.back.carryOrLose(func() {
		if d.done { // nobody is there any more
			forget()
			return
		}
		admit := func() { p.admit(server) }
		d.out.carryOrLose(admit, admit) // before any data, which acknowledges it if this is lost
		d.finish(client, 0)
	}, forget)
}

// pair makes the two ends of a connection.
func (d *dial) pair(serverNet string) (c, s *Conn) {
	ours, theirs := net.TCPAddrFromAddrPort(d.la), net.TCPAddrFromAddrPort(d.ra)
	c = d.from.newConn(d.net, ours, theirs)
	s = d.to.newConn(serverNet, theirs, ours)
	c.dialled = true
	c.peer, s.peer = s, c
	c.out, s.out = d.out, d.back
	c.out.ends[c], s.out.ends[s] = struct{}{}, struct{}{}
	if d.n.faulty {
		c.spoke = now()
	}
	return c, s
}

// fail ends the dial with an error, unless it has ended.
func (d *dial) fail(e syscall.Errno) {
	if !d.done {
		d.finish(nil, e)
	}
}

// finish ends the dial and wakes its caller. If it succeeded, its local address belongs to the
// connection.
func (d *dial) finish(c *Conn, e syscall.Errno) {
	d.countSkipped()
	d.done, d.conn, d.errno = true, c, e
	d.n.agenda.cancel(&d.nextSYN)
	d.n.agenda.cancel(&d.answerDue)
	delete(d.n.dials, d)
	if c == nil && d.client == nil { // else it is the connection's
		d.from.release(d.la)
	}
	d.changed.Broadcast()
}

// skipSYNs notes that p will drop all further SYNs as it dropped this one. They cannot succeed
// until something changes, so they are counted when somebody asks, instead of being sent: in a
// bubble each timer stops the clock, which would cost more than everything else. retryDials sends
// them again.
func (d *dial) skipSYNs(p *port) {
	if !d.n.faulty && p.awaiting == 0 {
		d.skips = p
		d.scheduleSYN()
	}
}

// scheduleSYN sets the time for the next SYN that matters. If all are skipped, that is the moment
// at which the dial gives up.
func (d *dial) scheduleSYN() {
	at := d.last
	for _, wait := range synWaits[d.syns-1:] {
		if at = at.Add(wait); d.skips == nil {
			break
		}
	}
	d.n.agenda.schedule(&d.nextSYN, at)
}

// countSkipped counts the SYNs that would have been sent by now.
func (d *dial) countSkipped() {
	for d.skips != nil && d.syns < len(synWaits) {
		at := d.last.Add(synWaits[d.syns-1])
		if at.After(now()) {
			return
		}
		d.syns++
		d.last = at
		d.skips.dropped++
		if d.last.After(d.skips.lastDrop) {
			d.skips.lastDrop = d.last
		}
	}
}

// countSkippedSYNs does so for all dials, before SYNs are reported.
func (n *Network) countSkippedSYNs() {
	for d := range n.dials {
		d.countSkipped()
	}
}

// forgetAnswer forgets an answer of p that is still to come. With its next SYN the dial meets what
// is there then.
func (d *dial) forgetAnswer(p *port) {
	if d.answering == p {
		d.answering = nil
		d.n.agenda.cancel(&d.answerDue)
	}
}

// retryDials makes all dials send their SYNs again, because something has changed.
func (n *Network) retryDials() {
	var skipping []*dial
	for d := range n.dials {
		if d.countSkipped(); d.skips != nil {
			skipping = append(skipping, d)
		}
	}
	slices.SortFunc(skipping, func(a, b *dial) int { return cmp.Compare(a.nextSYN.seq, b.nextSYN.seq) })
	for _, d := range skipping {
		d.skips = nil
		d.scheduleSYN()
	}
}
