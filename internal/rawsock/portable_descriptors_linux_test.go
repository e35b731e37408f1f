package rawsock

import (
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// Not parallel: it counts the process's descriptors, and looks at all its goroutines.
func TestPortableLeavesNothing(t *testing.T) {
	before := openDescriptors(t)
	for _, table := range allTables {
		for _, ip := range []net.IP{loopback4, net.IPv6loopback} {
			p := bindTable(t, table(ip.To4() == nil), ip)
			for _, s := range allChanges(p) {
				require.NoError(t, p.Become(s))
			}
			require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: time.Hour}))
			c, err := dial(t, p, 10*time.Second)
			require.NoError(t, err)
			require.NoError(t, p.Close())
			_ = c.Close()
		}
	}
	require.Equal(t, before, openDescriptors(t))
	stacks := make([]byte, 1<<20)
	assert.NotContains(t, string(stacks[:runtime.Stack(stacks, true)]), "(*portable).pump")
}

// leaveDescriptors lets the process open n more descriptors, until the end of the test. The test must not be parallel.
func leaveDescriptors(t *testing.T, n int) {
	t.Helper()
	var old, limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	limit = old
	limit.Cur = uint64(openDescriptors(t) + 32)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { assert.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) })
	var fill []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			break
		}
		fill = append(fill, f)
	}
	t.Cleanup(func() {
		for _, f := range fill {
			_ = f.Close()
		}
	})
	for range n {
		require.NoError(t, fill[0].Close())
		fill = fill[1:]
	}
}

func TestPortableWithoutDescriptors(t *testing.T) {
	p := bindTable(t, asMacOS(false), loopback4)
	queued := bindTable(t, asMacOS(false), loopback4)
	require.NoError(t, queued.Become(serve))
	client, err := dial(t, queued, 10*time.Second)
	require.NoError(t, err)
	defer client.Close()
	t.Run("none left", func(t *testing.T) {
		leaveDescriptors(t, 0)
		_, err := bindPortable(t.Context(), &net.TCPAddr{IP: loopback4}, asMacOS(false))
		require.ErrorIs(t, err, syscall.EMFILE)
		assert.True(t, strings.HasPrefix(err.Error(), "no descriptors left; close what the test holds open, or raise ulimit -n: "), err)

		err = p.Become(refuse) // takes three, and gives one back first
		require.ErrorIs(t, err, syscall.EMFILE)
		assert.ErrorContains(t, err, `did not become "refuse" but "bound": no descriptors left; `)

		for range 2 {
			_, err = queued.Accept()
			require.ErrorIs(t, err, syscall.EMFILE)
		}
	})
	require.NoError(t, p.Become(refuse))
	requireRefused(t, p)
	server, err := queued.Accept()
	require.NoError(t, err)
	defer server.Close()
	requirePasses(t, client, server)
}
