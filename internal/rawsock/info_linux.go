package rawsock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

// tcpStates are RFC 9293's names by number (include/net/tcp_states.h).
var tcpStates = [...]string{
	1: "ESTABLISHED", 2: "SYN-SENT", 3: "SYN-RECEIVED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT", 7: "CLOSED",
	8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN-RECEIVED",
}

func tcpState(n uint8) string {
	if int(n) < len(tcpStates) && tcpStates[n] != "" {
		return tcpStates[n]
	}
	return fmt.Sprintf("state %d", n)
}

// connInfo asks our own socket, and the kernel for the other end by the two addresses.
func connInfo(c *net.TCPConn) (network.ConnInfo, error) {
	var info network.ConnInfo
	err := control(c, func(fd int) (err error) {
		info.Own, err = socketInfo(fd)
		return err
	})
	if err != nil {
		return network.ConnInfo{}, err
	}
	other, err := diagOne(literal(c.RemoteAddr().(*net.TCPAddr)), literal(c.LocalAddr().(*net.TCPAddr)))
	switch {
	case errors.Is(err, unix.ENOENT):
		return info, diagAnswers()
	case err != nil:
		return info, unsupported("the other end of a connection is not shown", err)
	case other.state == tcpClose && other.inode == 0: // it was there when it was looked up, and has gone since
		return info, nil
	}
	info.Other = toSocketInfo(other.state, other.unread, other.unacked, &other.info)
	info.Other.Inode = other.inode
	// A socket has its inode from accept(2) on, and until it is closed; by then it has sent FIN.
	info.Other.Queued = other.inode == 0 && (other.state == tcpEstablished || other.state == tcpCloseWait)
	return info, nil
}

// diagAnswers reports whether sock_diag answers at all: without the kernel's tcp_diag it says
// ENOENT to every question. It is asked once per process: the answer goes through all sockets of
// the machine.
var diagAnswers = sync.OnceValue(func() error {
	r := newDiagRequest(false)
	r.states = 1 << tcpSynSent
	err := askOnce(func(d *sockDiag) error {
		_, err := d.sockets(unix.SOCK_DIAG_BY_FAMILY, bytesOf(r), unix.NLM_F_DUMP)
		return err
	})
	if err != nil {
		return unsupported("the other end of a connection is not shown", err)
	}
	return nil
})

func socketInfo(fd int) (network.SocketInfo, error) {
	info, err := tcpInfo(fd)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("getsockopt", err)
	}
	unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("ioctl", err)
	}
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("ioctl", err)
	}
	return *toSocketInfo(info.State, unread, unacked, info), nil
}

func toSocketInfo(state uint8, unread, unacked int, info *unix.TCPInfo) *network.SocketInfo {
	return &network.SocketInfo{
		State: tcpState(state), Unread: unread, Unacked: withoutMark(state, unacked), Retransmits: int(info.Total_retrans),
		RTO:        time.Duration(info.Rto) * time.Microsecond,
		SendWindow: int(info.Snd_wnd), ReceiveWindow: int(info.Rcv_wnd),
	}
}

// withoutMark subtracts a SYN or FIN of ours that is not acknowledged yet: each takes one
// sequence number (RFC 9293, section 3.4).
func withoutMark(state uint8, unacked int) int {
	switch state {
	case tcpSynSent, tcpFinWait1, tcpClosing, tcpLastAck:
		return max(0, unacked-1)
	}
	return unacked
}

// TCP states as TCP_INFO gives them (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// peer returns what the kernel knows of the other end of c.
func peer(c syscall.Conn) (network.PeerState, error) { return askPeer(c, peerOf) }

// awaitPeerEnd waits until the other end has sent FIN or RST. It reads nothing, and holds c's read
// lock meanwhile; a read deadline or Close ends it.
func awaitPeerEnd(c syscall.Conn) (network.PeerState, error) { return awaitEnd(c, peerOf) }

func askPeer(c syscall.Conn, ask func(fd int) (network.PeerState, error)) (network.PeerState, error) {
	var state network.PeerState
	err := control(c, func(fd int) (err error) {
		state, err = ask(fd)
		return err
	})
	return state, err
}

func awaitEnd(c syscall.Conn, ask func(fd int) (network.PeerState, error)) (network.PeerState, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return network.PeerUnknown, err
	}
	var state network.PeerState
	// The poller asks for EPOLLRDHUP, edge-triggered: each segment that changes what can be read
	// wakes this up.
	err2 := raw.Read(func(fd uintptr) bool {
		state, err = ask(int(fd))
		return err != nil || state != network.PeerOpen
	})
	if err2 != nil {
		return state, err2
	}
	return state, err
}

func peerOf(fd int) (network.PeerState, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return network.PeerUnknown, err
	}
	switch info.State {
	case tcpCloseWait, tcpLastAck, tcpClosing:
		return network.PeerFIN, nil
	case tcpClose:
		return network.PeerRST, nil
	}
	return network.PeerOpen, nil
}

// finArrived reports whether FIN has arrived on a connection on which read bytes were read. The
// kernel counts a FIN as a byte received, but not as one that can be read.
func finArrived(c syscall.Conn, read uint64) (fin bool, err error) {
	err = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		fin = info.Bytes_received == read+uint64(unread)+1
		return os.NewSyscallError("ioctl", err)
	})
	return fin, err
}

// restless is how long a buffer must be nearly full, with nothing written, to count as full
// although it was never seen full.
const restless = 500 * time.Millisecond

// watchPeer asks the kernel about the other end, whose write waits when its send buffer is full
// and stays so. A late acknowledgement can make some room without waking that write: it takes a
// third of the buffer to wake it.
func watchPeer(ctx context.Context, c *net.TCPConn, wrote, blocked func()) error {
	d, err := openSockDiag()
	if err != nil {
		return err
	}
	defer d.close()
	local, remote := literal(c.RemoteAddr().(*net.TCPAddr)), literal(c.LocalAddr().(*net.TCPAddr))
	full, told, total := false, false, int64(1) // the SYN is acknowledged, too
	var since time.Time                         // when it was last seen to have written
	h := hunger{c: c, fed: time.Now()}
	for start := time.Now(); ; {
		unacked, err := unackedOf(c)
		if err != nil {
			return err
		}
		other, err := d.settled(local, remote)
		if err != nil || other.mptcp {
			return endOfLook(err)
		}
		n := other.written()
		waits := n <= total && unacked > 0 && other.unread == 0 // for what we have sent
		if err := h.look(waits); err != nil {
			return err
		}
		switch {
		case n > total:
			total, full, told, since = n, false, false, time.Now()
			wrote()
		case waits:
			wrote()
		case !told && other.tight && (full || time.Since(since) > restless):
			told = true
			blocked()
		}
		if full = other.full || full && other.tight; full && !told { // soon: whether it stays full
			start = time.Now()
		}
		if err := patience.SleepUntil(ctx, nextLook(start)); err != nil {
			return err
		}
	}
}

// endOfLook is why the other end cannot be watched.
func endOfLook(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errOtherEnd
	case err != nil:
		return err
	}
	return errBlockedMPTCP
}

// A hunger is how long what we have sent has not been acknowledged.
type hunger struct {
	c   *net.TCPConn
	fed time.Time // when it last was, or was given memory
}

// look gives the connection memory when it has starved for long enough.
func (h *hunger) look(starves bool) error {
	if starves && time.Since(h.fed) <= starvation {
		return nil
	}
	h.fed = time.Now()
	if !starves {
		return nil
	}
	return control(h.c, feed)
}

// starvation is how long what we have sent may take to arrive. It is less than the kernel's
// least RTO.
const starvation = 100 * time.Millisecond

// feed gives a connection with a small window more memory. Without memory our kernel drops what
// comes, and with it the acknowledgements of our own data: each retransmission then takes twice
// as long, and meanwhile the other end has nothing to do.
func feed(fd int) error {
	const enough, portion = 64 << 10, 1 << 10                            // what it gets lets the other end write all the more before it is blocked
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF) // twice what it was set to (socket(7))
	if err != nil || size >= enough {
		return os.NewSyscallError("getsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2+portion))
}

// unackedOf returns how many bytes of ours have not arrived. The error is io.EOF once FIN or RST
// has come.
func unackedOf(c *net.TCPConn) (n int, err error) {
	err = control(c, func(fd int) error {
		state, err := peerOf(fd)
		if err == nil && state != network.PeerOpen {
			return io.EOF
		}
		if err == nil {
			n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		}
		return err
	})
	return n, err
}

var (
	errOtherEnd     = unsupported("the other end of a connection is not shown", unix.ENOENT)
	errBlockedMPTCP = unsupported("what an MPTCP socket has buffered is not shown", unix.EPROTONOSUPPORT)
)

// Queued returns how many connections wait in the accept queue of a TCP listener, and 0 for any
// other listener.
func Queued(ln syscall.Conn) int {
	n := 0
	_ = control(ln, func(fd int) (err error) { n, err = queued(fd); return err })
	return n
}

// heard counts the bytes that have come. A FIN is not one of them, unless the connection is over.
func heard(c syscall.Conn) (n int64, over bool, err error) {
	err = control(c, func(fd int) error {
		info, err := settledInfo(fd)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		n, over = int64(info.Bytes_received), info.State == tcpClose
		switch info.State {
		case tcpCloseWait, tcpLastAck, tcpClosing:
			n--
		}
		return nil
	})
	return n, over, err
}

// settledInfo asks until the state is that of the counters: the kernel reads it first, and FIN may
// come between. States never go back.
func settledInfo(fd int) (*unix.TCPInfo, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	for err == nil {
		next, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || next.State == info.State {
			return info, err
		}
		info = next
	}
	return info, err
}

// mayComeLate reports whether the other end may have written what has not come: since nobody reads
// what has, or since its kernel waits for an acknowledgement (RFC 9293, section 3.7.4), which ours
// delays by 200 ms at most.
func mayComeLate(c syscall.Conn) (late bool) {
	_ = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		late = unread > 0 || info.Bytes_received > 0 && info.Last_data_recv <= 200
		return err
	})
	return late
}

// writtenTo counts the bytes that the other end of a connection has written, as far as its kernel
// tells: 0 if it does not.
func writtenTo(c *net.TCPConn) (n int64) {
	_ = askOnce(func(d *sockDiag) error {
		other, err := d.settled(literal(c.RemoteAddr().(*net.TCPAddr)), literal(c.LocalAddr().(*net.TCPAddr)))
		if err != nil || other.mptcp {
			return err
		}
		n = other.written() - 1 // the SYN
		switch other.state {
		case tcpFinWait1, tcpFinWait2, tcpLastAck, tcpClosing:
			n--
		}
		return nil
	})
	return n
}

// unacked returns how many bytes of ours the other end's kernel has still to acknowledge, and 0
// if it never will.
func unacked(c *net.TCPConn) (n int, err error) {
	err = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.State == tcpClose {
			return os.NewSyscallError("getsockopt", err)
		}
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		n = withoutMark(info.State, n)
		return os.NewSyscallError("ioctl", err)
	})
	return n, err
}

// stuck reports whether a write to c waits until the other end reads: there is no room for it, and
// the window is shut, which a unix socket does not have.
func stuck(c syscall.Conn) (is bool, err error) {
	err = control(c, func(fd int) error {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		switch n, err := unix.Poll(ready, 0); {
		case err == unix.EINTR: // by the runtime's own signals: the next look will tell
			return nil
		case n > 0 || err != nil:
			return os.NewSyscallError("poll", err)
		}
		if _, unixSocket := c.(*net.UnixConn); unixSocket {
			is = true
			return nil
		}
		info := new(unix.TCPInfo)
		size, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, unsafe.Pointer(info), unsafe.Sizeof(*info))
		if err == nil && size < unsafe.Offsetof(info.Snd_wnd)+unsafe.Sizeof(info.Snd_wnd) {
			return unsupported("the window of a connection is not shown", errCutOff) // before Linux 5.4
		}
		is = err == nil && info.Snd_wnd == 0
		return os.NewSyscallError("getsockopt", err)
	})
	return is, err
}
