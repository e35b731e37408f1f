package rawsock

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

func bindFresh(t *testing.T) network.Port {
	t.Helper()
	p, err := Loopback{}.Bind(t.Context(), "unix", "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}

func dialUnix(t *testing.T, p network.Port) (network.Conn, error) {
	t.Helper()
	c, err := Loopback{}.Connect(t.Context(), "unix", p.Addr().String(), network.ConnectOptions{})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func unixPair(t *testing.T, p network.Port) (client, server network.Conn) {
	t.Helper()
	client, err := dialUnix(t, p)
	require.NoError(t, err)
	server, err = p.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	requirePasses(t, client, server)
	return client, server
}

func TestUnixCyclesThroughAllStates(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	_, err := dialUnix(t, p)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "from the start")
	absent := network.State{Answer: network.Absent}
	var a, b network.Conn
	for i, s := range []network.State{refuse, serve, refuse, serve, absent, serve, absent, refuse, absent, absent, serve, serve, {}, serve, full(2), serve} {
		require.NoError(t, p.Become(s), "step %d", i)
		switch {
		case s.Backlog > 0:
			for range s.Backlog {
				_, err = dialUnix(t, p)
				require.NoError(t, err)
			}
			_, err = dialUnix(t, p)
			require.ErrorIs(t, err, syscall.EAGAIN, "step %d", i)
			require.NoError(t, p.Become(serve)) // released
			for range s.Backlog {
				c, err := p.Accept()
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
		case s.Answer == network.Listen:
			c, d := unixPair(t, p)
			assert.Equal(t, p.Addr().String(), c.RemoteAddr().String())
			if a == nil {
				a, b = c, d
			}
		case s.Answer == network.Absent:
			_, err = dialUnix(t, p)
			require.ErrorIs(t, err, fs.ErrNotExist, "step %d", i)
		default:
			_, err = dialUnix(t, p)
			require.ErrorIs(t, err, syscall.ECONNREFUSED, "step %d", i)
		}
		if a != nil {
			requirePasses(t, a, b)
		}
	}
}

// A dialer sees the old answer or the new one, at no instant a third.
func TestUnixChangesAtOneInstant(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for c, err := p.Accept(); err == nil; c, err = p.Accept() {
			_ = c.Close()
		}
	})
	stop := make(chan struct{})
	var dialing sync.WaitGroup
	dialing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", p.Addr().String())
			if err == nil {
				_ = c.Close()
			} else if errors.Is(err, syscall.EAGAIN) { // it listens, and its queue is full
				runtime.Gosched()
			} else if !assert.ErrorIs(t, err, syscall.ECONNREFUSED) {
				return
			}
		}
	})
	for range manytests.Rounds(300) {
		require.NoError(t, p.Become(serve))
		require.NoError(t, p.Become(refuse))
	}
	close(stop)
	dialing.Wait()
	require.NoError(t, p.Close())
	accepting.Wait()
}

// The queue is the kernel's also while connections are held in it for a while: it can be full.
func TestUnixHoldsAFullQueue(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	const wait = 50 * time.Millisecond
	err := p.Become(network.State{Answer: network.Listen, Backlog: 2, Hold: wait})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	due := time.Now().Add(wait)
	for range 2 {
		_, err = dialUnix(t, p)
		require.NoError(t, err)
	}
	_, err = dialUnix(t, p)
	require.ErrorIs(t, err, syscall.EAGAIN, "nobody accepts")
	c, err := p.Accept()
	require.NoError(t, err)
	assert.False(t, time.Now().Before(due))
	require.NoError(t, c.Close())
	_, err = dialUnix(t, p)
	require.NoError(t, err, "one was taken")
}

// What connects after a change is not taken by an Accept that began before it.
func TestUnixAcceptHeedsEachChange(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	got := make(chan error, 1)
	go func() {
		_, err := p.Accept()
		got <- err
	}()
	for range manytests.Rounds(500) {
		require.NoError(t, p.Become(serve))
		require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: network.Forever}))
		c, err := dialUnix(t, p)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, p.Become(refuse)) // and what is queued is gone
	}
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-got, net.ErrClosed)
}

func TestUnixResetsWhatNobodyAccepted(t *testing.T) {
	t.Parallel()
	for _, next := range []network.State{refuse, {Answer: network.Absent}} {
		p := bindFresh(t)
		require.NoError(t, p.Become(serve))
		c, err := dialUnix(t, p)
		require.NoError(t, err)
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, p.Become(next))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

func TestUnixCloseRemovesItsFiles(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "rawsock") // shorter than t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, path := range []string{"", filepath.Join(dir, "s"), filepath.Join(dir, strings.Repeat("s", longestPath-len(dir)-1))} {
		for _, states := range [][]network.State{{}, {serve}, {serve, refuse}, {{Answer: network.Absent}}, {serve, {Answer: network.Absent}, serve}} {
			p, err := Loopback{}.Bind(t.Context(), "unix", path)
			require.NoError(t, err)
			for _, s := range states {
				require.NoError(t, p.Become(s), "%v", states)
			}
			got := make(chan error, 1)
			go func() { _, err := p.Accept(); got <- err }()
			require.NoError(t, p.Close())
			require.ErrorIs(t, <-got, net.ErrClosed)
			require.NoError(t, p.Close())
			require.ErrorIs(t, p.Become(serve), net.ErrClosed)
			if path == "" {
				assert.NoDirExists(t, filepath.Dir(p.Addr().String()))
			}
		}
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestUnixSaysWhatIsWrongWithAPath(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	for path, want := range map[string]string{
		"/tmp/" + strings.Repeat("x", 200): "205 bytes; want at most 107",
		"@abstract":                        "want a path in the file system",
		"/no/such/directory":               "no such file or directory; want a path in a directory that is there",
		p.Addr().String():                  "is there already; remove it",
	} {
		_, err := Loopback{}.Bind(t.Context(), "unix", path)
		assert.ErrorContains(t, err, want)
	}
}

func TestUnixSaysWhatItCannot(t *testing.T) {
	t.Parallel()
	p := bindFresh(t)
	for _, s := range []network.State{drop, slow(1), {Answer: network.Listen, SmallWindow: true}} {
		assert.ErrorIs(t, p.Become(s), errors.ErrUnsupported)
	}
	_, _, err := p.Dropped()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = Loopback{}.Connect(t.Context(), "unix", p.Addr().String(), network.ConnectOptions{SmallWindow: true})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, p.Become(serve))
	client, server := unixPair(t, p)
	require.ErrorIs(t, server.Partition(), errors.ErrUnsupported)
	require.ErrorIs(t, server.Reset(), errors.ErrUnsupported)
	require.NoError(t, server.Heal())
	requirePasses(t, client, server)
	require.NoError(t, server.Close())
	for _, err := range []error{server.Partition(), server.Reset(), server.Heal()} {
		assert.ErrorIs(t, err, net.ErrClosed)
	}
}

// requireBothEnds looks at a connection on which the client has sent five bytes that nobody has
// read.
func requireBothEnds(t *testing.T, client, server network.Conn) {
	t.Helper()
	info, err := server.Info()
	require.Equal(t, 5, info.Own.Unread)
	if errors.Is(err, errors.ErrUnsupported) {
		require.Nil(t, info.Other)
		return
	}
	require.NoError(t, err)
	require.NotNil(t, info.Other)
	assert.Zero(t, info.Other.Unread)
	assert.GreaterOrEqual(t, info.Other.Unacked, 5)
	assert.True(t, hasSocket(t, info.Other.Inode))
	back, err := client.Info()
	require.NoError(t, err)
	assert.Equal(t, 5, back.Other.Unread)
	assert.NotEqual(t, info.Other.Inode, back.Other.Inode)
}

func TestUnixConnTellsOfItsOtherEnd(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	p := bindFresh(t)
	require.NoError(t, p.Become(serve))
	for _, tt := range []struct {
		end  func(c network.Conn) error
		want network.PeerState
	}{
		{network.Conn.CloseWrite, network.PeerFIN},
		{network.Conn.Close, network.PeerFIN},
	} {
		client, server := unixPair(t, p)
		_, err := client.Write([]byte("12345"))
		require.NoError(t, err)
		state, err := server.Peer()
		require.NoError(t, err)
		require.Equal(t, network.PeerOpen, state)
		requireBothEnds(t, client, server)
		go func() { _ = tt.end(client) }()
		state, err = server.AwaitPeerEnd()
		require.NoError(t, err)
		assert.Equal(t, tt.want, state)
		_, err = io.ReadFull(server, make([]byte, 5))
		require.NoError(t, err)
	}
	client, server := unixPair(t, p)
	_, err := server.Write([]byte("unread"))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	state, err := server.AwaitPeerEnd()
	require.NoError(t, err)
	assert.Equal(t, network.PeerRST, state)
	info, err := server.Info()
	if !errors.Is(err, errors.ErrUnsupported) {
		require.NoError(t, err)
	}
	assert.Nil(t, info.Other, "it is gone")
}
