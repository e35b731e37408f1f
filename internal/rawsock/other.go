//go:build !linux

package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

// connInfo could be read from TCP_CONNECTION_INFO (macOS), TCP_INFO (FreeBSD) and SIO_TCP_INFO
// (Windows); nobody has tried them here yet. That the connection is closed is told everywhere.
func connInfo(c *net.TCPConn) (network.ConnInfo, error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(uintptr) {})
	}
	if err != nil {
		return network.ConnInfo{}, err
	}
	return network.ConnInfo{}, fmt.Errorf("%s: the state of a connection is read from Linux's TCP_INFO only: %w",
		runtime.GOOS, errors.ErrUnsupported)
}

// errNoPeer says so rather than guess. Other kernels have TCP_CONNECTION_INFO (macOS), TCP_INFO
// (FreeBSD) and SIO_TCP_INFO (Windows), which nobody has tried here yet.
var errNoPeer = fmt.Errorf("%s: what the other end of a connection did is read from Linux's TCP_INFO only: %w",
	runtime.GOOS, errors.ErrUnsupported)

// peer cannot tell here.
func peer(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

// finArrived cannot tell here.
func finArrived(syscall.Conn, uint64) (bool, error) { return false, errNoPeer }

// awaitPeerEnd cannot tell here, and does not wait.
func awaitPeerEnd(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func watchPeer(_ context.Context, c *net.TCPConn, _, _ func()) error {
	if raw, err := c.SyscallConn(); err == nil {
		if err := raw.Control(func(uintptr) {}); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: what the other end of a connection has buffered is not shown: %w", runtime.GOOS, errors.ErrUnsupported)
}

// unacked could be read from SO_NWRITE (macOS), FIONWRITE (FreeBSD) and SIO_TCP_INFO (Windows);
// nobody has tried them here yet.
func unacked(*net.TCPConn) (int, error) { return 0, errNoPeer }

func unixUnacked(*net.UnixConn) (int, error) { return 0, errNoPeer }

// PartitionMechanism is none.
const PartitionMechanism = ""

// partition would be a stall at best: no other system is known to let a socket drop what arrives
// for it, but FreeBSD, where nobody has tried it on a connection.
func partition(*net.TCPConn, bool) error {
	return fmt.Errorf("%s: a connection cannot be partitioned here, for want of Linux's IP_MINTTL: %w",
		runtime.GOOS, errors.ErrUnsupported)
}

// healed has nothing to do.
func healed(*net.TCPConn, bool) error { return nil }

// WindowMechanism is none.
const WindowMechanism = ""

// shrinkWindow is a matter of TCP_MAXSEG and SO_RCVBUF, which macOS and the BSDs have too; nobody
// has tried it there.
func shrinkWindow(uintptr) error {
	return fmt.Errorf("%s: cannot make a small receive window: nobody has tried it here: %w", runtime.GOOS, errors.ErrUnsupported)
}

func bind(ctx context.Context, addr *net.TCPAddr) (network.Port, error) {
	return bindPortable(ctx, addr, here)
}

// refusePackets would need a port that is taken and takes nothing; the way of Linux was not tried
// here.
func refusePackets(c *net.UDPConn) error {
	if err := servePackets(c); err != nil {
		return err
	}
	return fmt.Errorf("%s: a UDP port that is held and refuses was tried on Linux only: %w", runtime.GOOS, errors.ErrUnsupported)
}

// servePackets has nothing to do, on a socket that is open.
func servePackets(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(uintptr) {})
}

var errNoUnix = fmt.Errorf("%s: unix sockets that misbehave were tried on Linux only: %w", runtime.GOOS, errors.ErrUnsupported)

func bindUnix(string) (network.Port, error) { return nil, errNoUnix }

func unixPeer(*net.UnixConn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func awaitUnixPeerEnd(*net.UnixConn) (network.PeerState, error) {
	return network.PeerUnknown, errNoPeer
}

func unixInfo(*net.UnixConn) (network.ConnInfo, error) { return network.ConnInfo{}, errNoPeer }

// errNoList says so: only Linux's /proc/self/fd was tried.
var errNoList = fmt.Errorf("%s: the process's sockets are not listed here: %w", runtime.GOOS, errors.ErrUnsupported)

// Sockets needs a list of the process's descriptors.
func Sockets() ([]Socket, error) { return nil, errNoList }

// heard could be read from TCP_CONNECTION_INFO (macOS) and TCP_INFO (FreeBSD); nobody has tried
// them here yet.
func heard(int, bool) (int64, error) {
	return 0, fmt.Errorf("%s: the bytes that came are read from Linux's TCP_INFO only: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Queued knows nothing here.
func Queued(syscall.Conn) int { return 0 }

// Visits knows nothing here.
func (p *packetPort) Visits() network.Visits { return network.Visits{} }

// Clients knows nothing here.
func Clients(bool, int) (map[uint16]bool, error) { return nil, errNoList }

// Capture is not implemented outside Linux.
func Capture(func(Packet)) (stop func(), err error) {
	return nil, fmt.Errorf("capture on %s: not implemented: %w", runtime.GOOS, errors.ErrUnsupported)
}

func sleepUntil(ctx context.Context, t time.Time) error { return patience.SleepUntil(ctx, t) }
