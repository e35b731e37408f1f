package rawsock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

// A conn is one end of a TCP connection, with all that the kernel lets us do to it.
type conn struct {
	*net.TCPConn

	of *conns // of the port that has accepted it; nil if none has

	mu       sync.Mutex // held by what changes cut, and by what ends the connection
	own, all bool       // its Partition and its port want it cut
	cut      bool       // it is
	late     bool       // it was once, so that what the other end sends again may still come

	reads sync.RWMutex // a Read is a reader of it
	read  atomic.Uint64
}

var _ network.Conn = (*conn)(nil)

// newConn turns keep-alive off: ours would blur what the other side sees, and would kill a
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

// Of returns nc as a [network.Conn] without keep-alive, nil if it is neither one nor a
// [*net.TCPConn].
func Of(nc net.Conn) network.Conn {
	if c, ok := nc.(interface{ SetKeepAlive(on bool) error }); ok {
		_ = c.SetKeepAlive(false) // or it is closed
	}
	switch c := nc.(type) {
	case network.Conn:
		return c
	case *net.TCPConn:
		return &conn{TCPConn: c}
	}
	return nil
}

func (c *conn) v6() bool { return c.LocalAddr().(*net.TCPAddr).IP.To4() == nil }

// Read counts what it reads: see ended.
func (c *conn) Read(b []byte) (int, error) {
	c.reads.RLock()
	defer c.reads.RUnlock()
	n, err := c.TCPConn.Read(b)
	c.read.Add(uint64(n))
	return n, err
}

// WriteTo hides that of [net.TCPConn], which would not count.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{c})
	if err != nil {
		err = &net.OpError{Op: "writeto", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	}
	return n, err
}

// Partition drops all that arrives; see [network.Conn].
func (c *conn) Partition() error { return c.change(&c.own, true) }

// Heal ends a partition; see [network.Conn].
func (c *conn) Heal() error { return c.change(&c.own, false) }

// open returns an error after Close.
func (c *conn) open() error { return isOpen(c.TCPConn) }

// isOpen returns an error if c is closed.
func isOpen(c syscall.Conn) error { return control(c, func(int) error { return nil }) }

// control runs f on the descriptor of c and returns the first error of the two.
func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return onFD(raw, func(fd uintptr) error { return f(int(fd)) })
}

// Close heals the connection first. Our FIN leaves a partition, but its acknowledgement would
// not come in, and the kernel would keep both sides' sockets for half a minute.
func (c *conn) Close() error {
	defer c.of.remove(c) // without the lock, which its owner takes inside its own
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = healed(c.TCPConn, c.v6()) // a connection that is closed already says so below
		c.own, c.all, c.cut = false, false, false
	}
	return c.TCPConn.Close()
}

// Reset closes with RST.
func (c *conn) Reset() error {
	defer c.of.remove(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.SetLinger(0), c.TCPConn.Close())
}

// Peer returns what the kernel knows of the other end.
func (c *conn) Peer() (network.PeerState, error) { return c.ended(peer(c.TCPConn)) }

// ended tells FIN from RST on a connection that is closed in both directions, which is all that
// the kernel's state says. It waits for the Reads in progress, which such a connection ends.
func (c *conn) ended(state network.PeerState, err error) (network.PeerState, error) {
	if err != nil || state != network.PeerRST {
		return state, err
	}
	c.reads.Lock()
	defer c.reads.Unlock()
	fin, err := finArrived(c.TCPConn, c.read.Load())
	if fin {
		state = network.PeerFIN
	}
	return state, err
}

// PeerOf returns what is known of the other end of any connection, and PeerUnknown if nothing
// is. For a [*net.TCPConn] that is closed in both directions it returns PeerRST, even if FIN
// came first.
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
func (c *conn) AwaitPeerEnd() (network.PeerState, error) { return c.ended(awaitPeerEnd(c.TCPConn)) }

// Arrived counts what the other end has written; see [network.Conn]. Of what has not come yet the
// other end's kernel knows, and is asked where there may be some.
func (c *conn) Arrived() (int64, error) {
	c.mu.Lock()
	late := c.late
	c.mu.Unlock()
	var written int64
	if late || mayComeLate(c.TCPConn) {
		written = writtenTo(c.TCPConn)
	}
	n, over, err := heard(c.TCPConn)
	switch {
	case err != nil:
		return 0, err
	case over: // whether FIN came is not in its state any more
		state, err := c.Peer()
		if err != nil {
			return 0, err // it was closed meanwhile
		}
		if state == network.PeerFIN {
			n--
		}
	}
	return max(n, written), nil
}

// AwaitAcked waits until all that was written has arrived; see [network.Conn].
func (c *conn) AwaitAcked(ctx context.Context) error {
	return awaitAcked(ctx, func() (int, error) { return unacked(c.TCPConn) })
}

// awaitAcked asks again and again, since no event tells of an acknowledgement.
func awaitAcked(ctx context.Context, unacked func() (int, error)) error {
	for begin := time.Now(); ; {
		n, err := unacked()
		if err == nil && n > 0 {
			err = patience.SleepUntil(ctx, nextLook(begin))
		}
		if err != nil || n == 0 {
			return err
		}
	}
}

// nextLook returns when to look again for something that has no event: after a sixteenth of the
// time that has passed, within bounds.
func nextLook(begin time.Time) time.Time {
	const least, most = time.Millisecond, 20 * time.Millisecond
	return time.Now().Add(min(max(time.Since(begin)/16, least), most))
}

// AwaitStuck waits until a write waits for the other end to read; see [network.Conn].
func (c *conn) AwaitStuck(ctx context.Context) error {
	return awaitStuck(ctx, func() (bool, error) { return stuck(c.TCPConn) })
}

// awaitStuck asks again and again, since no event tells of a window that is shut.
func awaitStuck(ctx context.Context, stuck func() (bool, error)) error {
	for begin := time.Now(); ; {
		if is, err := stuck(); is || err != nil {
			return err
		}
		if err := patience.SleepUntil(ctx, nextLook(begin)); err != nil {
			return err
		}
	}
}

// WatchPeer tells how the other end gets on with writing.
func (c *conn) WatchPeer(ctx context.Context, wrote, blocked func()) error {
	return watchPeer(ctx, c.TCPConn, wrote, blocked)
}

// Info tells what the kernel knows of both ends.
func (c *conn) Info() (network.ConnInfo, error) { return connInfo(c.TCPConn) }

// SleepUntil waits; see [network.Conn].
func (c *conn) SleepUntil(ctx context.Context, t time.Time) error { return sleepUntil(ctx, t) }

// conns are the open connections that a port has accepted. They are partitioned together, and so
// are those that come later.
type conns struct {
	mu   sync.Mutex
	cut  bool
	open map[*conn]struct{}
}

// add makes an accepted connection one of them. plain, which may be nil, clears what the
// connection has inherited from its listener.
func (s *conns) add(tcp *net.TCPConn, plain func(*net.TCPConn) error) (*conn, error) {
	c, err := newConn(tcp)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.of = s
	switch {
	case s.cut:
		err = c.change(&c.all, true)
	case plain != nil:
		err = plain(tcp)
	}
	if err != nil {
		_ = c.TCPConn.Close()
		return nil, err
	}
	if s.open == nil {
		s.open = map[*conn]struct{}{}
	}
	s.open[c] = struct{}{}
	return c, nil
}

// set partitions or heals them all. After an error none is partitioned. A connection that ends
// meanwhile is no error.
func (s *conns) set(cut bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
	for c := range s.open {
		if err := c.change(&c.all, cut); err != nil && !errors.Is(err, net.ErrClosed) {
			if cut {
				s.heal()
			}
			return err
		}
	}
	return nil
}

// heal heals them all. The caller holds mu.
func (s *conns) heal() {
	s.cut = false
	for c := range s.open {
		_ = c.change(&c.all, false)
	}
}

// remove drops a connection that is closed. s is nil for a connection that no port has accepted.
func (s *conns) remove(c *conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// change records whether its own Partition or its port (who) wants the connection partitioned,
// and partitions it if either does.
func (c *conn) change(who *bool, wants bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.open()
	if err != nil {
		return c.explain(wants, err)
	}
	before := *who
	*who = wants
	switch cut := c.own || c.all; {
	case cut && !c.cut:
		err = partition(c.TCPConn, c.v6())
	case !cut && c.cut:
		err = healed(c.TCPConn, c.v6())
	}
	if err != nil {
		*who = before
		return c.explain(wants, err)
	}
	c.cut = c.own || c.all
	c.late = c.late || c.cut
	return nil
}

func (c *conn) explain(cut bool, err error) error {
	what := "heal"
	if cut {
		what = "partition"
	}
	return fmt.Errorf("%s %s -> %s: %w", what, c.LocalAddr(), c.RemoteAddr(), err)
}
