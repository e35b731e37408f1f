package simnet

import (
	"net"
	"syscall"

	"example.com/go-sockettest/internal/rawsock/sockpair"
)

// SyscallConn lends a descriptor that can be read and written as the connection can: the pools of
// database clients look at it to see whether a connection is alive. It is one end of a socket pair,
// made when it is first asked for and closed with the connection, and never blocks. What is read
// from it has been read, and what is written to it is sent. Options that are set on it change
// nothing, and an error other than ECONNRESET reads as ECONNRESET. Where the platform has no socket
// pairs, the error wraps [errors.ErrUnsupported].
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return rawConn{c}, nil }

// A rawConn implements [syscall.RawConn].
type rawConn struct{ c *Conn }

// Control calls f with the descriptor.
func (r rawConn) Control(f func(fd uintptr)) error {
	r.c.n.mu.Lock()
	defer r.c.n.mu.Unlock()
	err := net.ErrClosed
	if !r.c.closed {
		_, err = r.c.lend(func(fd uintptr) bool { f(fd); return true })
	}
	if err != nil {
		return &net.OpError{Op: "raw-control", Net: r.c.net, Addr: r.c.la, Err: err}
	}
	return nil
}

// Read calls f until it returns true, first at once, then whenever there is more to read.
func (r rawConn) Read(f func(fd uintptr) bool) error {
	c := r.c
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.beginRead() {
		return c.rawError("raw-read", net.ErrClosed)
	}
	defer c.endRead()
	for {
		switch {
		case c.closed:
			return c.rawError("raw-read", net.ErrClosed)
		case c.readDeadline.expired:
			return c.rawError("raw-read", errDeadline)
		}
		if done, err := c.lend(f); done || err != nil {
			return c.rawError("raw-read", err)
		}
		for !c.closed && !c.readDeadline.expired {
			if more, err := c.show(); more || err != nil {
				break
			}
			c.readable.Wait()
		}
	}
}

// Write calls f whenever the connection takes bytes or cannot be written to any more, until f
// returns true.
func (r rawConn) Write(f func(fd uintptr) bool) error {
	c := r.c
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.beginWrite() {
		return c.rawError("raw-write", net.ErrClosed)
	}
	defer c.endWrite()
	for {
		switch {
		case c.closed:
			return c.rawError("raw-write", net.ErrClosed)
		case c.writeDeadline.expired:
			return c.rawError("raw-write", errDeadline)
		case c.room() <= 0 && !c.dead && !c.wshut:
			c.awaitRoom()
			continue
		}
		if done, err := c.lend(f); done || err != nil {
			return c.rawError("raw-write", err)
		}
	}
}

func (c *Conn) rawError(op string, err error) error {
	if err == nil {
		return nil
	}
	return c.opError(op, err)
}

// lend calls f with the descriptor, and does with the connection what f did with that. Calls that
// begin meanwhile share the descriptor as it is.
func (c *Conn) lend(f func(fd uintptr) bool) (done bool, err error) {
	if _, err := c.show(); err != nil {
		return false, err
	}
	l := c.lent
	l.users++
	c.n.mu.Unlock()
	defer func() {
		c.n.mu.Lock()
		if l.users--; l.users == 0 {
			c.settle(l)
		}
	}()
	return f(uintptr(l.near)), nil
}

// show makes the descriptor show what can be read, and reports whether that is more than before.
func (c *Conn) show() (more bool, err error) {
	if c.lent != nil && c.lent.users > 0 {
		return false, nil
	}
	reset := c.soErr != 0 && !c.fin
	if l := c.lent; l != nil && (reset || l.ended && !c.fin && !c.dead) { // a pair that ended cannot go on
		l.close()
		c.lent = nil
	}
	read := c.arrivedBytes - int64(c.rcv.len())
	if c.lent == nil {
		near, far, err := sockpair.New()
		if err != nil {
			return false, err
		}
		c.lent = &lent{near: near, far: far, start: read, end: read}
	}
	l := c.lent
	l.forget(read)
	for b := c.rcv.from(int(l.end - read)); len(b) > 0; b = c.rcv.from(int(l.end - read)) {
		n, err := sockpair.Write(l.far, b)
		if err != nil { // it is full
			return more, nil
		}
		l.end, more = l.end+int64(n), true
	}
	if !l.ended && (c.fin || c.rshut || c.dead) {
		l.finish(reset)
		more = true
	}
	if c.wshut || c.dead {
		sockpair.CloseWrite(l.near)
	}
	return more, nil
}

// settle takes from the connection what was read from the descriptor, and sends what was written to
// it.
func (c *Conn) settle(l *lent) {
	if c.closed {
		l.close()
		return
	}
	b := make([]byte, l.end-l.start+1)
	left, err := sockpair.Peek(l.near, b)
	if l.reset && left <= 0 && err != syscall.ECONNRESET { // it has been told: it comes behind the bytes
		c.soErr = 0
	}
	l.start = l.end - int64(max(left, 0))
	if k := l.start - (c.arrivedBytes - int64(c.rcv.len())); k > 0 {
		c.rcv.read(&c.n.spares, b[:k])
		c.openWindow()
	}
	var written [4 << 10]byte
	for {
		n, _ := sockpair.Read(l.far, written[:])
		if n <= 0 || c.dead || c.wshut {
			break
		}
		c.snd.put(&c.n.spares, written[:n])
		c.wrote = true
		c.flush()
	}
	c.tellWatchers()
	c.wake()
}
