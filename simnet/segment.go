package simnet

import "syscall"

// deliver sends b, as far as the other end's window takes it, and returns how many bytes that was.
func (c *Conn) deliver(b []byte) int {
	if len(b) == 0 || c.dead || c.resend.lost {
		return 0
	}
	if !c.speaks() {
		return min(len(b), c.unanswered())
	}
	if !c.takesTime() {
		return c.landBytes(b, c.out.passes(len(b)))
	}
	k := max(0, min(len(b), c.peer.rcvMax-c.peer.rcv.len()-c.inAir()))
	if k > 0 {
		c.launch(dataSegment, k)
		c.flight.air.put(&c.n.spares, b[:k])
	}
	return k
}

// lendable is the size from which it costs less to let the other end read than to copy.
const lendable = 8 << 10

// landBytes is the arrival of data at the other end, of which through bytes get through. It returns
// how many of them were taken.
func (c *Conn) landBytes(b []byte, through int) int {
	p := c.peer
	switch {
	case p.partitioned():
		c.resend.lost = true
		return 0
	case p.refuses() && c.partitioned(): // the RST does not come back
		p.terminate(syscall.ECONNRESET)
		c.resend.lost = true
		return 0
	case through == 0:
		c.noteLoss(len(b) - mss)
		return 0
	case p.refuses():
		p.terminate(syscall.ECONNRESET)
		p.sendRST()
		return min(len(b), c.unanswered())
	}
	k := c.fits(len(b), through)
	if k <= 0 {
		return 0
	}
	if c.lending && k >= lendable {
		p.rcv.lend(&c.n.spares, b[:k])
	} else {
		p.rcv.put(&c.n.spares, b[:k])
	}
	p.arrivedBytes += int64(k)
	p.readable.Broadcast()
	p.acknowledge()
	if c.partitioned() {
		c.resend.unacked += k
		c.resend.window -= k
	} else {
		c.noteAcked()
		c.alive.heard()
	}
	return k
}

// unanswered returns how many bytes a write takes before it sees the RST that answers its first
// segment: half a megabyte, or what SetWriteBuffer has set.
func (c *Conn) unanswered() int {
	if c.sndMax == defaultSend {
		return 512 << 10
	}
	return max(c.sndMax-sendSegment, sendSegment)
}

// fits returns how many of n bytes, of which through get through, the other end has room for.
func (c *Conn) fits(n, through int) int {
	k := min(n, c.peer.rcvMax-c.peer.rcv.len())
	if through < k {
		c.noteLoss(k - through - mss)
		k = through
	}
	if c.partitioned() {
		k = min(k, c.resend.window)
		c.resend.lost = c.resend.lost || k < n
	}
	return k
}

// flush sends what is in the send buffer, then FIN.
func (c *Conn) flush() {
	for {
		k := c.deliver(c.snd.next())
		if k == 0 || c.dead {
			break
		}
		c.snd.skip(&c.n.spares, k)
		if !c.partitioned() && !c.resend.resent {
			c.resetPatience()
		}
	}
	c.sendFIN()
	c.writable.Broadcast()
	c.armResend()
}

// openWindow tells the other end that there is room again.
func (c *Conn) openWindow() {
	if p := c.peer; p.snd.len() > 0 && c.takesTime() {
		c.launch(windowSegment, 0)
	} else {
		p.onWindow()
	}
}

// onWindow is called when the other end has room again.
func (c *Conn) onWindow() {
	if c.snd.len() > 0 && !c.partitioned() && !c.resend.lost {
		c.flush()
	}
}

// sendFIN sends FIN if nothing is left to be sent before it.
func (c *Conn) sendFIN() {
	if c.finSent != finUnsent || c.dead || c.snd.len() > 0 || c.resend.lost || !c.speaks() {
		return
	}
	if c.takesTime() {
		c.finSent = finInAir
		c.launch(finSegment, 0)
		return
	}
	c.landFIN(c.out.loses(loss))
}

// landFIN is the arrival of FIN at the other end.
func (c *Conn) landFIN(lost bool) {
	switch p := c.peer; {
	case p.partitioned() || p.aborted && c.partitioned() || lost:
		c.finSent, c.resend.lost, c.resend.resent = finUnsent, true, false
		c.armResend()
	case p.aborted:
		p.sendRST()
	default:
		c.finSent = finArrived
		if c.partitioned() {
			c.resend.finUnacked = true
		} else {
			c.noteAcked()
		}
		p.onFIN()
		c.endAfterFINs()
		c.armResend()
		c.writable.Broadcast() // to a Close that lingers
	}
}

// sendRST sends RST.
func (c *Conn) sendRST() {
	c.remember()
	if c.takesTime() {
		c.launch(rstSegment, 0)
		return
	}
	c.landRST(c.out.loses(loss))
}

// landRST is the arrival of RST at the other end. One that is lost is sent again in answer to what
// that end sends next.
func (c *Conn) landRST(lost bool) {
	if !lost {
		c.peer.onRST()
	} else {
		c.peer.alive.update(c.peer)
	}
}
