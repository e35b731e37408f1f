package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"example.com/go-sockettest/network"
)

// A unixConn is one end of a unix stream connection. It has no segments: it cannot be
// partitioned, and what the other side sees of a Close depends on what is unread.
type unixConn struct {
	*net.UnixConn

	read, arrived atomic.Int64
}

var _ network.Conn = (*unixConn)(nil)

// Reset is not available: the other side reads ECONNRESET only if bytes of its own were unread when
// we closed.
func (c *unixConn) Reset() error { return c.cannot("reset") }

// Partition is not available.
func (c *unixConn) Partition() error { return c.cannot("partition") }

// Heal has nothing to do.
func (c *unixConn) Heal() error { return c.open() }

func (c *unixConn) cannot(what string) error {
	if err := c.open(); err != nil {
		return err
	}
	return fmt.Errorf("cannot %s a unix connection, which has no segments: %w", what, errors.ErrUnsupported)
}

// open returns an error after Close.
func (c *unixConn) open() error { return isOpen(c.UnixConn) }

// Peer returns what the kernel knows of the other end.
func (c *unixConn) Peer() (network.PeerState, error) { return unixPeer(c.UnixConn) }

// AwaitPeerEnd waits until the other end has closed or half-closed.
func (c *unixConn) AwaitPeerEnd() (network.PeerState, error) { return awaitUnixPeerEnd(c.UnixConn) }

// WatchPeer is not available: how much a unix socket takes is not shown.
func (c *unixConn) WatchPeer(_ context.Context, _, _ func()) error {
	if err := c.open(); err != nil {
		return err
	}
	return fmt.Errorf("what a unix socket has buffered is not shown: %w", errors.ErrUnsupported)
}

// Read counts what it reads, as no unix socket does.
func (c *unixConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// Arrived counts what was read, and what waits to be. What is being read just now is neither.
func (c *unixConn) Arrived() (int64, error) {
	n := c.read.Load()
	unread, err := unixUnread(c.UnixConn)
	if err != nil {
		return 0, err
	}
	for n += int64(unread); ; {
		if most := c.arrived.Load(); n <= most || c.arrived.CompareAndSwap(most, n) {
			return max(n, most), nil
		}
	}
}

// AwaitAcked waits until the other end has read all that was written, or is closed.
func (c *unixConn) AwaitAcked(ctx context.Context) error {
	return awaitAcked(ctx, func() (int, error) { return unixUnacked(c.UnixConn) })
}

// AwaitStuck waits until a write waits for the other end to read.
func (c *unixConn) AwaitStuck(ctx context.Context) error {
	return awaitStuck(ctx, func() (bool, error) { return stuck(c.UnixConn) })
}

// Info returns the little that the kernel knows of our end.
func (c *unixConn) Info() (network.ConnInfo, error) { return unixInfo(c.UnixConn) }

// SleepUntil waits; see [network.Conn].
func (c *unixConn) SleepUntil(ctx context.Context, t time.Time) error { return sleepUntil(ctx, t) }
