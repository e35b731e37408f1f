package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"example.com/go-sockettest/network"
)

// A conn is one end of a TCP connection, with all that the kernel lets us do to it.
type conn struct {
	*net.TCPConn

	mu  sync.Mutex // held by what changes cut, and by what ends the connection
	cut bool       // partitioned
}

var _ network.Conn = (*conn)(nil)

// newConn makes the connection plain: keep-alive of ours would only blur what the other side sees, and would kill a
// partitioned connection from our end.
func newConn(c *net.TCPConn) (*conn, error) {
	if err := c.SetKeepAlive(false); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &conn{TCPConn: c}, nil
}

// plain is newConn for those who hand out interfaces: a nil *conn is no nil [network.Conn].
func plain(c net.Conn) (network.Conn, error) {
	if ready, ok := c.(network.Conn); ok {
		return ready, nil
	}
	tcp, err := newConn(c.(*net.TCPConn))
	if err != nil {
		return nil, err
	}
	return tcp, nil
}

func (c *conn) v6() bool { return c.LocalAddr().(*net.TCPAddr).IP.To4() == nil }

// Partition drops all that arrives; see [network.Conn].
func (c *conn) Partition() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.open()
	if err == nil {
		err = partition(c.TCPConn, c.v6())
	}
	if err != nil {
		return c.explain("partition", err)
	}
	c.cut = true
	return nil
}

// Heal ends a partition; see [network.Conn].
func (c *conn) Heal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.heal(); err != nil {
		return c.explain("heal", err)
	}
	return nil
}

// heal asks only whether the connection is open, if there is no partition to end. The caller holds mu.
func (c *conn) heal() error {
	if !c.cut {
		return c.open()
	}
	if err := healed(c.TCPConn, c.v6()); err != nil {
		return err
	}
	c.cut = false
	return nil
}

// open is an error after Close.
func (c *conn) open() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(uintptr) {})
}

// Close heals first: our FIN leaves a partition, and its acknowledgement would not come back in. The kernel would keep
// the socket for half a minute, and the other side's beside it.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = c.heal() // a connection that is closed already says so below
	}
	return c.TCPConn.Close()
}

// Reset closes with RST.
func (c *conn) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.SetLinger(0), c.TCPConn.Close())
}

func (c *conn) explain(what string, err error) error {
	return fmt.Errorf("%s %s -> %s: %w", what, c.LocalAddr(), c.RemoteAddr(), err)
}

// Peer tells what the kernel knows of the other end.
func (c *conn) Peer() (network.PeerState, error) { return peer(c.TCPConn) }

// PeerOf tells what is known of the other end of any connection, whoever made it; PeerUnknown where nothing is.
func PeerOf(nc net.Conn) network.PeerState {
	state := network.PeerUnknown
	switch c := nc.(type) {
	case interface {
		Peer() (network.PeerState, error)
	}:
		state, _ = c.Peer()
	case *net.TCPConn:
		state, _ = peer(c)
	}
	return state
}

// AwaitPeerEnd waits until the other end has sent FIN or RST.
func (c *conn) AwaitPeerEnd() (network.PeerState, error) { return awaitPeerEnd(c.TCPConn) }

// Info tells what the kernel knows of both ends.
func (c *conn) Info() (network.ConnInfo, error) { return connInfo(c.TCPConn) }

// SleepUntil waits; see [network.Conn].
func (c *conn) SleepUntil(ctx context.Context, t time.Time) error { return sleepUntil(ctx, t) }
