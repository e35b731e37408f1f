package simnet

import (
	"net"
	"syscall"
)

// Close sends what is in the send buffer and FIN, in the background; or RST, if something was not read or SetLinger says
// so. A partition is healed first.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	cut := c.isCut()
	if c.left = true; cut {
		c.heal()
	}
	if !c.dead && (c.abortive || c.rcv.len() > 0) {
		c.abort()
		return nil
	}
	c.letGo()
	c.alive.update(c)
	c.finish()
	c.settle()
	c.shut()
	return nil
}

// Reset closes with RST; see [network.Conn].
func (c *Conn) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.abort()
	return nil
}

// CloseWrite sends FIN, after what is in the send buffer: the other end reads EOF, and can still write.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayShut(); err != nil {
		return err
	}
	c.finish()
	c.wake()
	return nil
}

// finish ends what is written, once.
func (c *Conn) finish() {
	if c.wshut || c.dead {
		return
	}
	c.acts()
	c.wshut, c.finSent = true, finWaits
	c.sendFIN()
	c.await()
}

// CloseRead ends reading: what has arrived can still be read, then comes EOF. The other end is not told.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		return c.opError("close", sys("shutdown", syscall.ENOTCONN))
	}
	return nil
}
