package simnet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

var errDeadline = os.ErrDeadlineExceeded

// A Conn is one end of a connection: a [net.Conn] with what [*net.TCPConn] has beyond that, and with the faults of
// [network.Conn]. Its methods may be called from any goroutine.
type Conn struct {
	mu     *sync.Mutex // the network's; it guards all that follows
	n      *Network
	peer   *Conn
	host   *Host
	out    *way  // to the other end's
	port   *port // that it has come to; nil of a client's, and once it is closed
	id     uint64
	net    string
	la, ra *net.TCPAddr
	local  netip.AddrPort // to give back when it is over; zero at a server's end

	rcv          buffer // what has arrived
	arrivedBytes int64  // in all
	rcvMax       int
	snd          buffer // what has not
	sndMax       int

	fin              bool          // the other end's FIN has arrived
	rst              bool          // its RST has, or, as the kernel has it, one of our own
	finSent          finState      // ours
	rshut            bool          // CloseRead
	wshut            bool          // CloseWrite, or Close
	dead             bool          // CLOSED, in RFC 9293's words: there is no connection any more
	aborted          bool          // it ended without both FINs: whatever still comes is answered with RST
	closed           bool          // by us
	left             bool          // it is being closed: a partition of its port is none of its own any more
	abortive         bool          // SO_LINGER with 0
	reading, writing bool          // a call is in progress
	waits            bool          // the call of Write, for room
	wrote            bool          // something, since the other end's WatchPeer has looked
	watchers         int8          // calls of WatchPeer
	taking           bool          // the call is of Read: it returns as soon as something arrives
	lends            bool          // what is sent now stays as it is until the call of Write returns
	soErr            syscall.Errno // told once

	readable, writable sync.Cond
	readDeadline       deadline
	writeDeadline      deadline
	resend             resend
	flight             *flight // nil until something is
	alive              keepAlive
	orphan             *event // the end of one that is closed, and whose other end never is; nil before
}

var _ network.Conn = (*Conn)(nil)

// Linux's buffers, as far as they grow on loopback: together they are what a write takes before it blocks, 3.9 MB.
const (
	defaultSend    = 2565 << 10
	defaultReceive = 1300 << 10
	smallSend      = 28 << 10 // of one whose other end has a small window: Linux lets it grow with what is acknowledged only
	smallReceive   = 2304     // the smallest SO_RCVBUF
)

// pair makes the two ends of a connection. The caller holds mu.
func (d *dial) pair(serverNet string) (c, s *Conn) {
	ours, theirs := net.TCPAddrFromAddrPort(d.la), net.TCPAddrFromAddrPort(d.ra)
	c = d.from.newConn(d.net, ours, theirs)
	s = d.to.newConn(serverNet, theirs, ours)
	c.local = d.la
	c.peer, s.peer = s, c
	c.out, s.out = d.out, d.back
	return c, s
}

func (h *Host) newConn(nw string, local, remote *net.TCPAddr) *Conn {
	n := h.n
	n.ids++
	c := &Conn{mu: &n.mu, n: n, host: h, id: n.ids, net: nw, la: local, ra: remote, rcvMax: defaultReceive, sndMax: defaultSend}
	c.readable.L, c.writable.L = &n.mu, &n.mu
	n.conns[c] = struct{}{}
	return c
}

// shrink makes c's window small, and with it what the other end keeps.
func shrink(c, other *Conn) { c.rcvMax, other.sndMax = smallReceive, smallSend }

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.net, Source: c.la, Addr: c.ra, Err: err}
}

// takeError returns the error that the connection has to tell, and forgets it.
func (c *Conn) takeError(op string) error {
	e := c.soErr
	c.soErr = 0
	return c.opError(op, sys(op, e))
}

// Read reads what has arrived, and waits for something if there is nothing.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.beginRead() {
		return 0, c.opError("read", net.ErrClosed)
	}
	defer c.endRead()
	if len(b) == 0 {
		return 0, nil
	}
	c.taking = true
	for {
		n, err := c.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		c.readable.Wait()
	}
}

// take is one attempt to read. What has arrived comes before everything but a deadline, FIN before an error.
func (c *Conn) take(b []byte) (int, error) {
	switch {
	case c.closed:
		return 0, c.opError("read", net.ErrClosed)
	case c.readDeadline.expired:
		return 0, c.opError("read", errDeadline)
	case c.rcv.len() > 0:
		n := c.rcv.read(&c.n.spares, b)
		c.openWindow()
		return n, nil
	case c.fin:
		return 0, io.EOF
	case c.soErr != 0:
		return 0, c.takeError("read")
	case c.rshut || c.dead:
		return 0, io.EOF
	}
	return 0, nil
}

// beginRead waits for its turn: reads do not overlap. It fails once the connection is closed.
func (c *Conn) beginRead() bool {
	for c.reading && !c.closed {
		c.readable.Wait()
	}
	if c.closed {
		return false
	}
	c.reading = true
	return true
}

func (c *Conn) endRead() {
	c.reading, c.taking = false, false
	c.readable.Broadcast()
	c.peer.writable.Broadcast() // see endWrite
}

// Write returns when all of b is in the send buffer or has arrived. Writes do not overlap: each is in one piece.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writing && !c.closed {
		c.writable.Wait()
	}
	if c.closed {
		return 0, c.opError("write", net.ErrClosed)
	}
	c.writing = true
	c.acts()
	defer c.endWrite()
	for n := 0; ; {
		if err := c.mayWrite(); err != nil {
			return n, err
		}
		k := c.put(b[n:])
		if n += k; n == len(b) {
			return n, nil
		}
		if k == 0 {
			c.awaitRoom()
		}
	}
}

// awaitRoom lets a call of Write wait.
func (c *Conn) awaitRoom() {
	c.waits = true
	c.tellWatchers()
	c.writable.Wait()
	c.waits = false
}

// tellWatchers lets the other end's WatchPeer look again.
func (c *Conn) tellWatchers() {
	if c.peer.watchers > 0 {
		c.peer.readable.Broadcast()
	}
}

// lendable is the size from which on it costs less to let the other end read than to copy.
const lendable = 8 << 10

// endWrite copies what the other end has not read by now. Before that, whoever is in Read takes what he wants, which does not
// block him, and who is about to read may do so: then most of what is written is copied once, from the one caller to the other.
func (c *Conn) endWrite() {
	p := c.peer
	for len(p.rcv.lent) > 0 && p.taking {
		c.writable.Wait()
	}
	if len(p.rcv.lent) > 0 {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
		p.rcv.keep(&c.n.spares)
	}
	c.writing = false
	c.writable.Broadcast()
}

func (c *Conn) mayWrite() error {
	switch {
	case c.closed:
		return c.opError("write", net.ErrClosed)
	case c.writeDeadline.expired:
		return c.opError("write", errDeadline)
	case c.soErr != 0:
		return c.takeError("write")
	case c.dead || c.wshut:
		return c.opError("write", sys("write", syscall.EPIPE))
	}
	return nil
}

// put sends what it can and keeps the rest, as far as there is room. It returns how many bytes it took.
func (c *Conn) put(b []byte) int {
	n := 0
	if c.snd.len() == 0 {
		c.lends = true
		n = c.deliver(b)
		c.lends = false
	}
	if room := c.sndMax - c.snd.len() - c.inAir() - c.resend.unacked; n < len(b) && room > 0 && !c.dead {
		k := min(room, len(b)-n)
		c.snd.put(&c.n.spares, b[n:n+k])
		n += k
	}
	if n > 0 {
		c.wrote = true
		c.tellWatchers()
	}
	c.await()
	return n
}

// SetDeadline is that of [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline is that of [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline is that of [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "set", Net: c.net, Addr: c.la, Err: net.ErrClosed}
	}
	if read {
		c.readDeadline.set(c.n, t, c.readable.Broadcast)
	}
	if write {
		c.writeDeadline.set(c.n, t, c.writable.Broadcast)
	}
	return nil
}

// LocalAddr returns a [*net.TCPAddr].
func (c *Conn) LocalAddr() net.Addr { return c.la }

// RemoteAddr returns a [*net.TCPAddr].
func (c *Conn) RemoteAddr() net.Addr { return c.ra }

// SleepUntil waits; see [network.Conn].
func (c *Conn) SleepUntil(ctx context.Context, t time.Time) error { return patience.SleepUntil(ctx, t) }
