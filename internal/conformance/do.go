package conformance

import (
	"bytes"
	"io"
	"time"

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
	case Fill:
		c.n, c.err = conn.Write(plenty[:c.end.plenty()])
	case Drain:
		c.drain(conn)
	case Linger:
		c.err = conn.(interface{ SetLinger(int) error }).SetLinger(-s.N)
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
	case ReadDeadline:
		c.err = conn.SetReadDeadline(instant(s.N))
	case WriteDeadline:
		c.err = conn.SetWriteDeadline(instant(s.N))
	case Deadline:
		c.err = conn.SetDeadline(instant(s.N))
	}
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
