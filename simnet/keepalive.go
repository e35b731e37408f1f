package simnet

import (
	"syscall"
	"time"
)

// A keepAliveConfig is what the TCP_KEEP options say.
type keepAliveConfig struct {
	on             bool
	idle, interval time.Duration
	count          int
}

// defaultKeepAlive is package net's.
var defaultKeepAlive = keepAliveConfig{on: true, idle: 15 * time.Second, interval: 15 * time.Second, count: 9}

// A keepAlive probes an idle connection. Probes that are answered change nothing, so none is sent unless something is
// in the way of them: timers that come again and again would keep a bubble's clock going for ever.
type keepAlive struct {
	keepAliveConfig
	last   time.Time // when something was last heard of the other end
	probes int       // not answered
	event  event
}

// heard notes that a segment has arrived.
func (k *keepAlive) heard() {
	if k.on {
		k.last, k.probes = now(), 0
	}
}

// set changes the configuration.
func (k *keepAlive) set(c *Conn, to keepAliveConfig) {
	if to.on && !k.on {
		k.last = now()
	}
	k.keepAliveConfig = to
	c.n.drop(&k.event)
	k.update(c)
}

// update starts or ends probing.
func (k *keepAlive) update(c *Conn) {
	well := !c.deaf() && !c.peer.deaf() && !c.peer.gone() && !c.out.isHeld() && !c.peer.out.isHeld()
	if !k.on || c.dead || c.closed || well {
		c.n.drop(&k.event)
		k.probes = 0
		return
	}
	if k.event.index > 0 {
		return
	}
	if k.event.do == nil {
		k.event.do = func() { k.probe(c) }
	}
	since := now().Sub(k.last)
	k.last = k.last.Add(since / k.idle * k.idle) // the probes up to now were answered
	c.n.schedule(&k.event, k.last.Add(k.idle))
}

// probe sends a probe, or gives up (tcp_keepalive_timer in Linux's tcp_timer.c).
func (k *keepAlive) probe(c *Conn) {
	quiet := now().Sub(k.last)
	over := k.probes >= k.count
	if t := c.resend.userTimeout; t > 0 {
		over = k.probes > 0 && quiet >= t
	}
	switch p := c.peer; {
	case c.resend.outstanding(): // it is up to the retransmission timer then
		c.n.schedule(&k.event, now().Add(k.idle))
		return
	case k.probes == 0 && quiet < k.idle:
		c.n.schedule(&k.event, k.last.Add(k.idle))
		return
	case over:
		c.end(syscall.ETIMEDOUT)
		c.sendRST()
		return
	case !p.deaf() && !c.deaf() && !c.out.isHeld() && !p.out.isHeld() && p.gone():
		c.onRST()
		return
	}
	k.probes++
	c.n.schedule(&k.event, now().Add(k.interval))
}
