package simnet

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"example.com/go-sockettest/internal/disarm"
)

// A Link is what connects two hosts, in both directions or in one. Its methods change how it treats
// what is sent from now on, until you call the function that they return; calls may be undone in
// any order. Of two changes of one kind the later one is in force. What is set for the whole
// [Network] comes on top. Arguments that make no sense are fatal to the test.
type Link struct {
	n     *Network
	paths []*path
}

// Link returns what connects two hosts, or one host with itself, in both directions.
func (n *Network) Link(a, b *Host) *Link {
	n.check("Link", a, b)
	n.mu.Lock()
	defer n.mu.Unlock()
	if a == b {
		return &Link{n, []*path{n.path(a, a)}}
	}
	return &Link{n, []*path{n.path(a, b), n.path(b, a)}}
}

// To returns the direction from this host to another.
func (h *Host) To(other *Host) *Link {
	h.n.check("To", other)
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return &Link{h.n, []*path{h.n.path(h, other)}}
}

func (n *Network) check(method string, hosts ...*Host) {
	for _, h := range hosts {
		if h == nil || h.n != n {
			n.fatal(fmt.Errorf("simnet: %s: a host is %v, which is not on this network; want one that its Host method returned", method, h))
		}
	}
}

// Latency makes everything that is sent arrive d later, in each direction of the link: a connect
// takes 2 d, and so do a request and its answer. On one connection nothing overtakes what was sent
// before it.
func (l *Link) Latency(d time.Duration) (undo func()) {
	if d < 0 {
		l.n.fatal(fmt.Errorf("simnet: Latency: d is %v; want 0 or more", d))
	}
	return change(l, func(p *path) *override[time.Duration] { return &p.latency }, d)
}

// Jitter makes everything arrive up to d later, drawn for each segment. On one connection nothing
// overtakes what was sent before it; datagrams do.
func (l *Link) Jitter(d time.Duration) (undo func()) {
	if d < 0 {
		l.n.fatal(fmt.Errorf("simnet: Jitter: d is %v; want 0 or more", d))
	}
	return change(l, func(p *path) *override[time.Duration] { return &p.jitter }, d)
}

// Bandwidth limits the bytes of data per second, in each direction, for all connections together.
// What is sent waits for its turn. Headers do not count. 0 means no limit.
func (l *Link) Bandwidth(bytesPerSecond int) (undo func()) {
	if bytesPerSecond < 0 {
		l.n.fatal(fmt.Errorf("simnet: Bandwidth: bytesPerSecond is %d; want 1 or more, or 0 for no bound", bytesPerSecond))
	}
	return change(l, func(p *path) *override[int] { return &p.bandwidth }, bytesPerSecond)
}

// Loss loses this share of what is sent, from 0 to 1, drawn for each segment of up to 1448 bytes
// and for each datagram. What a connection loses is sent again: after one round trip if three more
// segments show the gap (RFC 5681), else by the retransmission timer, a round trip and 200 ms,
// doubled each time (RFC 6298). SYNs are sent again after a second. Acknowledgements are not lost.
func (l *Link) Loss(share float64) (undo func()) {
	checkShare(l, "Loss", share)
	return change(l, func(p *path) *override[float64] { return &p.loss }, share)
}

// MTU makes every packet that is larger vanish, and tells nobody: a black hole for what is large,
// as behind a firewall that drops ICMP. The bytes are those of IPv4's packet: 52 of a TCP segment
// and 28 of a datagram are headers. A TLS handshake gets stuck so, and small requests pass. A
// connection sends again what vanished, in segments of the same size, until it fails with
// ETIMEDOUT. Where the ICMP passes, TCP sends smaller segments, and nobody notices: that is not
// modelled. 0 means no limit.
func (l *Link) MTU(bytes int) (undo func()) {
	if bytes != 0 && bytes < minMTU {
		l.n.fatal(fmt.Errorf("simnet: MTU: bytes is %d; want %d (RFC 791) or more, or 0 for no bound", bytes, minMTU))
	}
	return change(l, func(p *path) *override[int] { return &p.mtu }, bytes)
}

// Forget puts a NAT, a firewall or a load balancer in between that forgets a connection on which
// nothing has passed for idle, in neither direction: what is sent from then on vanishes, as in a
// partition that never heals, and neither end is told. A read waits forever, unless keep-alive's
// probes go unanswered; a write is sent again until ETIMEDOUT, after 15 minutes by default. Probes
// pass as well: keep-alive that is more frequent than idle, at either end, keeps a connection.
//
// Other connections are not concerned, and new ones are made as before. A connection that was
// forgotten stays so when Forget is undone. 0 means that nothing is forgotten.
//
// A flow of datagrams between two sockets is known from the first one on. When it is forgotten,
// what its receiver sends vanishes until the side that opened the flow has sent again, as behind a
// firewall. (A NAT also gives that side another port: field Rebind of udp.Forward.)
func (l *Link) Forget(idle time.Duration) (undo func()) { return l.forget("Forget", idle, false) }

// ForgetReset is [Link.Forget] by a middlebox that answers the next packet of a connection that it
// has forgotten with RST, to whoever sent it: a write succeeds, and the next call fails with
// ECONNRESET. The other end learns nothing before it sends something, too. Datagrams have no RST:
// for them it is Forget.
func (l *Link) ForgetReset(idle time.Duration) (undo func()) {
	return l.forget("ForgetReset", idle, true)
}

// Reorder lets this share of UDP datagrams, from 0 to 1, be overtaken by the next one of the same
// socket. If none comes, they arrive 10 ms late. A TCP connection reads everything in order: for
// it, reordering is jitter.
func (l *Link) Reorder(share float64) (undo func()) {
	checkShare(l, "Reorder", share)
	return change(l, func(p *path) *override[float64] { return &p.reorder }, share)
}

func checkShare(l *Link, method string, share float64) {
	if !(share >= 0 && share <= 1) || math.IsNaN(share) {
		l.n.fatal(fmt.Errorf("simnet: %s: share is %v; want 0 (none) to 1 (all)", method, share))
	}
}

// change sets one kind of fault in each direction.
func change[T any](l *Link, kind func(*path) *override[T], v T) (undo func()) {
	if disarm.On() {
		return func() {}
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.noteFault()
	var undos []func()
	for _, p := range l.paths {
		undos = append(undos, kind(p).set(v))
	}
	return sync.OnceFunc(func() {
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		for _, u := range undos {
			u()
		}
	})
}

func (l *Link) forget(method string, idle time.Duration, resets bool) (undo func()) {
	if idle < 0 {
		l.n.fatal(fmt.Errorf("simnet: %s: idle is %v; want 1ns or more, or 0 for no bound", method, idle))
	}
	if disarm.On() {
		return func() {}
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.settle()
	l.n.noteFault()
	var undos []func()
	for _, p := range l.paths {
		undos = append(undos, p.box.set(middlebox{idle, resets, now()}))
	}
	updateKeepAlives(l.paths[0].concerned())
	return sync.OnceFunc(func() {
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		l.settle()
		for _, u := range undos {
			u()
		}
		updateKeepAlives(l.paths[0].concerned())
	})
}

// settle forgets what is due, before what is in force changes.
func (l *Link) settle() {
	for _, p := range l.paths {
		for _, c := range ends(p.concerned()) {
			c.remember()
		}
	}
}

// Hold keeps everything that is sent from now on in the air. SYNs, data, FIN and RST arrive, in
// order, when release is called. Holds may overlap.
func (l *Link) Hold() (release func()) {
	return l.count(func(p *path, by int) {
		if p.holds += by; p.holds == 0 {
			releaseHeld(p.concerned())
		}
	})
}

// Partition makes everything that is sent vanish, SYNs included, until heal is called. Then it
// arrives with the next retransmission, unless the connection has failed with ETIMEDOUT before. A
// link in one direction is cut in that direction only: what is sent the other way arrives, but its
// acknowledgement does not. Closing does not heal it, unlike [Conn.Partition]. Partitions may
// overlap.
func (l *Link) Partition() (heal func()) {
	return l.count(func(p *path, by int) { changeCuts(p.concerned(), func() { p.cuts += by }) })
}

// count adds a fault that may overlap with itself, in each direction.
func (l *Link) count(add func(p *path, by int)) (undo func()) {
	if disarm.On() {
		return func() {}
	}
	by := func(n int) {
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		l.n.noteFault()
		for _, p := range l.paths {
			add(p, n)
		}
		updateKeepAlives(l.paths[0].concerned())
	}
	by(1)
	return sync.OnceFunc(func() { by(-1) })
}

// wholeNetwork returns the link of the whole network.
func (n *Network) wholeNetwork() *Link { return &Link{n, []*path{&n.all}} }

// Latency is [Link.Latency] for every link and every loopback.
func (n *Network) Latency(d time.Duration) (undo func()) { return n.wholeNetwork().Latency(d) }

// Jitter is [Link.Jitter] for every link and every loopback.
func (n *Network) Jitter(d time.Duration) (undo func()) { return n.wholeNetwork().Jitter(d) }

// Bandwidth is [Link.Bandwidth] for every link and every loopback, each by itself.
func (n *Network) Bandwidth(bytesPerSecond int) (undo func()) {
	return n.wholeNetwork().Bandwidth(bytesPerSecond)
}

// Loss is [Link.Loss] for every link and every loopback.
func (n *Network) Loss(share float64) (undo func()) { return n.wholeNetwork().Loss(share) }

// MTU is [Link.MTU] for every link and every loopback.
func (n *Network) MTU(bytes int) (undo func()) { return n.wholeNetwork().MTU(bytes) }

// Forget is [Link.Forget] for every link and every loopback.
func (n *Network) Forget(idle time.Duration) (undo func()) { return n.wholeNetwork().Forget(idle) }

// ForgetReset is [Link.ForgetReset] for every link and every loopback.
func (n *Network) ForgetReset(idle time.Duration) (undo func()) {
	return n.wholeNetwork().ForgetReset(idle)
}

// Reorder is [Link.Reorder] for every link and every loopback.
func (n *Network) Reorder(share float64) (undo func()) { return n.wholeNetwork().Reorder(share) }

// Hold is [Link.Hold] for every link and every loopback.
func (n *Network) Hold() (release func()) { return n.wholeNetwork().Hold() }

// Partition is [Link.Partition] for every link and every loopback. Nothing arrives anywhere.
func (n *Network) Partition() (heal func()) { return n.wholeNetwork().Partition() }

// noteFault makes everything look for faults from now on. Dials that skip SYNs no longer do.
func (n *Network) noteFault() {
	if !n.faulty {
		n.faulty = true
		n.retryDials()
	}
}

// concerned returns the paths on which a fault of p works: p alone, unless that is the whole
// network's.
func (p *path) concerned() []*path {
	if p != &p.n.all {
		return []*path{p}
	}
	return slices.SortedFunc(maps.Values(p.n.paths), func(a, b *path) int {
		return cmp.Or(cmp.Compare(a.from.name, b.from.name), cmp.Compare(a.to.name, b.to.name))
	})
}

// ends returns the ends of the connections on these paths, in either direction, in the order in
// which they were made, so that each run of a program goes the same way.
func ends(paths []*path) []*Conn {
	both := map[*path]bool{}
	for _, p := range paths {
		both[p], both[p.n.path(p.to, p.from)] = true, true
	}
	var list []*Conn
	for p := range both {
		list = slices.AppendSeq(list, maps.Keys(p.ends))
	}
	slices.SortFunc(list, byID)
	return list
}

func byID(a, b *Conn) int { return cmp.Compare(a.id, b.id) }

// releaseHeld lets arrive at once what was held and is not held any more.
func releaseHeld(paths []*path) {
	for _, p := range paths {
		if p.isHeld() {
			continue
		}
		held := p.held
		p.held = nil
		for _, e := range held {
			p.n.agenda.schedule(e, now())
		}
	}
	var flying []*Conn
	for _, p := range paths {
		if !p.isHeld() {
			flying = slices.AppendSeq(flying, maps.Keys(p.flying))
		}
	}
	slices.SortFunc(flying, byID)
	for _, c := range flying {
		for i := range c.flight.segments {
			if c.flight.segments[i].at.IsZero() {
				c.flight.segments[i].at = now()
			}
		}
		c.scheduleLanding()
	}
}

// changeCuts calls change, which concerns these paths, and tells the ends that are partitioned by
// it.
func changeCuts(paths []*path, change func()) {
	all := ends(paths)
	heard := make(map[*Conn]bool, len(all))
	for _, c := range all {
		heard[c] = !c.partitioned()
	}
	change()
	for _, c := range all {
		if c.partitioned() && heard[c] || c.peer.partitioned() && heard[c.peer] {
			c.cutOff()
		}
	}
}

// Partition makes what the other end sends vanish; see [network.Conn].
func (c *Conn) Partition() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.explain("partition", net.ErrClosed)
	}
	if c.resend.cut {
		return nil
	}
	c.resend.cut = true
	c.cutOff()
	c.peer.cutOff()
	return nil
}

// Heal ends a partition. What vanished arrives with the other end's next retransmission; see
// [network.Conn].
func (c *Conn) Heal() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.explain("heal", net.ErrClosed)
	}
	c.heal()
	return nil
}

func (c *Conn) explain(what string, err error) error {
	return fmt.Errorf("%s %s -> %s: %w", what, c.la, c.ra, err)
}

func updateKeepAlives(paths []*path) {
	for _, c := range ends(paths) {
		c.alive.update(c)
	}
}
