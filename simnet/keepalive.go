package simnet

import (
	"syscall"
	"time"
)

// defaultKeepAlive is package net's default.
var defaultKeepAlive = keepAliveConfig{on: true, idle: 15 * time.Second, interval: 15 * time.Second, count: 9}

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
	if c.n.faulty && k.on {
		if probed := k.last.Add(now().Sub(k.last) / k.idle * k.idle); probed.After(c.spoke) {
			c.spoke = probed
		}
	}
	k.keepAliveConfig = to
	c.n.agenda.cancel(&k.event)
	k.update(c)
	c.peer.alive.update(c.peer)
}

// answersProbes reports whether a probe of c would be answered.
func (c *Conn) answersProbes() bool {
	return !c.partitioned() && !c.peer.partitioned() && !c.peer.onlyResets() && !c.out.isHeld() && !c.peer.out.isHeld()
}

// update starts or stops probing. If a probe is unanswered, it goes on until the next one is due.
func (k *keepAlive) update(c *Conn) {
	if !k.on || c.dead || c.closed || k.probes == 0 && c.answersProbes() && !(c.n.faulty && c.fades()) {
		c.n.agenda.cancel(&k.event)
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
	c.n.agenda.schedule(&k.event, k.last.Add(k.idle))
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
		c.n.agenda.schedule(&k.event, now().Add(k.idle))
		return
	case k.probes == 0 && quiet < k.idle:
		c.n.agenda.schedule(&k.event, k.last.Add(k.idle))
		return
	case over:
		c.terminate(syscall.ETIMEDOUT)
		c.sendRST()
		return
	case !c.speaks():
		return
	case c.answersProbes():
		k.heard()
		k.update(c)
		return
	case !p.partitioned() && !c.partitioned() && !c.out.isHeld() && !p.out.isHeld() && p.onlyResets():
		c.onRST()
		return
	}
	k.probes++
	c.n.agenda.schedule(&k.event, now().Add(k.interval))
}
