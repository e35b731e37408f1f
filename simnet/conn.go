package simnet

import (
	"net"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
)

// A Conn is one end of a connection. It implements [net.Conn], has the other methods of
// [*net.TCPConn], and can misbehave as a [network.Conn]. Its methods may be called from any
// goroutine.
type Conn struct {
	socket
	peer *Conn
	out  *way  // to the other end's host
	port *port // that it came to; nil for a client's end
	id   uint64
	ra   *net.TCPAddr

	rcv          buffer // what has arrived
	arrivedBytes int64  // in all
	rcvMax       int
	snd          buffer // what has not
	sndMax       int

	// The life of the connection; see life.go.
	dialled  bool          // it is the client's end, whose address is to be given back
	fin      bool          // the other end's FIN has arrived
	rst      bool          // its RST has, or, as the kernel has it, one of our own
	finSent  finState      // our FIN
	rshut    bool          // CloseRead was called
	wshut    bool          // CloseWrite was called, or Close
	dead     bool          // CLOSED, in RFC 9293's words: there is no connection any more
	aborted  bool          // it ended without both FINs: whatever still comes is answered with RST
	leftPort bool          // Close or Reset was called: Cut of its port is no concern of it any more
	abortive bool          // SO_LINGER with 0
	linger   time.Duration // SO_LINGER with more
	soErr    syscall.Errno // to be told once
	orphan   *event        // the end of one that is closed, and whose other end never is; nil before

	// Calls in progress.
	reading, writing bool
	inRead           bool // the call is of Read: it returns as soon as something arrives
	waitsForRoom     bool // the call of Write waits for room
	lending          bool // what is sent now stays as it is until the call of Write returns
	wrote            bool // something was written since the other end's WatchPeer looked
	watchers         int8 // calls of WatchPeer
	stuckWatchers    int8 // calls of AwaitStuck

	resend resend
	flight *flight // nil until something is in the air
	alive  keepAlive
	spoke  time.Time // when it sent something last, while faults are in force
	gone   forgotten
	lent   *lent // nil until SyscallConn is used
}

var _ network.Conn = (*Conn)(nil)

// A finState is how far our FIN has come.
type finState int8

const (
	finNone   finState = iota
	finUnsent          // behind what is in the send buffer, or lost
	finInAir
	finArrived
)

// A resend is what one end knows about what it sent and what was not acknowledged. Without loss and
// partitions everything arrives at once, and it is not used.
type resend struct {
	cut         bool // segments to this end vanish
	window      int  // while cut: what the other end takes, as far as this one knows
	lost        bool // what is next to be sent was sent, and vanished
	gap         bool // and the other end says so, three times (RFC 5681, section 3.2)
	resent      bool // what is in the air was sent before
	unacked     int  // bytes that have arrived, and whose acknowledgement vanished
	finUnacked  bool // the same of FIN
	userTimeout time.Duration
	since       time.Time // from when on there was something to acknowledge; zero if there is not
	tries       int       // retransmissions since then
	total       int
	event       event
}

// outstanding reports whether there is something to retransmit.
func (r *resend) outstanding() bool { return r.lost || r.unacked > 0 || r.finUnacked }

// A flight is what one end has sent and what has not arrived, in order. On a network without
// latency nothing is ever in the air.
type flight struct {
	air      buffer // the data
	segments []segment
	room     []segment // where the first of them went
	event    event     // the first one lands
}

// A segment is on its way to the other end.
type segment struct {
	kind segmentKind
	n    int       // bytes of data
	get  int       // how many of them get through, before what is lost
	lost bool      // what has no data
	at   time.Time // when it arrives; zero while it is held
}

type segmentKind int

const (
	dataSegment segmentKind = iota
	finSegment
	rstSegment
	windowSegment // the window has opened
)

// A keepAliveConfig holds the values of the TCP_KEEP options.
type keepAliveConfig struct {
	on             bool
	idle, interval time.Duration
	count          int
}

// A keepAlive probes an idle connection. Probes that are answered change nothing, so none is sent
// unless something is in their way: timers that come again and again would keep a bubble's clock
// going forever.
type keepAlive struct {
	keepAliveConfig
	last   time.Time // when something was last heard of the other end
	probes int       // not answered
	event  event
}

// A forgotten connection is one whose packets no middlebox lets pass any more.
type forgotten int8

const (
	known    forgotten = iota
	vanishes           // its packets vanish
	isReset            // each is answered with RST
)

// A lent is a socket pair of the kernel. One end is lent to whoever wants a descriptor, with a copy
// of what has arrived.
type lent struct {
	near, far    int
	start, end   int64 // of what has arrived in all, the part that can be read from it
	ended, reset bool  // then comes EOF or ECONNRESET
	users        int   // calls that have it now
}

// forget drops what lies before read: it was read from the connection itself.
func (l *lent) forget(read int64) {
	if k := min(read, l.end) - l.start; k > 0 {
		_, _ = sockpair.Read(l.near, make([]byte, k))
	}
	l.start, l.end = read, max(l.end, read)
}

// finish shows EOF, or ECONNRESET once and then EOF.
func (l *lent) finish(reset bool) {
	l.ended, l.reset = true, reset
	if !reset {
		sockpair.CloseWrite(l.far)
		return
	}
	_, _ = sockpair.Write(l.near, []byte{0}) // what closes with this unread, resets
	sockpair.Close(l.far)
	l.far = -1
}

// close closes the pair, unless somebody has it.
func (l *lent) close() {
	if l != nil && l.users == 0 {
		sockpair.Close(l.near)
		sockpair.Close(l.far)
	}
}

// Linux's buffers, as far as they grow on loopback. Together they are what a write takes before it
// blocks, 3.9 MB.
const (
	defaultSend    = 2565 << 10
	defaultReceive = 1300 << 10
	smallSend      = 28 << 10 // if the other end has a small window
	smallReceive   = 2304     // the smallest SO_RCVBUF
	sendSegment    = 32 << 10 // what fills a small SO_SNDBUF
)

func (h *Host) newConn(nw string, local, remote *net.TCPAddr) *Conn {
	h.n.ids++
	c := &Conn{id: h.n.ids, ra: remote, rcvMax: defaultReceive, sndMax: defaultSend}
	c.open(h, nw, local)
	return c
}

// shrink makes c's window small, and with it the other end's send buffer.
func shrink(c, other *Conn) { c.rcvMax, other.sndMax = smallReceive, smallSend }

// takesTime reports whether what c sends arrives later than it was sent.
func (c *Conn) takesTime() bool { return c.out.takesTime() || c.hasInAir() }

// hasInAir reports whether something is in the air.
func (c *Conn) hasInAir() bool { return c.flight != nil && len(c.flight.segments) > 0 }

// onlyResets reports whether c answers everything that still comes with RST. It does not while a
// RST of its own is in the air.
func (c *Conn) onlyResets() bool { return c.aborted && !c.hasInAir() }

// inAir returns how many bytes of data have not arrived yet.
func (c *Conn) inAir() int {
	if c.flight == nil {
		return 0
	}
	return c.flight.air.len()
}

// partitioned reports whether segments to this end vanish.
func (c *Conn) partitioned() bool { return c.isCut() || c.peer.out.isCut() || c.gone != known }

// isCut reports whether they vanish because this end, or its port, is partitioned.
func (c *Conn) isCut() bool { return c.resend.cut || c.port != nil && !c.leftPort && c.port.state.Cut }

// refuses reports whether data that arrives now is answered with RST, because nobody can read it
// any more (RFC 9293, section 3.6.1). An end that has only called CloseRead still takes it, as on
// Linux.
func (c *Conn) refuses() bool { return c.aborted || c.closed || c.wshut && c.rshut }

// wake lets all calls in progress look again.
func (c *Conn) wake() {
	c.readable.Broadcast()
	c.writable.Broadcast()
}

// state returns the name of the state in RFC 9293, section 3.3.2.
func (c *Conn) state() string {
	sent := c.finSent == finArrived && !c.resend.finUnacked
	switch {
	case c.dead:
		return "CLOSED"
	case c.finSent == finNone && !c.fin:
		return "ESTABLISHED"
	case c.finSent == finNone:
		return "CLOSE-WAIT"
	case c.fin:
		return "LAST-ACK"
	case sent:
		return "FIN-WAIT-2"
	}
	return "FIN-WAIT-1"
}

// countWrite counts a client's write, at the port that it is connected to.
func (c *Conn) countWrite() {
	if p := c.peer.port; p != nil {
		p.writes++
	}
}

// markClosed marks the end as closed by its owner.
func (c *Conn) markClosed() {
	if p := c.peer.port; p != nil && !c.closed {
		p.open--
	}
	c.closed = true
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.net, Source: c.la, Addr: c.ra, Err: err}
}

// takeError returns the error that the connection has to report, and forgets it.
func (c *Conn) takeError(op string) error {
	e := c.soErr
	c.soErr = 0
	return c.opError(op, syscallError(op, e))
}
