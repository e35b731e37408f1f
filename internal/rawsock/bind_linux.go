package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// The search for a free port. Ours are quick and may all be taken, by sockets or for a minute after a connection
// (TIME_WAIT); the kernel knows which are free, and then a try loses only if another program takes the very port in the
// microsecond between two calls.
const (
	ourTries  = 8
	bindTries = ourTries + 100
)

func bind(_ context.Context, addr *net.TCPAddr) (network.Port, error) {
	p, err := bindPort(addr, canDrop(addr.IP.To4() == nil))
	if err != nil {
		return nil, explainBind(addr, err) // not p: a nil *port is no nil network.Port
	}
	return p, nil
}

func bindPort(addr *net.TCPAddr, minTTL bool) (*port, error) {
	fd, num, err := bindByNumber(addr)
	if err != nil {
		return nil, err
	}
	return newPort(fd, &net.TCPAddr{IP: addr.IP, Port: num}, minTTL), nil
}

// bindByNumber binds to an explicit port even when any will do. A socket that got its port from bind(0) loses it at
// shutdown(2), which is how a listener is made to refuse; one that asked for the number keeps it.
func bindByNumber(addr *net.TCPAddr) (fd, port int, err error) {
	if addr.Port != 0 {
		return boundSocket(addr)
	}
	for try := range bindTries {
		a := &net.TCPAddr{IP: addr.IP}
		if try < ourTries {
			a.Port = nextPort()
		}
		if a.Port == 0 {
			if a.Port, err = freePort(addr); err != nil {
				return -1, 0, err
			}
		}
		fd, port, err = boundSocket(a)
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return fd, port, err
}

// freePort asks the kernel for a port and gives it back, to be bound by number.
func freePort(addr *net.TCPAddr) (int, error) {
	fd, port, err := boundSocket(addr)
	if err == nil {
		err = unix.Close(fd)
	}
	return port, err
}

// explainBind adds the remedy to the errors that a caller can do something about.
func explainBind(addr *net.TCPAddr, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE) && addr.Port != 0:
		return fmt.Errorf("%s is in use; choose another port, or none for any free one: %w", addr, err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("no port of %s is free; close what holds them, or wait a minute for connections that were closed (TIME_WAIT): %w",
			addr.IP, err)
	case noDescriptors(err):
		return outOfDescriptors(err)
	case addr.IP.To4() == nil && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)):
		return fmt.Errorf("linux: no IPv6 loopback on this host (%w): %w", err, errors.ErrUnsupported)
	}
	return fmt.Errorf("bind %s: %w", addr, err)
}
