package rawsock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// TCP states as TCP_INFO gives them (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// Peer tells what the kernel knows of the other end of c.
func Peer(c syscall.Conn) (PeerState, error) {
	var state PeerState
	err := control(c, func(fd int) (err error) {
		state, err = peerOf(fd)
		return err
	})
	return state, err
}

// AwaitPeerEnd waits until the other end has sent FIN or RST. It reads nothing, and holds c's read lock meanwhile;
// a read deadline or Close ends it.
func AwaitPeerEnd(c syscall.Conn) (PeerState, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return PeerUnknown, err
	}
	var state PeerState
	// The poller asks for EPOLLRDHUP, edge-triggered: each segment that changes what can be read wakes this up.
	err2 := raw.Read(func(fd uintptr) bool {
		state, err = peerOf(int(fd))
		return err != nil || state != PeerOpen
	})
	if err2 != nil {
		return state, err2
	}
	return state, err
}

func peerOf(fd int) (PeerState, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return PeerUnknown, err
	}
	switch info.State {
	case tcpCloseWait, tcpLastAck, tcpClosing:
		return PeerFIN, nil
	case tcpClose:
		return PeerRST, nil
	}
	return PeerOpen, nil
}

// control runs f on the descriptor of c and returns the first error of the two.
func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
