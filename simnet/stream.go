package simnet

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/patience"
)

// Read reads what has arrived, and waits if there is nothing.
func (c *Conn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.beginRead() {
		return 0, c.opError("read", net.ErrClosed)
	}
	defer c.endRead()
	if len(b) == 0 {
		return 0, nil
	}
	c.inRead = true
	for {
		n, err := c.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		c.readable.Wait()
	}
}

// take is one attempt to read. What has arrived comes before everything except a deadline, FIN
// before an error.
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

// beginRead waits for its turn: reads do not overlap. It reports false once the connection is
// closed.
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
	c.reading, c.inRead = false, false
	c.readable.Broadcast()
	c.peer.writable.Broadcast() // see endWrite
}

// Write returns when all of b is in the send buffer or has arrived. Writes do not overlap: each is
// sent in one piece.
func (c *Conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.beginWrite() {
		return 0, c.opError("write", net.ErrClosed)
	}
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

// beginWrite waits for its turn. It reports false once the connection is closed.
func (c *Conn) beginWrite() bool {
	for c.writing && !c.closed {
		c.writable.Wait()
	}
	if c.closed {
		return false
	}
	c.writing = true
	c.countWrite()
	return true
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
		return c.opError("write", syscallError("write", syscall.EPIPE))
	}
	return nil
}

// put sends what it can and keeps the rest, as far as there is room. It returns how many bytes it
// took.
func (c *Conn) put(b []byte) int {
	n := 0
	if c.snd.len() == 0 {
		c.lending = true
		n = c.deliver(b)
		c.lending = false
	}
	if room := c.room(); n < len(b) && room > 0 && !c.dead {
		k := min(room, len(b)-n)
		c.snd.put(&c.n.spares, b[n:n+k])
		n += k
	}
	if n > 0 {
		c.wrote = true
		c.tellWatchers()
	}
	c.armResend()
	return n
}

// room returns how many bytes the send buffer takes.
func (c *Conn) room() int { return c.sndMax - c.snd.len() - c.inAir() - c.resend.unacked }

// awaitRoom lets a call of Write wait.
func (c *Conn) awaitRoom() {
	c.waitsForRoom = true
	c.tellWatchers()
	c.writable.Wait()
	c.waitsForRoom = false
}

// tellWatchers lets AwaitStuck and the other end's WatchPeer look again.
func (c *Conn) tellWatchers() {
	if c.stuckWatchers > 0 {
		c.writable.Broadcast()
	}
	if c.peer.watchers > 0 {
		c.peer.readable.Broadcast()
	}
}

// endWrite copies what the other end has not read by now. Before that, a Read in progress takes
// what it wants, which does not block it, and one that is about to begin may. Then most of what is
// written is copied once, from one caller to the other.
func (c *Conn) endWrite() {
	p := c.peer
	for len(p.rcv.lent) > 0 && p.inRead {
		c.writable.Wait()
	}
	if len(p.rcv.lent) > 0 {
		c.n.mu.Unlock()
		runtime.Gosched()
		c.n.mu.Lock()
		p.rcv.keep(&c.n.spares)
	}
	c.writing = false
	c.writable.Broadcast()
}

// RemoteAddr returns a [*net.TCPAddr].
func (c *Conn) RemoteAddr() net.Addr { return c.ra }

// SleepUntil waits until t or until ctx is done; see [network.Conn].
func (c *Conn) SleepUntil(ctx context.Context, t time.Time) error { return patience.SleepUntil(ctx, t) }

// ReadFrom implements [io.ReaderFrom]. Errors are as those of a *net.TCPConn, which lets the kernel
// copy from one connection to another.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{c}, r)
	if err == nil {
		return n, nil
	}
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
	}
	if w, ok := r.(withoutWriteTo); ok {
		r = w.Conn
	}
	if op, ok := err.(*net.OpError); ok {
		if _, splices := r.(*Conn); splices {
			err = op.Err
		}
		if s, ok := err.(*os.SyscallError); ok {
			err = os.NewSyscallError("splice", s.Err)
		}
	}
	return n, c.opError("readfrom", err)
}

// WriteTo implements [io.WriterTo].
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, withoutWriteTo{c})
	if err != nil {
		err = c.opError("writeto", err)
	}
	return n, err
}

// A withoutWriteTo hides WriteTo from io.Copy.
type withoutWriteTo struct{ *Conn }

// WriteTo has the wrong type.
func (withoutWriteTo) WriteTo() {}
