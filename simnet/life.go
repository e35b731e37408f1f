package simnet

import (
	"net"
	"syscall"
	"time"
)

// Close sends what is in the send buffer and FIN, in the background; or RST, if something was not read or SetLinger says
// so. A partition is healed first.
func (c *Conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	cut := c.isCut()
	if c.leftPort = true; cut {
		c.heal()
	}
	if !c.dead && (c.abortive || c.rcv.len() > 0) {
		c.abort()
		return nil
	}
	c.markClosed()
	c.alive.update(c)
	c.shutWrite()
	c.endAfterFINs()
	c.afterClose()
	return nil
}

func (c *Conn) heal() {
	c.resend.cut = false
	c.alive.update(c)
	c.peer.alive.update(c.peer)
}

// Reset closes with RST; see [network.Conn].
func (c *Conn) Reset() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.abort()
	return nil
}

// CloseWrite sends FIN, after what is in the send buffer: the other end reads EOF, and can still write.
func (c *Conn) CloseWrite() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.mayShut(); err != nil {
		return err
	}
	c.shutWrite()
	c.wake()
	return nil
}

// CloseRead ends reading: what has arrived can still be read, then comes EOF. The other end is not told.
func (c *Conn) CloseRead() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.mayShut(); err != nil {
		return err
	}
	c.rshut = true
	c.wake()
	return nil
}

func (c *Conn) mayShut() error {
	switch {
	case c.closed:
		return c.opError("close", net.ErrClosed)
	case c.dead:
		return c.opError("close", syscallError("shutdown", syscall.ENOTCONN))
	}
	return nil
}

// finish ends what is written, once.
func (c *Conn) shutWrite() {
	if c.wshut || c.dead {
		return
	}
	c.countVisit()
	c.wshut, c.finSent = true, finUnsent
	c.sendFIN()
	c.armResend()
}

// onFIN: the other end's FIN has arrived.
func (c *Conn) onFIN() {
	c.fin = true
	c.acknowledge()
	c.endAfterFINs()
	c.wake()
}

// heard: a segment has arrived, which acknowledges all that the other end has.
func (c *Conn) acknowledge() {
	c.alive.heard()
	if c.resend.unacked > 0 || c.resend.finUnacked {
		c.resend.unacked, c.resend.finUnacked = 0, false
		c.writable.Broadcast()
		c.endAfterFINs()
		c.armResend()
	}
}

// settle ends a connection of which both FINs have arrived, and, in time, one whose own FIN has and
// that nobody has open any more.
func (c *Conn) endAfterFINs() {
	if c.finSent != finArrived || c.resend.finUnacked || c.resend.unacked > 0 || c.dead {
		return
	}
	if c.fin {
		c.dead = true
		c.afterEnd()
	} else if c.closed && c.orphan == nil {
		c.orphan = &event{do: func() { c.terminate(0) }}
		c.n.agenda.schedule(c.orphan, now().Add(orphanLife))
	}
}

// orphanLife is how long a socket that was closed waits in FIN-WAIT-2 for the other end's FIN:
// Linux's tcp_fin_timeout (tcp(7)).
const orphanLife = time.Minute

// onRST: RST has arrived, unless the connection is cut. What arrived before can still be read.
func (c *Conn) onRST() {
	switch {
	case c.partitioned():
		c.alive.update(c)
	case c.fin && c.finSent == finNone: // CLOSE-WAIT, tcp_reset in Linux's tcp_input.c
		c.terminate(syscall.EPIPE)
	default:
		c.terminate(syscall.ECONNRESET)
	}
}

// end is the end of the connection by something else than FIN.
func (c *Conn) terminate(e syscall.Errno) {
	if c.dead {
		return
	}
	c.dead, c.aborted, c.soErr, c.rst = true, true, e, e == syscall.ECONNRESET
	c.afterEnd()
	c.wake()
	c.peer.alive.update(c.peer)
}

// abort closes with RST.
func (c *Conn) abort() {
	c.markClosed()
	c.leftPort = true
	if !c.dead {
		c.countVisit()
		c.sendRST()
		c.terminate(0)
	}
	c.afterClose()
}

// over frees what a connection that has ended needs no more.
func (c *Conn) afterEnd() {
	c.snd.drop(&c.n.spares)
	c.n.agenda.cancel(&c.resend.event)
	if c.orphan != nil {
		c.n.agenda.cancel(c.orphan)
	}
	c.alive.update(c)
	c.unlist()
}

// shut ends what only an open socket has.
func (c *Conn) afterClose() {
	c.rcv.drop(&c.n.spares)
	c.dropDeadlines()
	c.wake()
	c.unlist()
}

// forget takes a socket off the network's list that is closed, and not needed for what is still to be sent.
func (c *Conn) unlist() {
	if !c.dead || !c.closed {
		return
	}
	if _, known := c.n.conns[c]; known && c.dialled {
		c.host.release(c.la.(*net.TCPAddr).AddrPort())
	}
	delete(c.n.conns, c)
}
