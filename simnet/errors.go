package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"example.com/go-sockettest/internal/eyeballs"
)

var errDeadline = os.ErrDeadlineExceeded

// errMissingAddress is package net's, which has no name.
var errMissingAddress = errors.New("missing address")

// errCanceled and errTimeout are package net's own errors for a dial whose context has ended. They
// have no names, but a dial that is over before it begins returns them, and opens no socket.
var errCanceled, errTimeout = endedDials()

func endedDials() (canceled, timeout error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	canceled = eyeballs.ContextError(ctx)
	ctx, cancel = context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	return canceled, eyeballs.ContextError(ctx)
}

// contextError returns what a dial says about its context, nil while that goes on.
func contextError(ctx context.Context) error {
	switch ctx.Err() {
	case nil:
		return nil
	case context.DeadlineExceeded:
		return errTimeout
	}
	return errCanceled
}

// syscallError wraps an errno as package os does.
func syscallError(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }

// bindError is the error of a Bind, which says what to do if the address is in use.
func bindError(protocol string, a netip.AddrPort, e syscall.Errno) error {
	addr := net.Addr(net.TCPAddrFromAddrPort(a))
	if protocol == "udp" {
		addr = net.UDPAddrFromAddrPort(a)
	}
	err := error(&net.OpError{Op: "listen", Net: protocol, Addr: addr, Err: syscallError("bind", e)})
	if e == syscall.EADDRINUSE && a.Port() != 0 {
		return fmt.Errorf("%s is in use; choose another port, or none for any free one: %w", a, err)
	}
	return fmt.Errorf("bind %s: %w", a, err)
}

// resolvedTCP returns an address as package net has it in the error of a dial or a listen:
// resolved, in 16 bytes. A socket's own address has 4.
func resolvedTCP(a netip.AddrPort) *net.TCPAddr {
	to := &net.TCPAddr{Port: int(a.Port()), Zone: a.Addr().Zone()}
	if a.Addr().IsValid() {
		ip := a.Addr().As16()
		to.IP = ip[:]
	}
	return to
}

// resolvedUDP is resolvedTCP for UDP.
func resolvedUDP(a netip.AddrPort) *net.UDPAddr {
	tcp := resolvedTCP(a)
	return &net.UDPAddr{IP: tcp.IP, Port: tcp.Port, Zone: tcp.Zone}
}
