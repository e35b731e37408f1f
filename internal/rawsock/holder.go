package rawsock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"example.com/go-sockettest/network"
)

// A way is how a port can be held.
type way int

const (
	impossible way = iota
	bound          // a socket that is bound and never listens; what it answers is up to the platform
	connected      // an end of a connection: nobody listens, no TCB takes the SYN, so every stack answers RST
	listening
	silent // a listener with an option that makes it leave SYNs unanswered
)

// A platform is what the portable port needs to know about an operating system: which way of
// holding a port gives which answer, and the three calls that package net lacks. It is a table,
// so that tests can have their own.
type platform struct {
	goos   string
	refuse way
	drop4  way
	drop6  way
	whyNot string // the reason for what is impossible

	bind    func(a *net.TCPAddr, reuse bool) (io.Closer, int, error) // the way that is called bound; nil: impossible
	reuse   func(fd uintptr, on bool) error                          // sets SO_REUSEADDR; nil where it means theft
	silence func(fd uintptr) error                                   // the option of the way that is called silent

	silenceName string // of that option
}

// way returns how to give an answer. A handshake cannot be delayed: the delay counts from the
// first SYN, and only Linux shows that one was dropped.
func (sys platform) way(s network.State, v6 bool) (way, error) {
	w := impossible
	if err := s.Check("tcp"); err != nil {
		return w, err
	}
	answer := s.Answer
	if s.Cut {
		answer = network.Drop
	}
	switch answer {
	case network.Own:
		if sys.bind != nil {
			w = bound
		}
	case network.Refuse:
		w = sys.refuse
	case network.Listen:
		if err := sys.cannot(s); err != nil {
			return impossible, err
		}
		w = listening
	case network.Drop:
		if w = sys.drop4; v6 {
			w = sys.drop6
		}
	}
	if answer == network.Lend {
		return w, fmt.Errorf("%s: cannot lend a port: only Linux lets a socket listen where another one is bound: %w", sys.goos, errors.ErrUnsupported)
	}
	if w == impossible {
		return w, fmt.Errorf("%s: cannot answer %q over %s: %s: %w", sys.goos, answer, ipName(v6), sys.whyNot, errors.ErrUnsupported)
	}
	return w, nil
}

// cannot returns an error if part of a Listen is not available here.
func (sys platform) cannot(s network.State) error {
	var what string
	switch {
	case s.Handshake > 0:
		what = fmt.Sprintf("delay a handshake by %v: a SYN that was dropped is not seen here", s.Handshake)
	case s.Backlog > 0:
		what = fmt.Sprintf("admit %d to the accept queue: package net asks for all there is, and nobody has tried another way here", s.Backlog)
	case s.SmallWindow:
		what = "make a small receive window: nobody has tried it here"
	default:
		return nil
	}
	return fmt.Errorf("%s: cannot %s: %w", sys.goos, what, errors.ErrUnsupported)
}

func (w way) mechanism(sys platform, s network.State) string {
	switch w {
	case bound:
		return "bound, not listening"
	case connected:
		return "held by an end of a connection"
	case silent:
		return sys.silenceName
	case listening:
		return "listening" + held(s)
	}
	return "unknown"
}

func ipName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// An opening is what holds the port in one state. Closing it frees the port.
type opening struct {
	io.Closer
	way  way
	port int
	ln   net.Listener // if the way is listening or silent
}

// open takes a port; reuse lets it do so beside the connections of an earlier opening.
func (sys platform) open(ctx context.Context, w way, a *net.TCPAddr, reuse bool) (*opening, error) {
	switch w {
	case bound:
		c, port, err := sys.bind(a, reuse)
		if err != nil {
			return nil, err
		}
		return &opening{Closer: c, way: w, port: port}, nil
	case connected:
		h, err := sys.connect(ctx, a, reuse)
		if err != nil {
			return nil, err
		}
		return &opening{Closer: h, way: w, port: portNumber(h.near.LocalAddr())}, nil
	}
	var option func(uintptr) error
	if w == silent {
		option = sys.silence
	}
	ln, err := listenAt(ctx, a, option)
	if err != nil {
		return nil, err
	}
	return &opening{Closer: ln, way: w, port: portNumber(ln.Addr()), ln: ln}, nil
}

// A holder is a connection from the port to a listener that is gone.
type holder struct{ near, far *net.TCPConn }

// holderPatience bounds the two calls that make a holder: on loopback they take microseconds
// (kernel.md, section 1).
const holderPatience = 5 * time.Second

// connect makes a holder, in pure package net. With reuse, it clears SO_REUSEADDR as soon as the
// option has served: on Linux, a socket that keeps it lets any net.Listen have the port.
func (sys platform) connect(ctx context.Context, a *net.TCPAddr, reuse bool) (*holder, error) {
	ctx, cancel := context.WithTimeout(ctx, holderPatience)
	defer cancel()
	ln, err := listenElsewhere(ctx, a)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	reuse = reuse && sys.reuse != nil
	d := net.Dialer{LocalAddr: a, KeepAlive: -1}
	d.SetMultipathTCP(false) // an MPTCP socket may open subflows from the port
	if reuse {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return onFD(raw, func(fd uintptr) error { return sys.reuse(fd, true) })
		}
	}
	c, err := d.DialContext(ctx, tcpNetwork(a), ln.Addr().String())
	if err != nil {
		return nil, err
	}
	h := &holder{near: c.(*net.TCPConn)}
	h.far, err = acceptFrom(ln, c.LocalAddr())
	if err == nil && reuse {
		err = control(h.near, func(fd int) error { return sys.reuse(uintptr(fd), false) })
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Close frees the port at once: RST leaves no TIME_WAIT on it.
func (h *holder) Close() error {
	err := errors.Join(h.near.SetLinger(0), h.near.Close())
	if h.far != nil {
		err = errors.Join(err, h.far.Close())
	}
	return err
}

// listenElsewhere listens on any port but a's, which is free just now and so might be the one
// that is chosen.
func listenElsewhere(ctx context.Context, a *net.TCPAddr) (*net.TCPListener, error) {
	anyPort := &net.TCPAddr{IP: a.IP}
	ln, err := listenAt(ctx, anyPort, nil)
	if err != nil || portNumber(ln.Addr()) != a.Port {
		return ln, err
	}
	defer ln.Close() // only then, so that the second try gets another
	return listenAt(ctx, anyPort, nil)
}

// acceptFrom takes the connection that came from addr, and resets any other.
func acceptFrom(ln *net.TCPListener, addr net.Addr) (*net.TCPConn, error) {
	if err := ln.SetDeadline(time.Now().Add(holderPatience)); err != nil {
		return nil, err
	}
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if c.RemoteAddr().String() == addr.String() {
			return c, nil
		}
		abort(c)
	}
}

// listenAt listens with plain TCP (an MPTCP listener refuses the options) and without
// keep-alive, which would only blur what a client sees. It sets the option before bind and
// listen, so that no SYN slips in.
func listenAt(ctx context.Context, a *net.TCPAddr, option func(fd uintptr) error) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	if option != nil {
		lc.Control = func(_, _ string, raw syscall.RawConn) error { return onFD(raw, option) }
	}
	ln, err := lc.Listen(ctx, tcpNetwork(a), a.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// onFD runs f on the descriptor and returns the first error of the two.
func onFD(raw syscall.RawConn, f func(fd uintptr) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(fd) }); cerr != nil {
		return cerr
	}
	return err
}

// abort closes with RST, as a kernel does with what is in the accept queue of a listener that
// closes.
func abort(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func tcpNetwork(a *net.TCPAddr) string {
	if a.IP.To4() == nil {
		return "tcp6"
	}
	return "tcp4"
}

func portNumber(a net.Addr) int { return a.(*net.TCPAddr).Port }
