package simnet

import (
	"net"
	"syscall"
	"time"
)

// The life of a connection, as each end sees it:
//
//	what happens                  method        from          to
//	the handshake is complete     dial.pair     -             ESTABLISHED
//	CloseWrite or Close           shutWrite     ESTABLISHED   FIN-WAIT-1
//	                                            CLOSE-WAIT    LAST-ACK
//	our FIN has arrived           landFIN       FIN-WAIT-1    FIN-WAIT-2
//	their FIN arrives             onFIN         ESTABLISHED   CLOSE-WAIT
//	both FINs have arrived        endAfterFINs  any           CLOSED
//	60 s in FIN-WAIT-2, closed    endAfterFINs  FIN-WAIT-2    CLOSED, aborted
//	RST arrives                   onRST         any           CLOSED, aborted: ECONNRESET or EPIPE
//	it gives up                   retransmit,   any           CLOSED, aborted: ETIMEDOUT
//	                              probe
//	Reset, or Close with data     abort         any           CLOSED, aborted; it sends RST
//	unread or after SetLinger(0)
//
// CLOSED is the field dead. Independently of it, the owner's Close or Reset sets closed. An end
// that is both is taken off the network's list (unlist). An aborted end answers what still comes
// with RST.

// Close sends in the background what is in the send buffer, then FIN. If something was not read, or
// after SetLinger(0), it sends RST instead. A partition is healed first.
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
	c.awaitEnd()
	return nil
}

// awaitEnd waits, after SetLinger, until all that was sent is acknowledged, FIN included. What is
// not in time goes on in the background.
func (c *Conn) awaitEnd() {
	if c.linger == 0 {
		return
	}
	var late deadline
	late.set(&c.n.agenda, now().Add(c.linger), c.writable.Broadcast)
	for !c.dead && !late.expired && (c.finSent != finArrived || c.resend.finUnacked) {
		c.writable.Wait()
	}
	c.n.agenda.cancel(&late.event)
}

// heal ends the partition of this end.
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

// CloseWrite sends FIN, after what is in the send buffer. The other end reads EOF, and can still
// write.
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

// CloseRead ends reading. What has arrived can still be read, then comes EOF. The other end is not
// told.
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

// mayShut is the error of a CloseWrite or a CloseRead that comes too late.
func (c *Conn) mayShut() error {
	switch {
	case c.closed:
		return c.opError("close", net.ErrClosed)
	case c.dead:
		return c.opError("close", syscallError("shutdown", syscall.ENOTCONN))
	}
	return nil
}

// shutWrite ends writing, once.
func (c *Conn) shutWrite() {
	if c.wshut || c.dead {
		return
	}
	c.wshut, c.finSent = true, finUnsent
	c.sendFIN()
	c.armResend()
}

// onFIN is called when the other end's FIN has arrived.
func (c *Conn) onFIN() {
	c.fin = true
	c.acknowledge()
	c.endAfterFINs()
	c.wake()
}

// acknowledge is called when a segment has arrived, which acknowledges everything that the other
// end has.
func (c *Conn) acknowledge() {
	c.alive.heard()
	if c.n.faulty {
		c.spoke = now()
	}
	if c.resend.unacked > 0 || c.resend.finUnacked {
		c.resend.unacked, c.resend.finUnacked = 0, false
		c.writable.Broadcast()
		c.endAfterFINs()
		c.armResend()
	}
}

// endAfterFINs ends a connection if both FINs have arrived. If only our own FIN has, and our owner
// has closed it, it does so after a minute.
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

// onRST is called when RST arrives, unless the connection is partitioned. What arrived before can
// still be read.
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

// terminate ends the connection without FINs: by RST, or because it gave up.
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
		c.sendRST()
		c.terminate(0)
	}
	c.afterClose()
}

// afterEnd frees what a connection that has ended no longer needs.
func (c *Conn) afterEnd() {
	c.snd.drop(&c.n.spares)
	c.n.agenda.cancel(&c.resend.event)
	if c.orphan != nil {
		c.n.agenda.cancel(c.orphan)
	}
	c.alive.update(c)
	c.unlist()
}

// afterClose frees what only an open socket needs.
func (c *Conn) afterClose() {
	c.rcv.drop(&c.n.spares)
	c.lent.close()
	c.dropDeadlines()
	c.wake()
	c.unlist()
}

// unlist takes a socket off the network's list once it is closed and its connection has ended.
func (c *Conn) unlist() {
	if !c.dead || !c.closed {
		return
	}
	if _, known := c.out.ends[c]; known && c.dialled {
		c.host.release(c.la.(*net.TCPAddr).AddrPort())
	}
	delete(c.out.ends, c)
}

// cutOff is called when one of the two ends can no longer hear the other.
func (c *Conn) cutOff() {
	c.resend.window = c.peer.rcvMax - c.peer.rcv.len()
	c.resend.lost = c.resend.lost || c.snd.len() > 0 // a window's opening would not be seen
	c.armResend()
	c.alive.update(c)
}

// box returns the most forgetful between the two ends.
func (c *Conn) box() middlebox { return boxBetween(c.out.path, c.peer.out.path) }

// fades reports whether a middlebox forgets the connection unless something is said: no probes come
// often enough.
func (c *Conn) fades() bool {
	m := c.box()
	return m.idle > 0 && !c.alive.keeps(c, m) && !c.peer.alive.keeps(c.peer, m)
}

func (k *keepAlive) keeps(c *Conn, m middlebox) bool {
	return k.on && !c.closed && !c.dead && k.idle < m.idle
}

// remember forgets the connection, if nothing was said for too long. A look when something is about
// to be sent is early enough: a timer would keep a bubble's clock going.
func (c *Conn) remember() {
	if c.gone != known || !c.n.faulty || !c.fades() {
		return
	}
	m, last := c.box(), c.spoke
	for _, t := range [...]time.Time{c.peer.spoke, m.since} {
		if t.After(last) {
			last = t
		}
	}
	if now().Sub(last) < m.idle {
		return
	}
	c.gone = vanishes
	if m.resets {
		c.gone = isReset
	}
	c.peer.gone = c.gone
	c.cutOff()
	c.peer.cutOff()
}

// speaks is called before something is sent. It returns false if a middlebox answers that with RST,
// which has then ended the connection.
func (c *Conn) speaks() bool {
	if !c.n.faulty {
		return true
	}
	c.remember()
	c.spoke = now()
	if c.gone != isReset {
		return true
	}
	if c.fin && c.finSent == finNone { // as in onRST
		c.terminate(syscall.EPIPE)
	} else {
		c.terminate(syscall.ECONNRESET)
	}
	return false
}
