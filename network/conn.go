package network

import "net"

// A Conn is a connection of which a fixture holds one end: accepted by a [Port], or made by [Stack.Connect]. Beyond
// [net.Conn] it offers what TCP knows and package net does not. Its methods may be called from any goroutine. After
// Close and Reset each returns an error that wraps [net.ErrClosed].
type Conn interface {
	net.Conn // a Close while the connection is partitioned heals it first, so that its FIN can be answered

	// CloseWrite sends FIN: the other side reads EOF, and can still write (RFC 9293, section 3.6).
	CloseWrite() error

	// CloseRead ends reading. On Linux the other side learns nothing of it: what it sends is acknowledged and lost.
	CloseRead() error

	// Reset closes with RST, whatever is unread or unsent (RFC 9293, section 3.10.4; SO_LINGER with 0 seconds).
	Reset() error

	// Partition makes all that the other side sends vanish before it reaches us: no acknowledgement either, so that its
	// kernel retransmits and, in the end, gives up. What we write still arrives, and a fixture that plays dead does not
	// write. A connection that is partitioned already stays so. Where this end's platform cannot do it, or the connection
	// is MPTCP, the error wraps [errors.ErrUnsupported], with GOOS and the reason.
	Partition() error

	// Heal ends a partition; there need be none. No byte is lost: what vanished arrives when the other side's kernel
	// next retransmits it, up to twice as late as it has waited already (RFC 6298, section 5).
	Heal() error

	// Peer tells what is known of the other end, without reading. Where the platform does not tell, the error wraps
	// [errors.ErrUnsupported].
	Peer() (PeerState, error)

	// AwaitPeerEnd waits, without reading, until the other end has sent FIN or RST; a read deadline or Close ends the
	// wait. Reads wait meanwhile. Where the platform does not tell, the error wraps [errors.ErrUnsupported], at once.
	AwaitPeerEnd() (PeerState, error)
}

// A PeerState is what is known of the other end of a connection, without reading from it.
type PeerState int

// The states of the other end.
const (
	PeerUnknown PeerState = iota // the platform does not tell
	PeerOpen                     // neither FIN nor RST has arrived
	PeerFIN                      // FIN has arrived: the other side closed, or half-closed (RFC 9293, section 3.6)
	PeerRST                      // RST has arrived (RFC 9293, section 3.5.2), or both sides are done
)
