//go:build !linux

package rawsock

import (
	"context"
	"net"

	"example.com/go-sockettest/network"
)

func bind(ctx context.Context, addr *net.TCPAddr) (network.Port, error) {
	return bindPortable(ctx, addr, here)
}
