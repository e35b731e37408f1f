package conformance

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
)

// do makes the call, and keeps what it gave.
func (c *call) do(r *run) {
	switch s := c.step; s.Op {
	case Connect:
		c.conn, c.err = r.stack.Connect(c.ctx, "tcp", r.address, network.ConnectOptions{SmallWindow: r.has(smallClient)})
	case Accept:
		c.conn, c.err = r.port.Accept()
	case Cancel:
		r.cancelConnect()
	case Drop:
		c.err = r.port.Become(network.State{Answer: network.Drop})
	case Refuse:
		c.err = r.port.Become(network.State{Answer: network.Refuse})
	case Listen:
		c.err = r.port.Become(r.listening())
	case ClosePort:
		c.err = r.port.Close()
	case ListenThere:
		var ln net.Listener
		if ln, c.err = r.stack.Listen(r.ctx, "tcp", c.end.address); c.err == nil {
			c.err = ln.Close()
		}
	default:
		c.doConn(c.end.conn)
	}
}

func (c *call) doConn(conn network.Conn) {
	switch s := c.step; s.Op {
	case Read:
		c.data = make([]byte, s.N)
		c.n, c.err = conn.Read(c.data)
	case Write:
		c.data = pattern(c.end.sent, s.N)
		c.n, c.err = conn.Write(c.data)
	case ReadFrom:
		c.data = pattern(c.end.sent, s.N)
		n, err := conn.(io.ReaderFrom).ReadFrom(struct{ io.Reader }{bytes.NewReader(c.data)})
		c.n, c.err = int(n), err
	case WriteTo:
		n, err := conn.(io.WriterTo).WriteTo((*firstPart)(&c.data))
		c.n, c.err = int(n), err
	case Flood:
		c.n, c.err = conn.Write(plenty[:flood])
	case Look:
		c.look(conn.(syscall.Conn))
	case Fill:
		c.n, c.err = conn.Write(plenty[:c.end.plenty()])
	case Drain:
		c.drain(conn)
	case Peer:
		c.peer, c.err = conn.Peer()
	case CloseRead:
		c.err = conn.CloseRead()
	case CloseWrite:
		c.err = conn.CloseWrite()
	case Partition:
		c.err = c.end.partition()
	case Heal:
		c.err = conn.Heal()
	case Close:
		c.err = conn.Close()
	case Reset:
		c.err = conn.Reset()
	default:
		c.err = s.set(conn)
	}
}

// set sets an option or a deadline.
func (s Step) set(conn network.Conn) error {
	lingers := conn.(interface{ SetLinger(int) error })
	switch s.Op {
	case Option:
		return options[s.N].set(conn)
	case LongLinger:
		return lingers.SetLinger(60)
	case Linger:
		return lingers.SetLinger(-s.N)
	case ReadDeadline:
		return conn.SetReadDeadline(instant(s.N))
	case WriteDeadline:
		return conn.SetWriteDeadline(instant(s.N))
	}
	return conn.SetDeadline(instant(s.N))
}

// drain reads all of a Fill that still writes, else to the end: how much a Fill that was ended had
// written is the kernel's affair.
func (c *call) drain(conn network.Conn) {
	r := struct{ io.Reader }{conn} // no splice(2)
	if w := c.end.peer; c.whole {
		r.Reader = io.LimitReader(conn, int64(w.sent+w.plenty()-c.end.received))
	}
	n, err := io.Copy(io.Discard, r)
	c.n, c.err = int(n), err
}

func (r *run) cancelConnect() {
	if r.cancel != nil {
		r.cancel()
	}
}

// plenty is what Fill writes: the kernel's buffers take 3.9 MB, and all that a program reads is
// little beside it.
var plenty = bytes.Repeat([]byte("z"), 8<<20)

// plenty is how much of it is: with a small window the buffers take 30 KB, and 8 MB are a second's
// work.
func (e *end) plenty() int {
	if e.peer.small {
		return 128 << 10
	}
	return len(plenty)
}

// instant is one that is long past, or none.
func instant(n int) time.Time {
	if n == 0 {
		return time.Unix(1, 0)
	}
	return time.Time{}
}

// pattern is what a stream carries from its byte number from on: a byte too many, too few or from
// elsewhere shows.
func pattern(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (from+i)%26)
	}
	return b
}

// flood is twice as much as an end takes before it sees the RST of another that was closed.
const flood = 1 << 20

// A firstPart takes one part, and fails.
type firstPart []byte

// Write implements [io.Writer].
func (p *firstPart) Write(b []byte) (int, error) {
	*p = bytes.Clone(b)
	return len(b), errEnough
}

var errEnough = errors.New("enough")

// look sees what a pool of connections does: it reads a byte of the descriptor, or peeks at it.
func (c *call) look(conn syscall.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		c.err = err
		return
	}
	at := sockpair.Peek
	if c.step.N == 0 {
		at = sockpair.Read
	}
	var seen error
	c.data = make([]byte, 1)
	c.err = raw.Read(func(fd uintptr) bool { c.n, seen = at(int(fd), c.data); return true })
	if c.err == nil {
		c.err = seen
	}
}

// options are those of a *net.TCPConn that change nothing that a program sees.
var options = [...]struct {
	text string
	set  func(network.Conn) error
}{
	{"SetNoDelay(false)", func(c network.Conn) error { return c.(interface{ SetNoDelay(bool) error }).SetNoDelay(false) }},
	{"SetKeepAlive(true)", func(c network.Conn) error { return c.(interface{ SetKeepAlive(bool) error }).SetKeepAlive(true) }},
	{"SetKeepAlivePeriod(time.Hour)", func(c network.Conn) error {
		return c.(interface{ SetKeepAlivePeriod(time.Duration) error }).SetKeepAlivePeriod(time.Hour)
	}},
	{"SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Hour})", func(c network.Conn) error {
		return c.(interface {
			SetKeepAliveConfig(net.KeepAliveConfig) error
		}).SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Hour})
	}},
}
