package overall_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/conformance"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

var programs = flag.Int("programs", 1000, "how many random programs the differential tests run")

// loopback can listen as package net does. Plain TCP: MPTCP, which package net would listen with,
// is another truth.
type loopback struct{ rawsock.Loopback }

func (loopback) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, nw, address)
}

// ListenPacket also binds [::], of which package net has its own answers.
func (loopback) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, nw, address)
}

// kernel is the truth. Its address is this process's own, so that nobody else's connections are
// among ours.
func kernel(t *testing.T) conformance.World {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("%s: the truth that these tests state is Linux's", runtime.GOOS)
	}
	pid := os.Getpid()
	six, err := loopback{}.Listen(t.Context(), "tcp6", "[::1]:0")
	if err == nil {
		require.NoError(t, six.Close())
	}
	return conformance.World{
		NoIPv6: err != nil,
		Name:   "kernel",
		New:    func(*testing.T) network.Stack { return loopback{} },
		Host:   fmt.Sprintf("127.%d.%d.%d", 64+pid>>16%128, pid>>8%256, 1+pid%254),
	}
}

// seen is the kernel where it shows both ends of a connection, without which nobody knows when a
// program's step is over.
func seen(t *testing.T) conformance.World {
	t.Helper()
	manytests.NeedsMinTTL(t) // programs partition
	manytests.NeedsQueue(t)  // and dial several times before they accept
	w := kernel(t)
	if err := showsBothEnds(); err != nil {
		t.Skip(err)
	}
	return w
}

var showsBothEnds = sync.OnceValue(func() error {
	ctx := context.Background() // rules:allow it is asked once, for all tests
	var nw rawsock.Loopback
	p, err := nw.Bind(ctx, "tcp", "")
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Become(network.State{Answer: network.Listen}); err != nil {
		return err
	}
	c, err := nw.Connect(ctx, "tcp", p.Addr().String(), network.ConnectOptions{})
	if err != nil {
		return err
	}
	defer c.Reset()
	_, err = c.Info()
	return err
})

func TestTruth(t *testing.T) {
	t.Parallel()
	conformance.Truth(t, kernel(t))
}

func TestListeners(t *testing.T) {
	t.Parallel()
	conformance.Listeners(t, kernel(t))
}

// It runs alone: package nettest gives a minute to a thousand exchanges, each of which waits behind
// all that is ready to run.
func TestConns(t *testing.T) {
	conformance.Conns(t, kernel(t))
}
