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
	unacked     int  // bytes that have arrived, and whose acknowledgement vanished
	finUnacked  bool // the same of FIN
	userTimeout time.Duration
	since       time.Time // from when on there was something to acknowledge; zero if there is not
	tries       int       // retransmissions since then
	total       int
	event       event
}

// rto is the pause before the next retransmission.
func (r *resend) rto() time.Duration { return min(minRTO<<min(r.tries, 10), maxRTO) }

// outstanding tells whether there is something to retransmit.
func (r *resend) outstanding() bool { return r.lost || r.unacked > 0 || r.finUnacked }

// await sets the retransmission timer, or that of TCP_USER_TIMEOUT, if one is needed. The caller holds mu.
func (c *Conn) await() {
	r := &c.resend
	probes := c.snd.len() > 0 && r.userTimeout > 0 // of a zero window: they are answered, and count all the same
	if c.dead || !r.outstanding() && !probes {
		if !r.since.IsZero() {
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
	next := now().Add(r.rto())
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
	r.tries++
	r.total++
	switch p := c.peer; {
	case p.deaf():
	case p.aborted && !c.deaf():
		c.onRST()
		return
	default:
		r.lost = false
		if !c.deaf() {
			r.unacked, r.finUnacked = 0, false
			c.progress()
			c.alive.heard()
			c.settle()
		}
		c.flush()
	}
	c.await()
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
func (c *Conn) deaf() bool { return c.resend.cut || c.n.cuts > 0 }

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
