package network

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"
)

// A Stack is a network on which addresses can be bound and dialled. Its methods may be called
// from any goroutine. Its type must be comparable: a pointer, say.
type Stack interface {
	// Bind takes an address and holds it until [Port.Close]; it starts in state [Own]. The
	// network is "tcp" (IPv4), "tcp4" or "tcp6", where an empty address means any free port
	// on that family's loopback address; or "unix", where it is the path of a file that must
	// not exist yet, and an empty one a fresh file in a directory of its own.
	Bind(ctx context.Context, network, address string) (Port, error)

	// BindPacket takes a UDP address and holds it until Close. The network is "udp" (IPv4),
	// "udp4" or "udp6"; an empty address means any free port on that family's loopback
	// address.
	BindPacket(ctx context.Context, network, address string) (PacketPort, error)

	// DialContext connects as [net.Dialer.DialContext] does, within this network only. It is
	// for the code under test.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// Listen listens as [net.ListenConfig.Listen] does, within this network only. It is for
	// servers under test.
	Listen(ctx context.Context, network, address string) (net.Listener, error)

	// ListenPacket makes a UDP socket as [net.ListenConfig.ListenPacket] does, within this
	// network only.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)

	// Connected returns the sockets that the code under test has open, of those with another
	// end on this network: every socket that its owner has not closed, whatever has become of
	// its connection. Sockets of fixtures may be among them. It shows which clients were
	// never closed. Where the platform does not list them, the error wraps
	// [errors.ErrUnsupported].
	Connected() ([]Socket, error)

	// Connect connects as DialContext does, for a client that is to misbehave: it returns a
	// connection with which it can. Nothing of its own (no keep-alive, no MPTCP) blurs what
	// the server sees.
	Connect(ctx context.Context, network, address string, o ConnectOptions) (Conn, error)
}

// ConnectOptions are what must be known before a connection is made.
type ConnectOptions struct {
	// SmallWindow is that of [State], for this connection.
	SmallWindow bool
}

// A Port is an address that is bound and held: nobody else can take it while it is open, whatever
// its state. Its methods may be called from any goroutine.
type Port interface {
	// Addr returns the bound address, which no change of state alters.
	Addr() net.Addr

	// Become changes how the port answers a connect. Connections that Accept has returned are
	// untouched. An answer that this platform cannot give is an error that wraps
	// [errors.ErrUnsupported], with GOOS and the reason, and leaves the state as it was.
	Become(State) error

	// Accept waits for the next connection. Changes of state do not end the wait; Close does,
	// with [net.ErrClosed]. Any other error (no descriptors left, say) leaves the port
	// usable, and Accept may be called again.
	Accept() (Conn, error)

	// Dropped returns how many segments were dropped unanswered so far, and when the latest
	// was: while the answer is Drop, or the queue of a Listen with Backlog is full, each SYN
	// counts, retransmitted ones included. The time is zero where the platform does not tell
	// it. Where the platform does not count, the error wraps [errors.ErrUnsupported].
	Dropped() (n int, last time.Time, err error)

	// AwaitDropped waits until n segments were dropped in all, as Dropped counts them, or
	// until ctx is done; then it returns ctx's cause. It returns how many were dropped by
	// then. Where the platform does not count, the error wraps [errors.ErrUnsupported], at
	// once.
	AwaitDropped(ctx context.Context, n int) (got int, err error)

	// Clients returns the sockets that are connecting or connected to the port: those whose
	// SYN nobody has answered, those in the accept queue, and those that Accept has returned.
	// Where the platform does not show them, the error wraps [errors.ErrUnsupported].
	Clients() ([]Client, error)

	// Visits returns what clients have done at the port so far.
	Visits() Visits

	// Refusals returns when connects were refused, the first 64 of them: failure reports list
	// them. Where the platform does not show them, the error wraps [errors.ErrUnsupported].
	Refusals() ([]time.Time, error)

	// Attempts returns the connects so far, in order, and no more than the first 10,000. A SYN
	// that is sent again is not counted. Where the platform does not show all of them,
	// including those that fail, the error wraps [errors.ErrUnsupported].
	Attempts() ([]Attempt, error)

	// Mechanism names what makes the port answer as it does now, such as "IP_MINTTL", for
	// reports about a platform. It is empty where there is nothing to tell.
	Mechanism() string

	// Close gives the address back. It may be called more than once.
	Close() error
}

// An Attempt is one connect to a [Port], whatever came of it.
type Attempt struct {
	At   time.Time // when the client began it
	From net.Addr  // the client's address
}

// Visits is what clients have done at a [Port] or a [PacketPort] so far: it shows whether the
// code under test came at all. The zero value knows of nothing.
type Visits struct {
	// Count is the number of connects, or of datagrams. It never falls. Where connects that
	// fail leave no trace, it counts the connections that were made and the SYNs that were
	// dropped.
	Count int

	// Writes is the number of writes of clients on connections; 0 where the network does not
	// show them.
	Writes int

	// Open is the number of connections that clients hold open, or are trying to make, or of
	// sockets that have sent a datagram. Where the network does not show that, it is what
	// nobody has accepted or read yet.
	Open int

	// Complete says that Count misses no connect, or no datagram, as long as the port answers
	// as it does now.
	Complete bool

	// Exact says that Count, Writes and Open show everything that clients do, as soon as they
	// do it.
	Exact bool
}

// A State is how a [Port] answers a connect. The zero value is a port that is bound only.
type State struct {
	Answer Answer

	// Handshake, with Listen, leaves each connect unanswered for this long, counted from its
	// own first SYN, and never less; zero answers at once. Where the network cannot complete
	// a connect then, all are left unanswered from the first SYN that arrives in this state,
	// for this long, and each completes with its client's next retransmission: on Linux that
	// is so with Hold or Backlog, and from when a client came that uses MPTCP.
	Handshake time.Duration

	// Hold, with Listen, is how long each connection waits in the accept queue, counted from
	// its arrival there, before Accept takes it; zero is not at all, [Forever] is until the
	// state changes.
	Hold time.Duration

	// Backlog, with Listen, is how many connections the accept queue admits that nobody has
	// accepted yet; zero is all that the platform gives. While it is full each further SYN is
	// dropped, and the client's retransmission of it tries again. Connects that arrive at one
	// instant can see more succeed, as at any listener: the kernel looks at the queue when
	// the SYN comes. Where the platform admits other numbers than it is asked for, Become
	// returns an error that wraps [errors.ErrUnsupported].
	Backlog int

	// Cut makes everything vanish that arrives, whatever the answer: SYNs, as with Drop, and
	// what the other side sends on each connection that is open, accepted or not, as
	// [Conn.Partition] does; those that are closed meanwhile are healed first. Accept goes on
	// as before. In the next state without it all is healed that Conn.Partition does not
	// hold. Where it cannot be done, or one of the connections cannot be cut, Become returns
	// an error that wraps [errors.ErrUnsupported].
	Cut bool

	// SmallWindow, with Listen, gives the connections that are made in this state the
	// smallest receive window that there is: if we do not read, the other side's writes block
	// as soon as its own buffer is full. Without it that takes megabytes.
	SmallWindow bool
}

// Check returns an error for a state that no port of that family, "tcp" or "unix", can be in.
func (s State) Check(family string) error {
	unix, answers := family == "unix", "Own, Refuse, Listen, Drop or Lend"
	if unix {
		answers = "Own, Refuse, Listen, Drop or Absent"
	}
	switch {
	case s.Answer < Own || s.Answer > Lend:
		return fmt.Errorf("State.Answer is %d; want %s", s.Answer, answers)
	case s.Answer == Absent && !unix:
		return fmt.Errorf("State.Answer is %q; want it on a unix socket only, since a TCP address is always there", s.Answer)
	case s.Answer == Lend && unix:
		return fmt.Errorf("State.Answer is %q; want it on TCP only: a path is free until it is bound", s.Answer)
	case s.Backlog < 0:
		return fmt.Errorf("State.Backlog is %d; want 0 (all that the platform gives) or more", s.Backlog)
	case s.Backlog > 0 && s.Answer != Listen:
		return fmt.Errorf("State.Backlog is %d, and State.Answer is %q; want network.Listen, or 0", s.Backlog, s.Answer)
	case s.SmallWindow && s.Answer != Listen:
		return fmt.Errorf("State.SmallWindow is true, and State.Answer is %q; want network.Listen, or false", s.Answer)
	}
	return nil
}

// Forever, as [State.Hold], leaves connections in the accept queue for as long as the state
// lasts.
const Forever time.Duration = math.MaxInt64

// An Answer is what a connect meets (RFC 9293, section 3.5).
type Answer int

const (
	// Own is the platform's own answer for a socket that is bound and not listening: RST on
	// Linux, FreeBSD and Windows, nothing at all on macOS and OpenBSD.
	Own Answer = iota
	// Refuse answers each SYN with RST: the connect fails with ECONNREFUSED.
	Refuse
	// Listen completes the handshake and queues the connection for Accept.
	Listen
	// Drop leaves each SYN unanswered: the connect hangs until its own timeout.
	Drop
	// Absent, of a unix socket only, takes the file away: the connect fails with ENOENT.
	Absent
	// Lend lets somebody else listen at the port: whoever binds it by number, with SO_REUSEADDR, as
	// package net does. Meanwhile it is theirs; until then, and from then on, it answers as Refuse
	// does. A port that is lent stays so until Close.
	Lend
)

// String names the answer in one word.
func (a Answer) String() string {
	switch a {
	case Own:
		return "bound"
	case Refuse:
		return "refuse"
	case Listen:
		return "listen"
	case Drop:
		return "drop"
	case Absent:
		return "absent"
	case Lend:
		return "lend"
	}
	return "unknown"
}
