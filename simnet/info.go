package simnet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"example.com/go-sockettest/network"
)

// Peer returns what is known about the other end; see [network.Conn].
func (c *Conn) Peer() (network.PeerState, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return network.PeerUnknown, c.opError("peer", net.ErrClosed)
	}
	return c.peerState(), nil
}

func (c *Conn) peerState() network.PeerState {
	switch {
	case c.fin:
		return network.PeerFIN
	case c.rst:
		return network.PeerRST
	}
	return network.PeerOpen
}

// AwaitPeerEnd waits until the other end has sent FIN or RST; see [network.Conn].
func (c *Conn) AwaitPeerEnd() (network.PeerState, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.beginRead() {
		return network.PeerUnknown, c.opError("read", net.ErrClosed)
	}
	defer c.endRead()
	for {
		switch state := c.peerState(); {
		case c.closed:
			return network.PeerUnknown, c.opError("read", net.ErrClosed)
		case c.readDeadline.expired:
			return state, c.opError("read", errDeadline)
		case state != network.PeerOpen:
			return state, nil
		case c.dead: // it has ended without a word of the other end's
			return state, c.opError("read", syscallError("read", cmp.Or(c.soErr, syscall.ETIMEDOUT)))
		}
		c.readable.Wait()
	}
}

// WatchPeer reports how the other end gets on with writing; see [network.Conn].
func (c *Conn) WatchPeer(ctx context.Context, wrote, blocked func()) error {
	defer c.n.wakeAfter(ctx, &c.readable)()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.watchers++
	defer func() { c.watchers-- }()
	told := false
	call := func(f func()) {
		c.n.mu.Unlock()
		defer c.n.mu.Lock()
		f()
	}
	for {
		switch {
		case c.closed:
			return c.opError("read", net.ErrClosed)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.peerState() != network.PeerOpen:
			return io.EOF
		case c.peer.wrote:
			c.peer.wrote, told = false, false
			call(wrote)
		case c.peer.waitsForRoom && c.peer.inAir() == 0 && !told:
			told = true
			call(blocked)
		default:
			c.readable.Wait()
		}
	}
}

// AwaitAcked waits until all that was written has arrived; see [network.Conn].
func (c *Conn) AwaitAcked(ctx context.Context) error {
	defer c.n.wakeAfter(ctx, &c.writable)()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return c.opError("write", net.ErrClosed)
		case c.dead || c.socketInfo().Unacked == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		c.writable.Wait()
	}
}

// AwaitStuck waits until a write waits for the other end to read; see [network.Conn].
func (c *Conn) AwaitStuck(ctx context.Context) error {
	defer c.n.wakeAfter(ctx, &c.writable)()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.stuckWatchers++
	defer func() { c.stuckWatchers-- }()
	for {
		switch {
		case c.closed:
			return c.opError("write", net.ErrClosed)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.waitsForRoom && c.inAir() == 0 && !c.resend.lost && c.peer.rcv.len() >= c.peer.rcvMax:
			return nil
		}
		c.writable.Wait()
	}
}

// Info returns the state of both ends; see [network.Conn].
func (c *Conn) Info() (network.ConnInfo, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return network.ConnInfo{}, c.opError("info", net.ErrClosed)
	}
	info := network.ConnInfo{Own: c.socketInfo()}
	if !c.peer.dead {
		other := c.peer.socketInfo()
		if other.Queued = c.peer.isQueued(); !other.Queued && !c.peer.closed {
			other.Inode = c.peer.id
		}
		info.Other = &other
	}
	return info, nil
}

// isQueued reports whether the connection waits in its port's accept queue.
func (c *Conn) isQueued() bool {
	return c.port != nil && slices.ContainsFunc(c.port.queue, func(a arrival) bool { return a.c == c })
}

// Arrived returns how many bytes the other end has written; see [network.Conn].
func (c *Conn) Arrived() (int64, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return 0, c.opError("info", net.ErrClosed)
	}
	return c.arrivedBytes + int64(c.peer.inAir()+c.peer.snd.len()), nil
}

// socketInfo returns the state of one end.
func (c *Conn) socketInfo() network.SocketInfo {
	return network.SocketInfo{
		State: c.state(), Unread: c.rcv.len(), Unacked: c.snd.len() + c.inAir() + c.resend.unacked, Retransmits: c.resend.total,
		RTO: c.rto(), SendWindow: max(0, c.peer.rcvMax-c.peer.rcv.len()), ReceiveWindow: max(0, c.rcvMax-c.rcv.len()),
	}
}

// Sockets lists what is on the network, as ss(8) would, for a report: one line for each port, each
// connect in progress and each end of a connection. If there are several machines, each line begins
// with a machine's name.
func (n *Network) Sockets() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.countSkippedSYNs()
	var lines []string
	add := func(h *Host, format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if len(n.hosts) > 1 {
			line = h.name + ": " + line
		}
		lines = append(lines, line)
	}
	for _, h := range n.hosts {
		for _, same := range h.bound {
			for _, p := range same {
				add(h, "%v  %v, %d queued, %d SYNs dropped", p.addr, p.state.Answer, len(p.queue), p.dropped)
			}
		}
	}
	for d := range n.dials {
		add(d.from, "%v -> %v  SYN-SENT, %d SYNs", d.la, d.ra, d.syns)
	}
	for _, p := range n.paths {
		for c := range p.ends {
			add(c.host, "%v -> %v  %v", c.la, c.ra, c.socketInfo())
		}
	}
	slices.Sort(lines)
	return lines
}

// Clients returns the sockets that are connecting or connected to the port; see [network.Port].
func (b *boundPort) Clients() ([]network.Client, error) {
	n := b.p.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.countSkippedSYNs()
	var clients []network.Client
	coming := map[*Conn]bool{} // whose handshake is not complete for them yet
	for d := range n.dials {
		if d.to != nil && d.to.at(d.ra) == b.p {
			end := network.SocketInfo{State: "SYN-SENT", Retransmits: d.syns - 1, RTO: synWaits[d.syns-1]}
			clients = append(clients, network.Client{Addr: net.TCPAddrFromAddrPort(d.la), Socket: end})
			coming[d.client] = true
		}
	}
	for _, p := range n.into[b.p.host] {
		for c := range p.ends {
			if c.dialled && c.ra.AddrPort() == b.p.addr && !c.dead && !coming[c] {
				clients = append(clients, network.Client{Addr: c.la, Socket: c.socketInfo()})
			}
		}
	}
	slices.SortFunc(clients, func(a, b network.Client) int {
		return a.Addr.(*net.TCPAddr).AddrPort().Compare(b.Addr.(*net.TCPAddr).AddrPort())
	})
	return clients, nil
}

// Connected returns the sockets, on any machine, that are connected to this one and that their
// owners have not closed, even if the connection has ended. A socket's number is never used again.
// The error is always nil.
func (h *Host) Connected() ([]network.Socket, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	var found []network.Socket
	for _, p := range h.n.into[h] {
		for c := range p.ends {
			if !c.closed {
				found = append(found, network.Socket{Number: c.id, Local: c.la.String(), Remote: c.ra.String(), State: c.state()})
			}
		}
	}
	return found, nil
}
