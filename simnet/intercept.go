package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/internal/rawsock/sockpair"
)

// Intercept makes n the network of code that takes no dial function: until the test ends, all
// sockets that package net makes in this bubble are n's. Called outside of any bubble, it does so
// for all goroutines of the process that are in none. Then:
//
//   - net.Dial, net.Listen, net.ListenPacket and all that rests on them, such as
//     [http.DefaultTransport], http.ListenAndServe, net/smtp and database drivers, use n. They get a
//     *net.TCPConn, a *net.TCPListener and a *net.UDPConn.
//   - Names are those of n: localhost, and its hosts. Others do not exist.
//   - A fixture that is started without sockettest.On is on n.
//
// It needs an overlay of package net:
//
//	go test -overlay=$(go run example.com/go-sockettest/cmd/sockettest overlay) ./...
//
// Without that it is fatal: ask [CanIntercept] first. Each bubble can have a network of its own,
// and tests with bubbles can run in parallel. Goroutines outside have the kernel's sockets
// meanwhile. docs/unmodified.md says what else Intercept does not change: unix sockets, sockets
// that are made by system calls, and more.
func (n *Network) Intercept(t TB) {
	if argument.IsNil(t) {
		n.fatal(errors.New("bad argument: simnet.Intercept: t is nil; want the test"))
		return
	}
	t.Helper()
	undo, err := intercept.Install(intercept.StackOf(n), n)
	if err != nil {
		t.Fatalf("simnet.Intercept: %v", err)
		return
	}
	t.Cleanup(undo)
}

// CanIntercept returns nil if this program was built with the overlay that [Network.Intercept]
// needs, and otherwise an error that says how to do that. A test may skip itself with it.
func CanIntercept() error { return intercept.Ready() }

// A machine makes the sockets of package net.
type machine struct{ h *Host }

func init() {
	intercept.StackOf = func(network any) intercept.Stack { return machine{network.(*Network).here} }
}

// LookupNetIP returns the addresses of localhost and of hosts.
func (m machine) LookupNetIP(_ context.Context, name string) ([]netip.Addr, bool, error) {
	addrs, err := m.h.lookup("", name)
	return addrs, true, err
}

// Socket makes a socket whose options are set by control.
func (m machine) Socket(ctx context.Context, nw string, local, remote netip.AddrPort, control func(syscall.RawConn) error) (any, error) {
	o := &rawOptions{nw: nw}
	if control != nil {
		if err := control(o); err != nil {
			o.close()
			return nil, err
		}
	}
	s, err := m.socket(ctx, o, local, remote)
	if err != nil {
		o.close()
		return nil, err
	}
	return s, nil
}

func (m machine) socket(ctx context.Context, o *rawOptions, local, remote netip.AddrPort) (any, error) {
	protocol, _ := protocolOf(o.nw)
	switch listens := !remote.IsValid(); {
	case protocol == "udp":
		c, err := m.h.packetSocket(o.nw, local, remote)
		if err != nil {
			return nil, err
		}
		return &netPacketConn{c, o}, nil
	case listens:
		l, err := m.h.listenAt(o.nw, local)
		if err != nil {
			return nil, err
		}
		return &netListener{l, o}, nil
	}
	m.h.n.mu.Lock()
	who := m.h.next(sender{dialled: remote.String()})
	m.h.n.mu.Unlock()
	c, err := m.h.connect(ctx, o.nw, remote, dialing{local: local, who: who})
	if err != nil {
		return nil, err
	}
	o.apply(c)
	return &netConn{c, o}, nil
}

// A netConn is behind a *net.TCPConn.
type netConn struct {
	*Conn
	options *rawOptions
}

// Close closes both.
func (c *netConn) Close() error {
	c.options.close()
	return c.Conn.Close()
}

// SyscallConn returns options in Control, and a descriptor that lends what has arrived in Read and
// Write.
func (c *netConn) SyscallConn() (syscall.RawConn, error) { return netRawConn{rawConn{c.Conn}, c}, nil }

type netRawConn struct {
	rawConn
	of *netConn
}

// Control calls f with a socket that has the options.
func (r netRawConn) Control(f func(fd uintptr)) error {
	if err := r.of.options.Control(f); err != nil {
		return &net.OpError{Op: "raw-control", Net: r.c.net, Addr: r.c.la, Err: err}
	}
	r.of.options.apply(r.c)
	return nil
}

// A netListener is behind a *net.TCPListener.
type netListener struct {
	*Listener
	options *rawOptions
}

// AcceptSocket is Accept for package net, which turns keep-alive on itself.
func (l *netListener) AcceptSocket() (any, error) {
	c, err := l.p.accept()
	if err != nil {
		return nil, err
	}
	return &netConn{c, &rawOptions{nw: l.options.nw}}, nil
}

// Close closes both.
func (l *netListener) Close() error {
	l.options.close()
	return l.Listener.Close()
}

func (l *netListener) LocalAddr() net.Addr                   { return l.Addr() }
func (l *netListener) RemoteAddr() net.Addr                  { return nil }
func (l *netListener) SetReadDeadline(t time.Time) error     { return l.SetDeadline(t) }
func (l *netListener) SetWriteDeadline(time.Time) error      { return nil }
func (l *netListener) SyscallConn() (syscall.RawConn, error) { return l.options, nil }

// A netPacketConn is behind a *net.UDPConn.
type netPacketConn struct {
	*PacketConn
	options *rawOptions
}

// Close closes both.
func (c *netPacketConn) Close() error {
	c.options.close()
	return c.PacketConn.Close()
}

func (c *netPacketConn) SyscallConn() (syscall.RawConn, error) { return c.options, nil }

// rawOptions lends a real socket, never bound nor connected, whose options can be set and read as
// those of any. It is made when it is first asked for. Only TCP_USER_TIMEOUT has an effect.
type rawOptions struct {
	nw     string
	mu     sync.Mutex
	fd     int
	open   bool
	closed bool
}

var _ syscall.RawConn = (*rawOptions)(nil)

// Control calls f with the socket.
func (o *rawOptions) Control(f func(fd uintptr)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return net.ErrClosed
	}
	if !o.open {
		fd, err := sockpair.Unconnected(o.nw)
		if err != nil {
			return err
		}
		o.fd, o.open = fd, true
	}
	f(uintptr(o.fd))
	return nil
}

var errNoRaw = fmt.Errorf("simnet: a socket of package net's other than a TCP connection has no descriptor to read or write;"+
	" give the library a net.PacketConn that has no SyscallConn: %w", errors.ErrUnsupported)

// Read fails: there is no way to feed such a descriptor.
func (o *rawOptions) Read(func(fd uintptr) bool) error { return errNoRaw }

// Write fails as Read does.
func (o *rawOptions) Write(func(fd uintptr) bool) error { return errNoRaw }

// apply does to c what the options say.
func (o *rawOptions) apply(c *Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return
	}
	if d := sockpair.UserTimeout(o.fd); d > 0 {
		_ = c.SetUserTimeout(d)
	}
}

func (o *rawOptions) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open && !o.closed {
		sockpair.Close(o.fd)
	}
	o.closed = true
}
