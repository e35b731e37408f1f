package calltimeout

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"example.com/go-sockettest/internal/argument"
)

// A Listener is a listener whose every Accept has a limit.
type Listener struct {
	below interface {
		net.Listener
		SetDeadline(time.Time) error
	}
	timeout atomic.Int64
	accept  limit
}

// NewListener bounds each Accept on l by the default timeout that is in force now;
// [Listener.SetTimeout] changes it. It needs a listener with deadlines, such as *net.TCPListener
// and *net.UnixListener.
func NewListener(l net.Listener) (*Listener, error) {
	ln := &Listener{}
	var ok bool
	if ln.below, ok = l.(interface {
		net.Listener
		SetDeadline(time.Time) error
	}); !ok || argument.IsNil(l) {
		return nil, fmt.Errorf("calltimeout.NewListener: l is %T; want one with SetDeadline, such as *net.TCPListener", l)
	}
	ln.accept.set = ln.below.SetDeadline
	ln.timeout.Store(int64(DefaultTimeout()))
	return ln, nil
}

// Timeout returns the limit of each Accept; 0 is none.
func (l *Listener) Timeout() time.Duration { return time.Duration(l.timeout.Load()) }

// SetTimeout bounds each Accept from the next on. Zero and less are errors.
func (l *Listener) SetTimeout(d time.Duration) error {
	if err := positive("timeout", d); err != nil {
		return fmt.Errorf("calltimeout.Listener.SetTimeout: %w", err)
	}
	l.timeout.Store(int64(d))
	return nil
}

// Accept waits for a connection, up to the timeout: then its error is package net's own, with
// Timeout() true. The connection is a new socket: a [*Conn] with the default timeout that is in
// force now.
func (l *Listener) Accept() (net.Conn, error) {
	if err := l.accept.begin(l.Timeout()); err != nil {
		return nil, err
	}
	c, err := l.below.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, DefaultTimeout()), nil
}

// SetDeadline ends every Accept at that moment, beside the limit of each.
func (l *Listener) SetDeadline(t time.Time) error { return l.accept.setDeadline(t) }

// Close closes the listener below.
func (l *Listener) Close() error { return l.below.Close() }

// Addr returns the address of the listener below.
func (l *Listener) Addr() net.Addr { return l.below.Addr() }
