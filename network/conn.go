package network

import (
	"context"
	"fmt"
	"net"
	"time"
)

// A Conn is a connection of which a fixture holds one end: accepted by a [Port], or made by
// [Stack.Connect]. Beyond [net.Conn] it offers what TCP knows and package net does not. Its
// methods may be called from any goroutine. After Close and Reset each returns an error that
// wraps [net.ErrClosed].
type Conn interface {
	net.Conn // a Close while the connection is partitioned heals it first, so that its FIN can be answered

	// CloseWrite sends FIN: the other side reads EOF, and can still write (RFC 9293, section
	// 3.6).
	CloseWrite() error

	// CloseRead ends reading. On Linux the other side learns nothing of it: what it sends is
	// acknowledged and lost.
	CloseRead() error

	// Reset closes with RST, whatever is unread or unsent (RFC 9293, section 3.10.4;
	// SO_LINGER with 0 seconds).
	Reset() error

	// Partition makes all that the other side sends vanish before it reaches us: no
	// acknowledgement either, so that its kernel retransmits and, in the end, gives up. What
	// we write still arrives, and a fixture that plays dead does not write. A connection that
	// is partitioned already stays so. Where this end's platform cannot do it, or the
	// connection is MPTCP, the error wraps [errors.ErrUnsupported], with GOOS and the reason.
	Partition() error

	// Heal ends a partition; there need be none. No byte is lost: what vanished arrives when
	// the other side's kernel next retransmits it, up to twice as late as it has waited
	// already (RFC 6298, section 5).
	Heal() error

	// Peer returns what is known about the other end, without reading. Where the platform
	// does not tell, the error wraps [errors.ErrUnsupported].
	Peer() (PeerState, error)

	// AwaitPeerEnd waits, without reading, until the other end has sent FIN or RST; a read
	// deadline or Close ends the wait. Reads wait meanwhile. Where the platform does not
	// tell, the error wraps [errors.ErrUnsupported], at once.
	AwaitPeerEnd() (PeerState, error)

	// WatchPeer reports, without reading, how the other end gets on with writing: it calls
	// wrote when it sees that more was written, and blocked when a write waits, since neither
	// the other end's buffer nor ours takes more. It does so until the other end sends FIN or
	// RST, which is [io.EOF], or ctx is done, which is its cause, or Close, [net.ErrClosed].
	// Where that cannot be told, the error wraps [errors.ErrUnsupported].
	WatchPeer(ctx context.Context, wrote, blocked func()) error

	// Arrived returns how many bytes have come from the other end, read or not. Where the
	// platform shows it, what the other end has written and what waits on its side counts,
	// too. Where it does not tell what came, the error wraps [errors.ErrUnsupported].
	Arrived() (int64, error)

	// AwaitAcked waits until the other end's kernel has acknowledged all that was written, or
	// will not any more. ctx, whose cause it returns, or Close, which is [net.ErrClosed],
	// ends the wait. Where the platform does not tell, the error wraps
	// [errors.ErrUnsupported], at once.
	AwaitAcked(ctx context.Context) error

	// AwaitStuck waits until a write of this end waits and the other end takes no more: its
	// window is shut, since nobody reads there. ctx, whose cause it returns, or Close, which
	// is [net.ErrClosed], ends the wait. Where the platform does not tell, the error wraps
	// [errors.ErrUnsupported], at once.
	AwaitStuck(ctx context.Context) error

	// Info returns the state of both ends, for failure reports. Where the other end cannot be
	// asked, its part is nil and the error wraps [errors.ErrUnsupported]; where nothing can,
	// Own is empty as well.
	Info() (ConnInfo, error)

	// SleepUntil waits until t, as exactly as the platform can and never less, or until ctx
	// is done: then it returns ctx's cause.
	SleepUntil(ctx context.Context, t time.Time) error
}

// A ConnInfo is the state of a connection's two ends.
type ConnInfo struct {
	Own   SocketInfo
	Other *SocketInfo // nil if its socket is not on this machine, gone, or cannot be asked
}

// A SocketInfo is the state of a connection's socket.
type SocketInfo struct {
	State         string        // in RFC 9293's words, such as "ESTABLISHED" or "FIN-WAIT-1"
	Inode         uint64        // by which the process that has the socket open knows it; 0 where that is not told
	Queued        bool          // it waits in an accept queue: no program has taken it yet (Linux, simnet)
	Unread        int           // bytes that have arrived and were not read
	Unacked       int           // bytes that were written and not acknowledged; what was not sent yet is among them
	Retransmits   int           // segments that were sent again, in all
	RTO           time.Duration // from a segment to its next retransmission
	SendWindow    int           // bytes that the other end is ready to take; 0 too where the kernel does not say
	ReceiveWindow int           // bytes that this end is ready to take; 0 too where the kernel does not say
}

// String writes the state in one line of a failure report.
func (e SocketInfo) String() string {
	return fmt.Sprintf("%s, %d B unread, %d B unacknowledged, %d retransmitted, RTO %v, window %d B out, %d B in",
		e.State, e.Unread, e.Unacked, e.Retransmits, e.RTO, e.SendWindow, e.ReceiveWindow)
}

// A PeerState is what is known of the other end of a connection, without reading from it.
type PeerState int

// The states of the other end.
const (
	PeerUnknown PeerState = iota // the platform does not tell
	PeerOpen                     // neither FIN nor RST has arrived
	PeerFIN                      // FIN has arrived: the other side closed, or half-closed (RFC 9293, section 3.6)
	PeerRST                      // RST has arrived (RFC 9293, section 3.5.2), and no FIN before it
)

// A Client is a socket that is connecting, or connected, to a [Port], seen without the port's
// having accepted anything.
type Client struct {
	Addr   net.Addr // its own
	Socket SocketInfo
	Retry  time.Duration // until it sends again what nobody acknowledges, if nothing comes; 0: not told
}
