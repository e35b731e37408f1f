package rawsock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

func unixPeer(c *net.UnixConn) (network.PeerState, error) {
	var state network.PeerState
	err := control(c, func(fd int) (err error) {
		state, err = polled(fd)
		return err
	})
	return state, err
}

func awaitUnixPeerEnd(c *net.UnixConn) (network.PeerState, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return network.PeerUnknown, err
	}
	var state network.PeerState
	err2 := raw.Read(func(fd uintptr) bool {
		state, err = polled(int(fd))
		return err != nil || state != network.PeerOpen
	})
	if err2 != nil {
		return state, err2
	}
	return state, err
}

// polled asks poll(2), which looks at the other end's shutdown (net/unix/af_unix.c, unix_poll).
func polled(fd int) (network.PeerState, error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err != nil && err != unix.EINTR {
		return network.PeerUnknown, os.NewSyscallError("poll", err)
	}
	switch {
	case poll[0].Revents&unix.POLLERR != 0:
		return network.PeerRST, nil // it closed with bytes of ours unread
	case poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0:
		return network.PeerFIN, nil
	}
	return network.PeerOpen, nil
}

func unixInfo(c *net.UnixConn) (network.ConnInfo, error) {
	info := network.ConnInfo{Own: network.SocketInfo{State: unixState}}
	var own unixSocket
	var shown error
	err := control(c, func(fd int) (err error) {
		if info.Own.Unread, err = unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil {
			info.Own.Unacked, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		}
		own, shown = diagUnixFD(fd)
		return os.NewSyscallError("ioctl", err)
	})
	switch {
	case err != nil:
		return network.ConnInfo{}, err
	case shown != nil:
		return info, unsupported("the other end of a unix connection is not shown", shown)
	case own.peer == 0:
		return info, nil
	}
	if other, err := diagUnix(own.peer); err == nil { // else it was closed just now
		info.Other = &network.SocketInfo{State: unixState, Inode: own.peer, Unread: other.read, Unacked: other.wrote}
	}
	return info, nil
}

// unixState is what TCP calls the one state that an end of a unix connection has.
const unixState = "ESTABLISHED"
