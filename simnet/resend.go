package simnet

import (
	"syscall"
	"time"
)

// Linux's retransmission timeouts on loopback (RFC 6298; TCP_RTO_MIN, TCP_RTO_MAX), and how often
// it retransmits before it gives up, after 924.6 s (tcp(7), tcp_retries2).
const (
	minRTO  = 200 * time.Millisecond
	maxRTO  = 120 * time.Second
	retries = 15
)

// rto returns how long after a segment it is sent again: at first the round trip and the smallest
// margin (RFC 6298, section 2).
func (c *Conn) rto() time.Duration {
	return min((minRTO+c.out.rtt())<<min(c.resend.tries, 10), maxRTO)
}

// resendDelay returns how long from now that is. That a segment is lost is known when it would have
// arrived.
func (c *Conn) resendDelay() time.Duration {
	r := &c.resend
	switch {
	case r.gap:
		return c.peer.out.delay()
	case r.lost:
		return max(0, c.rto()-c.out.delay())
	}
	return c.rto()
}

// noteLoss notes that a segment was lost by chance. If three of those behind it arrive, the other
// end answers each with what it misses, and the segment is sent again without a timeout. A segment
// that was sent again before waits for the timer.
func (c *Conn) noteLoss(behind int) {
	r := &c.resend
	r.lost = true
	arrived := 0
	for ; behind > 0 && arrived < 3; behind -= mss {
		if !c.out.loses(loss) && !c.out.vanishes(min(behind, mss)+tcpHeaders) {
			arrived++
		}
	}
	r.gap = arrived == 3 && r.since.IsZero() && !c.partitioned()
}

// armResend sets the retransmission timer, or that of TCP_USER_TIMEOUT, if one is needed.
func (c *Conn) armResend() {
	r := &c.resend
	probes := c.snd.len() > 0 && r.userTimeout > 0 // of a zero window: they count though they are answered
	if c.dead || !r.outstanding() && !probes {
		if !r.since.IsZero() && !r.resent {
			c.resetPatience()
		}
		return
	}
	if r.since.IsZero() {
		r.since = now()
	}
	if r.event.index > 0 {
		return
	}
	if r.event.do == nil {
		r.event.do = c.retransmit
	}
	next := now().Add(c.resendDelay())
	if end := r.since.Add(r.userTimeout); r.userTimeout > 0 && (end.Before(next) || !r.outstanding()) {
		next = end
	}
	c.n.agenda.schedule(&r.event, next)
}

// resetPatience counts the retransmissions from 0 again: something was acknowledged.
func (c *Conn) resetPatience() {
	c.resend.since, c.resend.tries = time.Time{}, 0
	c.n.agenda.cancel(&c.resend.event)
}

// noteAcked notes that what was just sent has arrived, and that its acknowledgement covers
// everything before it. If that is news, patience begins again.
func (c *Conn) noteAcked() {
	r := &c.resend
	if r.resent || r.unacked > 0 || r.finUnacked {
		r.resent, r.unacked, r.finUnacked = false, 0, false
		c.resetPatience()
	}
}

// retransmit sends again what was lost, or gives up.
func (c *Conn) retransmit() {
	r := &c.resend
	over := r.tries >= retries
	if r.userTimeout > 0 {
		over = !now().Before(r.since.Add(r.userTimeout))
	}
	if over {
		c.terminate(syscall.ETIMEDOUT)
		return
	}
	if !c.speaks() {
		return
	}
	if !r.gap {
		r.tries++
	}
	r.total++
	switch p := c.peer; {
	case p.partitioned():
	case p.aborted && !c.partitioned():
		c.onRST()
		return
	default:
		c.resendLost()
	}
	c.armResend()
}

// resendLost sends what was lost, and what was not acknowledged, if it can reach the other end.
func (c *Conn) resendLost() {
	r := &c.resend
	if acked := r.unacked > 0 || r.finUnacked; acked && !c.partitioned() && c.out.loses(loss) {
		return
	}
	r.lost, r.gap, r.resent = false, false, c.takesTime()
	if !c.partitioned() {
		r.unacked, r.finUnacked = 0, false
		c.endAfterFINs()
	}
	c.flush()
	r.resent = r.resent && c.hasInAir()
	if !c.partitioned() && !r.lost && !r.resent {
		c.resetPatience()
		c.alive.heard()
	}
}
