package simnet

import (
	"syscall"
	"time"
)

// What one end sends reaches the other within the call that sends it, in this file. The caller of all of it holds mu.

// A finState is how far a FIN of ours has come.
type finState int8

const (
	finNone  finState = iota
	finWaits          // behind what is in the send buffer, or lost
	finFlies
	finArrived
)

// deliver sends b, as far as the other end's window takes it, and returns how much it was.
func (c *Conn) deliver(b []byte) int {
	if len(b) == 0 || c.dead || c.resend.lost {
		return 0
	}
	if !c.slow() {
		return c.arrive(b, c.out.passes(len(b)))
	}
	k := max(0, min(len(b), c.peer.rcvMax-c.peer.rcv.len()-c.inAir()))
	if k > 0 {
		c.fly(dataSegment, k)
		c.flight.air.put(&c.n.spares, b[:k])
	}
	return k
}

// arrive is what data meets at the other end, of which so many bytes get through. It returns how many of them were taken.
func (c *Conn) arrive(b []byte, through int) int {
	p := c.peer
	switch {
	case p.deaf():
		c.resend.lost = true
		return 0
	case p.refuses() && c.deaf(): // the RST does not come back
		p.end(syscall.ECONNRESET)
		c.resend.lost = true
		return 0
	case through == 0:
		c.noteLoss(len(b) - mss)
		return 0
	case p.refuses():
		p.end(syscall.ECONNRESET)
		p.sendRST()
		return len(b)
	}
	k := c.fits(len(b), through)
	if k <= 0 {
		return 0
	}
	if c.lends && k >= lendable {
		p.rcv.lend(&c.n.spares, b[:k])
	} else {
		p.rcv.put(&c.n.spares, b[:k])
	}
	p.arrivedBytes += int64(k)
	p.readable.Broadcast()
	p.heard()
	if c.deaf() {
		c.resend.unacked += k
		c.resend.window -= k
	} else {
		c.arrived()
		c.alive.heard()
	}
	return k
}

// fits is how many of n bytes there is room for at the other end, of those that get through.
func (c *Conn) fits(n, through int) int {
	k := min(n, c.peer.rcvMax-c.peer.rcv.len())
	if through < k {
		c.noteLoss(k - through - mss)
		k = through
	}
	if c.deaf() {
		k = min(k, c.resend.window)
		c.resend.lost = c.resend.lost || k < n
	}
	return k
}

// refuses tells whether data that arrives now is answered with RST: nobody can read it any more (RFC 9293, section
// 3.6.1). One that has only called CloseRead takes it still, as on Linux.
func (c *Conn) refuses() bool { return c.aborted || c.closed || c.wshut && c.rshut }

// flush sends what is in the send buffer, then FIN.
func (c *Conn) flush() {
	for {
		k := c.deliver(c.snd.next())
		if k == 0 || c.dead {
			break
		}
		c.snd.skip(&c.n.spares, k)
		if !c.deaf() && !c.resend.resent {
			c.progress()
		}
	}
	c.sendFIN()
	c.writable.Broadcast()
	c.await()
}

// openWindow tells the other end that there is room again.
func (c *Conn) openWindow() {
	if p := c.peer; p.snd.len() > 0 && c.slow() {
		c.fly(windowSegment, 0)
	} else {
		p.windowOpened()
	}
}

// windowOpened: the other end has read.
func (c *Conn) windowOpened() {
	if c.snd.len() > 0 && !c.deaf() && !c.resend.lost {
		c.flush()
	}
}

// sendFIN sends FIN if it is its turn.
func (c *Conn) sendFIN() {
	if c.finSent != finWaits || c.dead || c.snd.len() > 0 || c.resend.lost {
		return
	}
	if c.slow() {
		c.finSent = finFlies
		c.fly(finSegment, 0)
		return
	}
	c.landFIN(c.out.loses(loss))
}

// landFIN is what FIN meets at the other end.
func (c *Conn) landFIN(lost bool) {
	switch p := c.peer; {
	case p.deaf() || p.aborted && c.deaf() || lost:
		c.finSent, c.resend.lost, c.resend.resent = finWaits, true, false
		c.await()
	case p.aborted:
		p.sendRST()
	default:
		c.finSent = finArrived
		if c.deaf() {
			c.resend.finUnacked = true
		} else {
			c.arrived()
		}
		p.onFIN()
		c.settle()
		c.await()
	}
}

// sendRST sends RST.
func (c *Conn) sendRST() {
	if c.slow() {
		c.fly(rstSegment, 0)
		return
	}
	c.landRST(c.out.loses(loss))
}

// landRST is what RST meets at the other end. One that is lost is sent again with the answer to what that end sends next.
func (c *Conn) landRST(lost bool) {
	if !lost {
		c.peer.onRST()
	} else {
		c.peer.alive.update(c.peer)
	}
}

// onFIN: the other end's FIN has arrived.
func (c *Conn) onFIN() {
	c.fin = true
	c.heard()
	c.settle()
	c.wake()
}

// heard: a segment has arrived, which acknowledges all that the other end has.
func (c *Conn) heard() {
	c.alive.heard()
	if c.resend.unacked > 0 || c.resend.finUnacked {
		c.resend.unacked, c.resend.finUnacked = 0, false
		c.settle()
		c.await()
	}
}

// settle ends a connection of which both FINs have arrived, and, in time, one whose own FIN has and
// that nobody has open any more.
func (c *Conn) settle() {
	if c.finSent != finArrived || c.resend.finUnacked || c.resend.unacked > 0 || c.dead {
		return
	}
	if c.fin {
		c.dead = true
		c.over()
	} else if c.closed && c.orphan == nil {
		c.orphan = &event{do: func() { c.end(0) }}
		c.n.schedule(c.orphan, now().Add(orphanLife))
	}
}

// orphanLife is how long a socket that was closed waits in FIN-WAIT-2 for the other end's FIN:
// Linux's tcp_fin_timeout (tcp(7)).
const orphanLife = time.Minute

// onRST: RST has arrived, unless the connection is cut. What arrived before can still be read.
func (c *Conn) onRST() {
	switch {
	case c.deaf():
		c.alive.update(c)
	case c.fin && c.finSent == finNone: // CLOSE-WAIT, tcp_reset in Linux's tcp_input.c
		c.end(syscall.EPIPE)
	default:
		c.end(syscall.ECONNRESET)
	}
}

// end is the end of the connection by something else than FIN.
func (c *Conn) end(e syscall.Errno) {
	if c.dead {
		return
	}
	c.dead, c.aborted, c.soErr, c.rst = true, true, e, e == syscall.ECONNRESET
	c.over()
	c.wake()
	c.peer.alive.update(c.peer)
}

// over frees what a connection that has ended needs no more.
func (c *Conn) over() {
	c.snd.drop(&c.n.spares)
	c.n.drop(&c.resend.event)
	if c.orphan != nil {
		c.n.drop(c.orphan)
	}
	c.alive.update(c)
	c.forget()
}

// forget takes a socket off the network's list that is closed, and not needed for what is still to be sent.
func (c *Conn) forget() {
	if !c.dead || !c.closed {
		return
	}
	if _, known := c.n.conns[c]; known && c.local.IsValid() {
		c.host.release(c.local)
	}
	delete(c.n.conns, c)
}

// abort closes with RST.
func (c *Conn) abort() {
	c.letGo()
	c.left = true
	if !c.dead {
		c.acts()
		c.sendRST()
		c.end(0)
	}
	c.shut()
}

// shut ends what only an open socket has.
func (c *Conn) shut() {
	c.rcv.drop(&c.n.spares)
	c.n.drop(&c.readDeadline.event)
	c.n.drop(&c.writeDeadline.event)
	c.wake()
	c.forget()
}

func (c *Conn) wake() {
	c.readable.Broadcast()
	c.writable.Broadcast()
}

// now is the time by which the network goes.
func now() time.Time { return time.Now() }
