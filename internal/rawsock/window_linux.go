package rawsock

import (
	"os"

	"golang.org/x/sys/unix"
)

// smallSegment is TCP_MAXSEG for a small window: the other side's kernel sizes its send buffer by the segments that it
// may send, and those of loopback are 64 KiB.
const smallSegment = 1448

// WindowMechanism names what makes a window small, for reports about a platform.
const WindowMechanism = "TCP_MAXSEG 1448, SO_RCVBUF 1"

// shrinkWindow makes fd's receive window as small as the kernel allows, for connections made from now on. On Linux 6.18
// the other side's writes then block after 30,528 bytes.
func shrinkWindow(fd uintptr) error {
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, smallSegment); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
}

// setWindow makes the window small, or as it was. The options work on a socket that listens, too: a connection gets
// what is in force when its SYN arrives. They are set whenever a small window is asked for, since a listener forgets
// TCP_MAXSEG in shutdown(2) (tcp_disconnect clears rx_opt).
func (p *port) setWindow(fd int, small bool) error {
	switch {
	case !small && p.buffer > 0:
		return p.restoreWindow(fd)
	case !small:
		return nil
	case p.buffer == 0:
		buffer, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		p.buffer = buffer
	}
	return shrinkWindow(uintptr(fd))
}

// restoreWindow gives the buffer its size back (the kernel doubles what it is told, socket(7)) and the kernel its right
// to change it, which SO_RCVBUF has taken; SO_BUF_LOCK is in Linux since 5.14.
func (p *port) restoreWindow(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_RCVBUF, p.buffer / 2},
		{unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0},
		{unix.IPPROTO_TCP, unix.TCP_MAXSEG, 0},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	p.buffer = 0
	return nil
}
