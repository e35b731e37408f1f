package calltimeout

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"example.com/go-sockettest/internal/argument"
)

// A Conn is a connection whose every Read and Write has a limit. Its other methods are those of the
// connection below, to which [Conn.NetConn] leads. Deadlines that are set on it hold as well:
// whichever comes first ends the call. Reads that overlap share the limit of the latest, and so do
// Writes.
type Conn struct {
	net.Conn
	timeout     atomic.Int64 // time.Duration; 0 is none
	read, write limit
}

// NewConn bounds the calls on c by the default timeout that is in force now; [Conn.SetTimeout]
// changes it. Without a timeout, a deadline that c has already stays in force. With one, each call
// replaces it, since a connection does not say what deadline it has: set it on the Conn. A nil c is
// an error.
func NewConn(c net.Conn) (*Conn, error) {
	if argument.IsNil(c) {
		return nil, errors.New("calltimeout.NewConn: c is nil; want a connection")
	}
	return newConn(c, DefaultTimeout()), nil
}

func newConn(c net.Conn, d time.Duration) *Conn {
	conn := &Conn{Conn: c}
	conn.timeout.Store(int64(d))
	conn.read.set, conn.write.set = c.SetReadDeadline, c.SetWriteDeadline
	return conn
}

// Timeout returns the limit of each call; 0 is none.
func (c *Conn) Timeout() time.Duration { return time.Duration(c.timeout.Load()) }

// SetTimeout bounds each call from the next on. Zero and less are errors; for no limit, give one
// that outlasts the test.
func (c *Conn) SetTimeout(d time.Duration) error {
	if err := positive("timeout", d); err != nil {
		return fmt.Errorf("calltimeout.Conn.SetTimeout: %w", err)
	}
	c.timeout.Store(int64(d))
	return nil
}

// NetConn returns the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read is bounded by the timeout: then its error is package net's own, with Timeout() true.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.read.begin(c.Timeout()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write is bounded by the timeout as a whole, however many bytes there are.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.write.begin(c.Timeout()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SetDeadline implements [net.Conn]: a moment, beside the limit of each call.
func (c *Conn) SetDeadline(t time.Time) error {
	read, write := c.read.setDeadline(t), c.write.setDeadline(t)
	return cmp.Or(read, write) // the reason is the same
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.read.setDeadline(t) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.write.setDeadline(t) }

// CloseWrite sends FIN and leaves the other direction open, if the connection below can.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("calltimeout.Conn.CloseWrite: %T has none: %w", c.Conn, errors.ErrUnsupported)
	}
	return half.CloseWrite()
}
