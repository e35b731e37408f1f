package rawsock

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// collect runs what the garbage collector has to run: files that were dropped close their
// descriptors then.
func collect(t *testing.T) {
	t.Helper()
	for range 2 {
		done := make(chan struct{})
		runtime.SetFinalizer(&[16]byte{}, func(*[16]byte) { close(done) })
		runtime.GC()
		select {
		case <-done:
		case <-t.Context().Done():
		}
	}
}

// A change that fails without descriptors leaves the port as it was, and no descriptor to be closed
// a second time. Not parallel: the descriptors are the process's own.
func TestBecomeWithoutDescriptors(t *testing.T) {
	manytests.NeedsMinTTL(t)
	require.True(t, canDrop(false)) // with its probe
	for name, bind := range map[string]func(t *testing.T) network.Port{
		"tcp": func(t *testing.T) network.Port {
			p, err := Loopback{}.Bind(t.Context(), "tcp", "")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.Close()) })
			return p
		},
		"unix": bindFresh,
	} {
		for left := range 2 { // one for a duplicate, and one for package net's
			t.Run(name, func(t *testing.T) {
				p := bind(t)
				states := []network.State{serve, {Answer: network.Listen, Handshake: time.Minute}}
				if name == "unix" {
					states = states[:1]
				}
				t.Run("fails", func(t *testing.T) {
					leaveDescriptors(t, left)
					for _, s := range states {
						err := p.Become(s)
						require.ErrorIs(t, err, syscall.EMFILE)
						require.ErrorContains(t, err, "no descriptors left; close what the test holds open, or raise ulimit -n: ")
					}
				})
				_, err := net.Dial(p.Addr().Network(), p.Addr().String())
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				collect(t)
				require.NoError(t, p.Become(serve))
				c, err := net.Dial(p.Addr().Network(), p.Addr().String())
				require.NoError(t, err)
				defer c.Close()
				s, err := p.Accept()
				require.NoError(t, err)
				defer s.Close()
				requirePasses(t, c, s)
			})
		}
	}
}

// A cut that fails leaves no connection cut, though the port did not listen before. Not parallel:
// the descriptors are the process's own.
func TestCutWithoutDescriptorsCutsNothing(t *testing.T) {
	manytests.NeedsMinTTL(t)
	require.True(t, canDrop(false)) // with its probe
	p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, false)
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Become(serve))
	c, err := net.Dial("tcp", p.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	s, err := p.Accept()
	require.NoError(t, err)
	defer s.Close()
	refuse := network.State{Answer: network.Refuse}
	require.NoError(t, p.Become(refuse))
	t.Run("fails", func(t *testing.T) {
		leaveDescriptors(t, 0)
		refuse.Cut = true
		require.ErrorIs(t, p.Become(refuse), syscall.EMFILE)
	})
	requireRefused(t, p)
	requirePasses(t, c, s)
}
