package simnet

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// Linux's retransmission timeouts on loopback (RFC 6298; TCP_RTO_MIN, TCP_RTO_MAX), and how often it retransmits before it
// gives up, after 924.6 s (tcp(7), tcp_retries2).
const (
	minRTO  = 200 * time.Millisecond
	maxRTO  = 120 * time.Second
	retries = 15
)

// A resend is what one end knows of what it sent and that was not acknowledged. It is of use in a partition only: else
// all arrives at once.
type resend struct {
	cut         bool // segments to this end vanish
	window      int  // while cut: what the other end takes, as far as this one knows
	lost        bool // what is next to be sent was sent, and vanished
	gap         bool // and the other end says so, three times (RFC 5681, section 3.2)
	resent      bool // what is in the air was sent before
	unacked     int  // bytes that have arrived, and whose acknowledgement vanished
	finUnacked  bool // the same of FIN
	userTimeout time.Duration
	since       time.Time // from when on there was something to acknowledge; zero if there is not
	tries       int       // retransmissions since then
	total       int
	event       event
}

// rto is how long after a segment it is sent again: the round trip and the smallest margin at first (RFC 6298, section 2).
func (c *Conn) rto() time.Duration {
	return min((minRTO+c.out.rtt())<<min(c.resend.tries, 10), maxRTO)
}

// pause is how long from now on. That a segment is lost is known when it would have arrived.
func (c *Conn) pause() time.Duration {
	r := &c.resend
	switch {
	case r.gap:
		return c.peer.out.delay()
	case r.lost:
		return max(0, c.rto()-c.out.delay())
	}
	return c.rto()
}

// noteLoss is for when a segment was lost by chance. If three that were sent behind it arrive, its other end answers each
// with what it misses, and it is sent again without a timeout; one that was sent again waits for the timer.
func (c *Conn) noteLoss(behind int) {
	r := &c.resend
	r.lost = true
	arrived := 0
	for ; behind > 0 && arrived < 3; behind -= mss {
		if !c.out.loses(loss) {
			arrived++
		}
	}
	r.gap = arrived == 3 && r.since.IsZero() && !c.deaf()
}

// outstanding tells whether there is something to retransmit.
func (r *resend) outstanding() bool { return r.lost || r.unacked > 0 || r.finUnacked }

// await sets the retransmission timer, or that of TCP_USER_TIMEOUT, if one is needed. The caller holds mu.
func (c *Conn) await() {
	r := &c.resend
	probes := c.snd.len() > 0 && r.userTimeout > 0 // of a zero window: they are answered, and count all the same
	if c.dead || !r.outstanding() && !probes {
		if !r.since.IsZero() && !r.resent {
			c.progress()
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
	next := now().Add(c.pause())
	if end := r.since.Add(r.userTimeout); r.userTimeout > 0 && (end.Before(next) || !r.outstanding()) {
		next = end
	}
	c.n.schedule(&r.event, next)
}

// progress: something was acknowledged, so that patience begins anew.
func (c *Conn) progress() {
	c.resend.since, c.resend.tries = time.Time{}, 0
	c.n.drop(&c.resend.event)
}

// arrived: what was just sent has, and its acknowledgement says so of all before it; if that is news, it is progress.
func (c *Conn) arrived() {
	r := &c.resend
	if r.resent || r.unacked > 0 || r.finUnacked {
		r.resent, r.unacked, r.finUnacked = false, 0, false
		c.progress()
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
		c.end(syscall.ETIMEDOUT)
		return
	}
	if !r.gap {
		r.tries++
	}
	r.total++
	switch p := c.peer; {
	case p.deaf():
	case p.aborted && !c.deaf():
		c.onRST()
		return
	default:
		c.again()
	}
	c.await()
}

// again sends what was lost, and what was not acknowledged, if the other end can hear it.
func (c *Conn) again() {
	r := &c.resend
	if acked := r.unacked > 0 || r.finUnacked; acked && !c.deaf() && c.out.loses(loss) {
		return
	}
	r.lost, r.gap, r.resent = false, false, c.slow()
	if !c.deaf() {
		r.unacked, r.finUnacked = 0, false
		c.settle()
	}
	c.flush()
	r.resent = r.resent && c.flies()
	if !c.deaf() && !r.lost && !r.resent {
		c.progress()
		c.alive.heard()
	}
}

// Partition makes what the other end sends vanish; see [network.Conn].
func (c *Conn) Partition() error {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// cutOff: one of the ends cannot hear the other from now on, or none.
func (c *Conn) cutOff() {
	c.resend.window = c.peer.rcvMax - c.peer.rcv.len()
	c.resend.lost = c.resend.lost || c.snd.len() > 0 // a window's opening would not be seen
	c.await()
	c.alive.update(c)
}

// deaf tells whether segments to this end vanish.
func (c *Conn) deaf() bool { return c.isCut() || c.peer.out.isCut() }

// isCut tells whether that is by a partition of this end, or of its port.
func (c *Conn) isCut() bool { return c.resend.cut || c.port != nil && !c.left && c.port.state.Cut }

// Heal ends a partition: what vanished arrives with the other end's next retransmission; see [network.Conn].
func (c *Conn) Heal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.explain("heal", net.ErrClosed)
	}
	c.heal()
	return nil
}

func (c *Conn) heal() {
	c.resend.cut = false
	c.alive.update(c)
	c.peer.alive.update(c.peer)
}

func (c *Conn) explain(what string, err error) error {
	return fmt.Errorf("%s %s -> %s: %w", what, c.la, c.ra, err)
}
