package conformance

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"example.com/go-sockettest/network"
)

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
	case Read, WriteTo, Look:
		return fmt.Sprintf("%d %q, %s", c.n, c.data[:max(0, min(c.n, len(c.data)))], err)
	case Write, ReadFrom, Flood:
		return fmt.Sprintf("%d, %s", c.n, err)
	case Fill, Drain:
		if c.n > 0 && (c.err != nil || c.step.Op == Drain && !c.whole) {
			return "some, " + err
		}
		return fmt.Sprintf("%d, %s", c.n, err)
	case Peer:
		if errors.Is(c.err, net.ErrClosed) {
			return "net.ErrClosed" // the seam asks for no more
		}
		return fmt.Sprintf("%d, %s", c.peer, err)
	case Reset, Refuse, Drop, Listen, ClosePort, Partition, Heal:
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

// identity writes all that a caller can learn from an error: its text, the types of its chain, the
// fields of a [net.OpError], the errno, and which of package net's questions it answers with yes.
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
