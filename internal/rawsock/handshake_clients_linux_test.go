package rawsock

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
)

// A hanging client is a socket whose connect is under way.
type hangingClient struct {
	fd    int
	began time.Time
}

// hang begins to connect to p; a mapped client does so from a socket of IPv6, as Java's are by default.
func hang(t *testing.T, p *port, mapped bool) hangingClient {
	t.Helper()
	family, to := unix.AF_INET, sockaddr(p.addr)
	if mapped {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: p.addr.Port, Addr: [16]byte(p.addr.IP.To16())}
	}
	before, _, err := p.Dropped()
	require.NoError(t, err)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	c := hangingClient{fd, time.Now()}
	require.ErrorIs(t, unix.Connect(fd, to), unix.EINPROGRESS)
	awaitDropped(t, p, before+1)
	return c
}

// connected waits up to d for the end of the connect.
func (c hangingClient) connected(t *testing.T, d time.Duration) bool {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(poll, max(0, int(time.Until(end).Milliseconds())+1))
		if err != unix.EINTR { // by the runtime's own signals
			require.NoError(t, err)
			return n > 0
		}
	}
}

// connects returns the connection, and how long the connect took.
func (c hangingClient) connects(t *testing.T) (net.Conn, time.Duration) {
	t.Helper()
	require.True(t, c.connected(t, 20*time.Second), "it hangs")
	took := time.Since(c.began)
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	require.NoError(t, err)
	require.Zero(t, errno)
	conn, err := connOf(c.fd)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, took
}

func slowPort(t *testing.T, delay time.Duration) *port {
	t.Helper()
	needDiag(t)
	require.True(t, canDrop(false))
	require.True(t, canOpen(false))
	p, err := bindPort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, true)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	require.NoError(t, p.Become(slow(delay)))
	return p
}

// A client that dials ::ffff:127.0.0.1 is a client like any other, and is seen as one.
func TestSlowHandshakeServesMappedClients(t *testing.T) {
	t.Parallel()
	if _, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp6", "[::1]:0"); err != nil {
		t.Skip("no IPv6: ", err)
	}
	const delay = 100 * time.Millisecond
	p := slowPort(t, delay)
	c := hang(t, p, true)
	clients, err := p.Clients()
	require.NoError(t, err)
	require.Len(t, clients, 1)
	assert.Equal(t, "SYN-SENT", clients[0].Socket.State)

	client, took := c.connects(t)
	assert.GreaterOrEqual(t, took, delay)
	assert.Less(t, took, time.Second, "it was a retransmission that connected")
	server, err := p.Accept()
	require.NoError(t, err)
	defer server.Close()
	requirePasses(t, client, server)
	assert.Equal(t, server.RemoteAddr().String(), clients[0].Addr.String())
	info, err := server.Info()
	require.NoError(t, err)
	require.NotNil(t, info.Other, "the client's end")
	assert.Equal(t, "ESTABLISHED", info.Other.State)
	requireBlack(t, p)
}

// Without descriptors no connect is completed early, and none is forgotten. Not parallel: descriptors are the process's own.
func TestSlowHandshakeWithoutDescriptors(t *testing.T) {
	manytests.KernelTimer(t)
	const delay = 1500 * time.Millisecond // the SYN is sent again before that
	for left := range 2 {                 // one for the connection, and one for package net's
		p := slowPort(t, delay)
		c := hang(t, p, false)
		t.Run("none", func(t *testing.T) {
			leaveDescriptors(t, left)
			if c.connected(t, time.Until(c.began.Add(delay+100*time.Millisecond))) {
				assert.Equal(t, 1, left, "there was a descriptor for it")
			}
		})
		client, took := c.connects(t)
		assert.GreaterOrEqual(t, took, delay)
		requireBlack(t, p)
		server, err := p.Accept()
		require.NoError(t, err)
		requirePasses(t, client, server)
		require.NoError(t, server.Close())
	}
}

// A probe that had no descriptors has found out nothing about the kernel.
func TestProbeWithoutDescriptorsIsTriedAgain(t *testing.T) {
	t.Parallel()
	var p probe
	assert.False(t, p.ask(func() (bool, error) { return false, os.NewSyscallError("socket", unix.EMFILE) }))
	assert.True(t, p.ask(func() (bool, error) { return true, nil }))
	assert.True(t, p.ask(func() (bool, error) { return false, nil }), "it is known")
}
