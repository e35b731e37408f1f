package simnet

import (
	"net"
	"time"
)

// A Listener is what [Network.Listen] returns: a [net.Listener] with what [*net.TCPListener] has beyond that.
type Listener struct{ p *port }

// Accept waits for the next connection, which is a [*Conn] with keep-alive every 15 s. It fails with [net.ErrClosed] or
// [os.ErrDeadlineExceeded] only.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.p.accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive.set(c, defaultKeepAlive)
	return c, nil
}

// Close stops listening, and resets what nobody has accepted.
func (l *Listener) Close() error {
	if !l.p.close() {
		return l.p.opError("close", net.ErrClosed)
	}
	return nil
}

// Addr returns the bound address.
func (l *Listener) Addr() net.Addr { return l.p.tcp }

// SetDeadline ends calls of Accept at t, those that wait included; the zero time is no deadline.
func (l *Listener) SetDeadline(t time.Time) error {
	l.p.n.mu.Lock()
	defer l.p.n.mu.Unlock()
	if l.p.closed {
		return net.ErrClosed
	}
	l.p.deadline.set(l.p.n, t, l.p.arrived.Broadcast)
	return nil
}
