package rawsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

// No event tells of a full buffer at the other end. It is looked for a sixteenth of the time that has passed, within bounds.
const (
	minLook = time.Millisecond
	maxLook = 20 * time.Millisecond
)

// restless is how long a buffer must be nearly full, with nothing written, where nobody has seen it full.
const restless = 500 * time.Millisecond

// watchPeer asks the kernel about the other end, whose write waits when its send buffer is full and stays so. A late
// acknowledgement can make some room, of which a write that waits does not learn: it takes a third of the buffer to wake it.
func watchPeer(ctx context.Context, c *net.TCPConn, wrote, blocked func()) error {
	d, err := openSockDiag()
	if err != nil {
		return err
	}
	defer d.close()
	local, remote := literal(c.RemoteAddr().(*net.TCPAddr)), literal(c.LocalAddr().(*net.TCPAddr))
	full, told, total := false, false, uint64(1) // the SYN is acknowledged, too
	var since time.Time                          // when it was last seen to have written
	starving, fed := false, time.Now()
	for start := time.Now(); ; {
		if !starving {
			fed = time.Now()
		} else if time.Since(fed) > starvation {
			if err := control(c, feed); err != nil {
				return err
			}
			fed = time.Now()
		}
		starving = false
		unacked, err := unackedOf(c)
		if err != nil {
			return err
		}
		other, err := d.one(local, remote)
		switch n := other.info.Bytes_acked + uint64(other.unacked); {
		case errors.Is(err, unix.ENOENT):
			return errOtherEnd
		case err != nil:
			return err
		case other.mptcp:
			return errBlockedMPTCP
		case n > total:
			total, full, told, since = n, false, false, time.Now()
			wrote()
		case unacked > 0 && other.unread == 0:
			wrote() // it waits for what we have sent
			starving = true
		case !told && other.tight && (full || time.Since(since) > restless):
			told = true
			blocked()
		}
		next := time.Now().Add(minLook) // whether it stays full
		if full = other.full || full && other.tight; !full || told {
			next = time.Now().Add(min(max(time.Since(start)/16, minLook), maxLook))
		}
		if err := patience.SleepUntil(ctx, next); err != nil {
			return err
		}
	}
}

// starvation is how long what we have sent may take to arrive, less than the kernel's least RTO.
const starvation = 100 * time.Millisecond

// feed gives a connection with a small window more memory. Our kernel drops what comes when there is none, and with it what
// acknowledges our own data: each retransmission of that takes twice as long, and the other end has nothing to do meanwhile.
func feed(fd int) error {
	const enough, portion = 64 << 10, 1 << 10                            // what it gets lets the other end write all the more before it is blocked
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF) // twice what it was set to (socket(7))
	if err != nil || size >= enough {
		return os.NewSyscallError("getsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size/2+portion))
}

// unackedOf is how many bytes of ours have not arrived; the error is io.EOF once FIN or RST has come.
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
