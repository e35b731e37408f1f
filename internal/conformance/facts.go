package conformance

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"example.com/go-sockettest/network"
)

// note keeps what a call that has returned has changed.
func (r *run) note(c *call) {
	e := c.end
	switch c.step.Op {
	case Connect:
		r.noteConnect(c)
	case Accept:
		r.noteAccept(c)
	case Refuse, ClosePort:
		r.notePort(c)
	case Listen:
		r.refused = r.refused && c.err != nil
	case Read:
		e.reading = false
		e.received += c.n
	case Write:
		e.sent += c.n
		e.lost = e.lost || c.n > 0 && e.peer.closed
	case CloseRead:
		e.shut = e.shut || c.err == nil
	case CloseWrite:
		e.fin = e.fin || c.err == nil
	case Close, Reset:
		e.noteClose(c)
	case ReadDeadline, Deadline:
		if c.err == nil {
			e.past = c.step.N == 0
		}
	}
}

func (r *run) noteConnect(c *call) {
	if c.err != nil {
		return
	}
	client := &end{conn: c.conn, address: c.conn.LocalAddr().String()}
	client.peer = &end{peer: client}
	r.ends[c.step.End], r.ends[c.step.End+1] = client, client.peer
	r.names = append(r.names, client.address, endName(c.step.End))
	r.queue = append(r.queue, c.step.End/2)
}

// noteAccept finds which connection it is by the client's address.
func (r *run) noteAccept(c *call) {
	if c.err != nil {
		return
	}
	from := c.conn.RemoteAddr().String()
	i := slices.IndexFunc(r.queue, func(i int) bool { return r.ends[2*i].address == from })
	if i < 0 {
		return // result says so
	}
	c.end = r.ends[2*r.queue[i]+1]
	c.end.conn = c.conn
	r.queue = slices.Delete(r.queue, i, i+1)
}

// notePort: who stops listening resets what is queued.
func (r *run) notePort(c *call) {
	if c.err != nil {
		return
	}
	r.refused = true
	r.closed = r.closed || c.step.Op == ClosePort
	for _, i := range r.queue {
		r.ends[2*i+1].closed, r.ends[2*i+1].rst = true, true
	}
	r.queue = nil
}

func (e *end) noteClose(c *call) {
	if c.err != nil {
		return
	}
	e.closed = true
	switch {
	case c.mute:
	case c.rst || c.step.Op == Reset:
		e.rst = true
	default:
		e.fin = true
	}
}

// result writes what a call gave.
func (r *run) result(c *call) string {
	switch err := r.identity(c.err); c.step.Op {
	case Connect:
		if c.err == nil {
			return r.addresses(c.conn)
		}
		return err
	case Accept:
		switch {
		case c.err != nil:
			return err
		case c.end == nil || c.end.conn != c.conn:
			return "a connection from an unknown " + c.conn.RemoteAddr().String()
		}
		return r.addresses(c.conn)
	case Read:
		return fmt.Sprintf("%d %q, %s", c.n, c.data[:max(0, min(c.n, len(c.data)))], err)
	case Write:
		return fmt.Sprintf("%d, %s", c.n, err)
	case Reset, Refuse, Listen, ClosePort:
		if errors.Is(c.err, net.ErrClosed) {
			return "net.ErrClosed" // the seam asks for no more
		}
		return err
	default:
		return err
	}
}

func (r *run) addresses(c network.Conn) string {
	return fmt.Sprintf("%T %s, %T %s, nil", c.LocalAddr(), r.named(c.LocalAddr().String()), c.RemoteAddr(), r.named(c.RemoteAddr().String()))
}

func (r *run) named(s string) string { return strings.NewReplacer(r.names...).Replace(s) }

// identity writes all that a caller can learn from an error: its text, the types of its chain, the fields of a
// [net.OpError], the errno, and which of package net's questions it answers with yes.
func (r *run) identity(err error) string {
	if err == nil {
		return "nil"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.named(err.Error()))
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) {
		case *net.OpError:
			fmt.Fprintf(&b, " < OpError{%s %s %s %s}", e.Op, e.Net, r.nameOf(e.Source), r.nameOf(e.Addr))
		case *os.SyscallError:
			fmt.Fprintf(&b, " < SyscallError{%s}", e.Syscall)
		case syscall.Errno:
			fmt.Fprintf(&b, " < Errno %d", int(e))
		default:
			fmt.Fprintf(&b, " < %T", e)
		}
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			fmt.Fprintf(&b, " is %s", s.name)
		}
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		b.WriteString(" is a timeout")
	}
	return b.String()
}

var sentinels = []struct {
	name string
	err  error
}{{"net.ErrClosed", net.ErrClosed}, {"os.ErrDeadlineExceeded", os.ErrDeadlineExceeded}}

func (r *run) nameOf(a net.Addr) string {
	if a == nil {
		return "<nil>"
	}
	return r.named(a.String())
}
