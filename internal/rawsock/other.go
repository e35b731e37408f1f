//go:build !linux

package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/network"
)

// What only Linux's port can do is not tried on other systems. Some of it could be: they too have
// TCP_CONNECTION_INFO (macOS), TCP_INFO (FreeBSD) and SIO_TCP_INFO (Windows) for the state of a
// connection, SO_NWRITE (macOS) and FIONWRITE (FreeBSD) for what is unacknowledged, and TCP_MAXSEG
// and SO_RCVBUF for a small window.

// lacks returns the error for what this system cannot do, or was never tried on it.
func lacks(what string) error {
	return fmt.Errorf("%s: %s: %w", runtime.GOOS, what, errors.ErrUnsupported)
}

var (
	errNoPeer = lacks("what the other end of a connection did is read from Linux's TCP_INFO only")
	errNoUnix = lacks("unix sockets that misbehave were tried on Linux only")
	errNoList = lacks("the process's sockets are not listed here")
)

func bind(ctx context.Context, addr *net.TCPAddr) (network.Port, error) {
	return bindPortable(ctx, addr, here)
}

func sleepUntil(ctx context.Context, t time.Time) error { return patience.SleepUntil(ctx, t) }

// A connection that is closed says so on every system.

func connInfo(c *net.TCPConn) (network.ConnInfo, error) {
	if err := isOpen(c); err != nil {
		return network.ConnInfo{}, err
	}
	return network.ConnInfo{}, lacks("the state of a connection is read from Linux's TCP_INFO only")
}

func watchPeer(_ context.Context, c *net.TCPConn, _, _ func()) error {
	if err := isOpen(c); err != nil {
		return err
	}
	return lacks("what the other end of a connection has buffered is not shown")
}

func peer(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func finArrived(syscall.Conn, uint64) (bool, error) { return false, errNoPeer }

func awaitPeerEnd(syscall.Conn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func unacked(*net.TCPConn) (int, error) { return 0, errNoPeer }

func stuck(c syscall.Conn) (bool, error) {
	if err := isOpen(c); err != nil {
		return false, err
	}
	return false, lacks("the window of a connection is read from Linux's TCP_INFO only")
}

func mayComeLate(syscall.Conn) bool { return false }

func writtenTo(*net.TCPConn) int64 { return 0 }

func heard(syscall.Conn) (int64, bool, error) {
	return 0, false, lacks("the bytes that came are read from Linux's TCP_INFO only")
}

// PartitionMechanism is empty.
const PartitionMechanism = ""

// partition would be a stall at best. Only FreeBSD may be able to drop what arrives for a socket.
func partition(*net.TCPConn, bool) error {
	return lacks("a connection cannot be partitioned here, without Linux's IP_MINTTL")
}

func healed(*net.TCPConn, bool) error { return nil }

// WindowMechanism is empty.
const WindowMechanism = ""

func shrinkWindow(uintptr) error {
	return lacks("cannot make a small receive window: nobody has tried it here")
}

// refusePackets would need a port that is taken and takes nothing.
func refusePackets(c *net.UDPConn) error {
	if err := isOpen(c); err != nil {
		return err
	}
	return lacks("a UDP port that is held and refuses was tried on Linux only")
}

func servePackets(c *net.UDPConn) error { return isOpen(c) }

// Visits returns no visits.
func (p *packetPort) Visits() network.Visits { return network.Visits{} }

// Refusals returns an error: what the kernel refuses is not counted here.
func Refusals(bool) (uint64, error) { return 0, lacks("refused connects are not counted here") }

func bindUnix(string) (network.Port, error) { return nil, errNoUnix }

func unixPeer(*net.UnixConn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func awaitUnixPeerEnd(*net.UnixConn) (network.PeerState, error) {
	return network.PeerUnknown, errNoPeer
}

func unixUnread(*net.UnixConn) (int, error) { return 0, errNoPeer }

func unixUnacked(*net.UnixConn) (int, error) { return 0, errNoPeer }

func unixInfo(*net.UnixConn) (network.ConnInfo, error) { return network.ConnInfo{}, errNoPeer }

// Sockets returns an error: the process's sockets are not listed here.
func Sockets() ([]Socket, error) { return nil, errNoList }

// Clients returns an error: the process's sockets are not listed here.
func Clients(bool, int) (map[uint16]bool, error) { return nil, errNoList }

func holds(bool, netip.AddrPort, bool) (bool, error) { return false, errNoList }

// Queued returns 0.
func Queued(syscall.Conn) int { return 0 }

// Capture returns an error: it is not implemented here.
func Capture(func(Packet)) (stop func(), lost func() bool, err error) {
	return nil, nil, lacks("capture is not implemented here")
}
