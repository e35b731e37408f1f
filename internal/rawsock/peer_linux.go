package rawsock

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// TCP states as TCP_INFO gives them (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpFinWait1    = 4
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// peer tells what the kernel knows of the other end of c.
func peer(c syscall.Conn) (network.PeerState, error) {
	var state network.PeerState
	err := control(c, func(fd int) (err error) {
		state, err = peerOf(fd)
		return err
	})
	return state, err
}

// awaitPeerEnd waits until the other end has sent FIN or RST. It reads nothing, and holds c's read lock meanwhile;
// a read deadline or Close ends it.
func awaitPeerEnd(c syscall.Conn) (network.PeerState, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return network.PeerUnknown, err
	}
	var state network.PeerState
	// The poller asks for EPOLLRDHUP, edge-triggered: each segment that changes what can be read wakes this up.
	err2 := raw.Read(func(fd uintptr) bool {
		state, err = peerOf(int(fd))
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

// finArrived reports whether FIN has arrived on a connection of which read bytes were read. The kernel counts a FIN as a byte
// that was received, and not as one that can be read.
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
