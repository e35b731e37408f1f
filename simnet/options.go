package simnet

import (
	"net"
	"syscall"
	"time"
)

// set changes an option, unless the connection is closed.
func (c *Conn) set(change func()) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	change()
	return nil
}

// SetLinger(0) makes Close send RST and drop what was not sent. After a negative number, Close
// sends that, then FIN, in the background. After a positive one, it waits up to this many seconds
// until all is acknowledged.
func (c *Conn) SetLinger(sec int) error {
	return c.set(func() { c.abortive, c.linger = sec == 0, max(0, time.Duration(sec)*time.Second) })
}

// SetNoDelay changes nothing: what is written is always sent at once.
func (c *Conn) SetNoDelay(bool) error { return c.set(func() {}) }

// SetKeepAlive turns keep-alive on or off. As in package net, it is on in connections that
// Listener.Accept and DialContext return.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: on, Idle: -1, Interval: -1, Count: -1})
}

// SetKeepAlivePeriod sets when the first probe is sent, in whole seconds, rounded up. 0 means
// package net's default, 15 s; less than 0 changes nothing.
func (c *Conn) SetKeepAlivePeriod(d time.Duration) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: c.keepsAlive(), Idle: d, Interval: -1, Count: -1})
}

func (c *Conn) keepsAlive() bool {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.alive.on
}

// The most that Linux takes (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL and MAX_TCP_KEEPCNT). More is
// EINVAL.
const (
	mostKeepAlive  = 32767 * time.Second
	mostKeepAlives = 127
)

// SetKeepAliveConfig changes keep-alive. Fields that are zero mean package net's defaults, 15 s, 15
// s and 9; negative fields leave things as they are. Durations are in whole seconds, rounded up.
func (c *Conn) SetKeepAliveConfig(to net.KeepAliveConfig) error {
	if to.Idle > mostKeepAlive || to.Interval > mostKeepAlive || to.Count > mostKeepAlives {
		return c.opError("set", syscallError("setsockopt", syscall.EINVAL))
	}
	return c.set(func() {
		k := c.alive.keepAliveConfig
		if k.idle == 0 {
			k = keepAliveConfig{idle: 2 * time.Hour, interval: 75 * time.Second, count: 9} // Linux's
		}
		k.on = to.Enable
		k.idle = choose(seconds(to.Idle), defaultKeepAlive.idle, k.idle)
		k.interval = choose(seconds(to.Interval), defaultKeepAlive.interval, k.interval)
		k.count = choose(to.Count, defaultKeepAlive.count, k.count)
		c.alive.set(c, k)
	})
}

// seconds rounds up, as package net does. What is negative stays negative.
func seconds(d time.Duration) time.Duration {
	if rest := d % time.Second; rest > 0 {
		d += time.Second - rest
	}
	return d
}

// choose returns v; or def if v is 0, or old if v is negative.
func choose[T int | time.Duration](v, def, old T) T {
	switch {
	case v == 0:
		return def
	case v < 0:
		return old
	}
	return v
}

// SetUserTimeout sets TCP_USER_TIMEOUT: how long what was written may stay unacknowledged, or
// unsent because the other end's window is closed, before the connection fails with ETIMEDOUT. 0 is
// the default: 924.6 s for the first, no limit for the second. A [*net.TCPConn] has no such method;
// there, set the option.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return c.set(func() {
		c.resend.userTimeout = d
		c.n.agenda.cancel(&c.resend.event)
		c.armResend()
	})
}

// SetReadBuffer sets SO_RCVBUF, of which Linux uses the double.
func (c *Conn) SetReadBuffer(bytes int) error {
	return c.setBuffer(func() { c.rcvMax = max(2*bytes, smallReceive) })
}

// SetWriteBuffer sets SO_SNDBUF, of which Linux uses the double, and fills it with whole segments
// of up to 32 KiB.
func (c *Conn) SetWriteBuffer(bytes int) error {
	const least = 4608
	return c.setBuffer(func() { c.sndMax = max(2*bytes, least) + sendSegment })
}

func (c *Conn) setBuffer(change func()) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.setError(net.ErrClosed)
	}
	change()
	c.openWindow()
	c.writable.Broadcast()
	return nil
}
