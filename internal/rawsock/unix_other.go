//go:build !linux

package rawsock

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"example.com/go-sockettest/network"
)

var errNoUnix = fmt.Errorf("%s: unix sockets that misbehave were tried on Linux only: %w", runtime.GOOS, errors.ErrUnsupported)

func bindUnix(string) (network.Port, error) { return nil, errNoUnix }

func unixPeer(*net.UnixConn) (network.PeerState, error) { return network.PeerUnknown, errNoPeer }

func awaitUnixPeerEnd(*net.UnixConn) (network.PeerState, error) {
	return network.PeerUnknown, errNoPeer
}

func unixInfo(*net.UnixConn) (network.ConnInfo, error) { return network.ConnInfo{}, errNoPeer }
