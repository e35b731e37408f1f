package grpc_test

import (
	"net"
	"sync"

	"example.com/go-sockettest/fixtures"
)

// A one is a listener of a single connection: so that a server which accepts for itself runs on one that a fixture has
// accepted. Accept waits for more until the connection is closed, and so does Serve.
type one struct {
	conn   chan *fixtures.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return closing{c, l}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *one) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *one) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// closing closes the listener with its connection.
type closing struct {
	*fixtures.Conn
	l *one
}

func (c closing) Close() error {
	defer c.l.Close()
	return c.Conn.Close()
}
