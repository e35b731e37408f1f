package rawsock

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// socketsAt returns this process's sockets of a family at an address: TCP and UDP have ports of
// their own.
func socketsAt(t *testing.T, family, local string) (found []Socket) {
	t.Helper()
	all, err := Sockets()
	require.NoError(t, err)
	for _, s := range all {
		if s.Local == local && strings.HasPrefix(s.Family, family) {
			found = append(found, s)
		}
	}
	return found
}

func hasSocket(t *testing.T, inode uint64) bool {
	t.Helper()
	all, err := Sockets()
	require.NoError(t, err)
	return slices.ContainsFunc(all, func(s Socket) bool { return s.Inode == inode })
}

// A socket whose connection has ended keeps both its addresses for as long as it is open.
func TestSocketsShowsWhatHasEnded(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		for name, end := range map[string]func(network.Conn) error{"FIN": network.Conn.Close, "RST": network.Conn.Reset} {
			client, server := pair(t, p)
			at := client.LocalAddr().String()
			if name == "FIN" {
				require.NoError(t, client.(*conn).CloseWrite())
			}
			require.NoError(t, end(server))
			_, _ = client.Read(make([]byte, 1))
			found := slices.DeleteFunc(socketsAt(t, "tcp", at), func(s Socket) bool { return s.Remote != p.Addr().String() })
			require.Len(t, found, 1, name)
			assert.Equal(t, "CLOSED", found[0].State, name)
		}
	})
}

func TestSocketsShowsWhatIsOpen(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		nw := tcpNetwork(p.Addr().(*net.TCPAddr))
		client, server := pair(t, p)
		at := client.LocalAddr().String()
		clients := func() []Socket { // a neighbour's may have the same local port, to another address
			return slices.DeleteFunc(socketsAt(t, "tcp", at), func(s Socket) bool { return s.Remote != p.Addr().String() })
		}
		found := clients()
		require.Len(t, found, 1)
		assert.Equal(t, Socket{Inode: found[0].Inode, Family: nw, Local: at, Remote: p.Addr().String(), State: "ESTABLISHED"}, found[0])
		assert.True(t, hasSocket(t, found[0].Inode))
		require.Len(t, socketsAt(t, "tcp", p.Addr().String()), 2, "the listener and the accepted end")

		f, err := client.(*conn).File()
		require.NoError(t, err)
		require.NoError(t, client.Close())
		assert.Len(t, clients(), 1, "a duplicate keeps it open")
		require.NoError(t, f.Close())
		assert.Empty(t, clients())
		require.NoError(t, server.Close())
		require.Len(t, socketsAt(t, "tcp", p.Addr().String()), 1)
	})
}

func TestSocketsShowsUnixAndUDP(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	for _, at := range []struct{ network, address, family string }{
		{"unixgram", filepath.Join(t.TempDir(), "s"), "unix"}, {"udp4", "127.0.0.1:0", "udp4"}, {"udp6", "[::1]:0", "udp6"},
	} {
		needs(t, at.network == "udp6")
		c, err := (&net.ListenConfig{}).ListenPacket(t.Context(), at.network, at.address)
		require.NoError(t, err)
		local := c.LocalAddr().String()
		found := socketsAt(t, at.family, local)
		require.Len(t, found, 1)
		assert.Equal(t, Socket{Inode: found[0].Inode, Family: at.family, Local: local}, found[0])
		require.NoError(t, c.Close())
		assert.Empty(t, socketsAt(t, at.family, local))
	}
}

// A port alone does not make a client: another socket may have it, by now.
func TestClientsAreNotWhoeverHasThePort(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	p, err := Loopback{}.Bind(t.Context(), "tcp4", "")
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Become(serve))
	number := func(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }
	isClient := func(udp bool, own, port net.Addr) bool {
		all, err := Clients(udp, int(number(port)))
		require.NoError(t, err)
		return all[number(own)]
	}
	client, server := pair(t, p)
	at := client.LocalAddr()
	assert.True(t, isClient(false, at, p.Addr()))
	assert.False(t, isClient(false, at, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}), "it is connected elsewhere")
	assert.False(t, isClient(true, at, p.Addr()), "it is of TCP")
	require.NoError(t, server.Reset())
	assert.True(t, isClient(false, at, p.Addr()))
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
	assert.True(t, isClient(false, at, p.Addr()), "it was reset")
	require.NoError(t, client.Close())
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", at.String())
	if err == nil { // else a neighbour has it
		assert.False(t, isClient(false, at, p.Addr()), "it listens")
		require.NoError(t, ln.Close())
	}

	u, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer u.Close()
	assert.True(t, isClient(true, u.LocalAddr(), p.Addr()), "it may send anywhere")
	c, err := new(net.Dialer).DialContext(t.Context(), "udp4", u.LocalAddr().String())
	require.NoError(t, err)
	defer c.Close()
	assert.True(t, isClient(true, c.LocalAddr(), u.LocalAddr()))
	assert.False(t, isClient(true, c.LocalAddr(), p.Addr()), "it is connected elsewhere")
}
