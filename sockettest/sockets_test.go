package sockettest

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/simnet"
)

// leakedSocket keeps what a child of TestMain's own tests leaks from the garbage collector, which
// would close it.
var leakedSocket io.Closer

// openSocket opens a socket of one kind, and leaves it to the caller.
func openSocket(t testing.TB, kind string) io.Closer {
	var c io.Closer
	var err error
	switch kind {
	case "connection":
		ep, err := fixtures.Start(t.Context(), fixtures.Echo{}, fixtures.Place{})
		require.NoError(t, err)
		conn, err := ep.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		require.NoError(t, ep.Close())
		return conn
	case "listener":
		c, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	case "udp":
		c, err = (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	case "unix":
		c, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	}
	require.NoError(t, err)
	return c
}

func needSockets(t *testing.T) {
	t.Helper()
	if _, err := rawsock.Sockets(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
}

// tellsForever: Go 1.27 and later tell which goroutines nothing can wake any more.
func tellsForever() bool { return pprof.Lookup(foreverProfile) != nil }

// Sockets are the whole process's.
func TestNoLeakedSocketsNamesEachKind(t *testing.T) {
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	var leaked []io.Closer
	tb := faketb.Run(t, func(tb *faketb.TB) {
		noLeakedSockets(tb, moment)
		for _, kind := range []string{"connection", "listener", "udp", "unix"} {
			leaked = append(leaked, openSocket(t, kind))
		}
	})
	for _, c := range leaked {
		require.NoError(t, c.Close())
	}
	lines := strings.Split(steady(strings.ReplaceAll(tb.Text(), filepath.Dir(t.TempDir()), "DIR")), "\n")
	slices.Sort(lines[1:]) // they were sorted with their ports
	golden(t, strings.Join(lines, "\n"))
}

func TestNoLeakedSocketsPassesWhatCloses(t *testing.T) {
	needSockets(t)
	old := openSocket(t, "udp")
	defer old.Close()
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeakedSockets(tb)
		ep := Start(tb, fixtures.Echo{})
		c, err := ep.DialContext(tb.Context(), "", "")
		assert.NoError(t, err)
		tb.Cleanup(func() { _ = c.Close() })
	})
	assert.Empty(t, tb.Text())
}

// A dial that goes on after its caller has given up closes its socket with the next SYN.
func TestNoLeakedSocketsAwaitsOneSYN(t *testing.T) {
	manytests.KernelTimer(t)
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	NoLeaks(t)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeakedSockets(tb)
		ep := Start(tb, fixtures.BlackHole{})
		go func() {
			if c, err := (&net.Dialer{}).DialContext(context.WithoutCancel(tb.Context()), "tcp", ep.Addr()); err == nil {
				_ = c.Close()
			}
		}()
		assert.NoError(t, ep.Await(tb.Context(), fixtures.SYN, 1))
	})
	assert.Empty(t, tb.Text())
}

// A parallel neighbour is never blamed: package testing lets it go on only when this test is over.
func TestNoLeakedSocketsBlamesNoNeighbour(t *testing.T) {
	needSockets(t)
	var neighbour atomic.Bool
	t.Run("group", func(t *testing.T) {
		t.Run("neighbour", func(t *testing.T) {
			t.Parallel()
			c := openSocket(t, "udp")
			neighbour.Store(true)
			assert.NoError(t, c.Close())
		})
		t.Run("alone", func(t *testing.T) {
			NoLeakedSockets(t)
			t.Cleanup(func() { assert.False(t, neighbour.Load()) })
		})
	})
	assert.True(t, neighbour.Load())
}

func TestNoLeakedSocketsRefusesParallelTests(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { NoLeakedSockets(tb) })
	assert.True(t, tb.Died())
	golden(t, tb.Text())
}

func TestNoLeakedSocketsStandsAside(t *testing.T) {
	needSockets(t)
	var leaked io.Closer
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeakedSockets(tb)
		leaked = openSocket(t, "udp")
		tb.Errorf("something else")
	})
	require.NoError(t, leaked.Close())
	assert.Equal(t, "something else", tb.Text())
	NoLeakedSockets(nil)
}

// Go 1.27 tells a goroutine that nothing can wake from one that is merely slow.
func TestNoLeaksTellsWhatIsBlockedForEver(t *testing.T) {
	t.Parallel()
	if !tellsForever() {
		t.Skip("Go 1.27 and later have the profile goroutineleak")
	}
	slow := make(chan struct{})
	defer close(slow)
	tb := leaving(t, func(*faketb.TB) {
		for range 2 {
			go waitForever(make(chan struct{}))
		}
		go waitForever(slow)
	})
	golden(t, steady(tb.Text()))
}

func TestStuckNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		count, forever int
		want           string
	}{{1, 0, ""}, {1, 1, "blocked forever"}, {3, 0, "3 of them"}, {3, 3, "3 of them, blocked forever"},
		{3, 2, "3 of them, 2 blocked forever"}} {
		assert.Equal(t, tt.want, stuck{count: tt.count, forever: tt.forever}.numbers())
	}
}

func TestTellForever(t *testing.T) {
	t.Parallel()
	all := []stuck{{count: 3, at: "0x1"}, {count: 1, at: "0x2"}}
	tellForever(all, []stuck{{count: 2, at: "0x1"}, {count: 7, at: "0x3"}})
	assert.Equal(t, []stuck{{count: 3, at: "0x1", forever: 2}, {count: 1, at: "0x2"}}, all)
}

// What is at the other end of a leaked socket says who forgot it.
func TestPeerOfALeakedSocket(t *testing.T) {
	t.Parallel()
	recentFixtures.want(1)
	defer recentFixtures.want(-1)
	ep := Start(t, fixtures.Echo{})
	fixture := rawsock.Socket{Family: "tcp4", Local: ep.Addr(), Remote: "127.0.0.1:2", State: "CLOSE-WAIT"}
	for name, tt := range map[string]struct {
		socket rawsock.Socket
		beside []rawsock.Socket
		want   string
	}{
		"no peer": {rawsock.Socket{Family: "tcp4", Local: "127.0.0.1:1", State: "LISTEN"}, []rawsock.Socket{fixture}, ""},
		"gone": {rawsock.Socket{Family: "tcp4", Local: "127.0.0.1:1", Remote: "127.0.0.1:9"}, []rawsock.Socket{fixture},
			"; its peer is closed, or in another process"},
		"a fixture": {rawsock.Socket{Family: "tcp4", Local: "127.0.0.1:2", Remote: ep.Addr()}, []rawsock.Socket{fixture},
			"; its peer Echo{} on " + ep.Addr() + " is open in this process, too (CLOSE-WAIT)"},
		"a fixture that has closed": {rawsock.Socket{Family: "tcp4", Local: "127.0.0.1:3", Remote: ep.Addr()}, []rawsock.Socket{fixture},
			"; its peer Echo{} on " + ep.Addr() + " is closed, or in another process"},
		"ours": {rawsock.Socket{Family: "tcp4", Local: "127.0.0.1:4", Remote: "127.0.0.1:5"},
			[]rawsock.Socket{fixture, {Family: "tcp6", Local: "127.0.0.1:5", Remote: "127.0.0.1:4", State: "ESTABLISHED"}},
			"; its peer is open in this process, too (ESTABLISHED)"},
		"unix": {rawsock.Socket{Family: "unix", Local: "@", Remote: "/s"}, []rawsock.Socket{{Family: "unix", Local: "/s", Remote: "@"}},
			"; its peer is open in this process, too"},
		"a listener is no peer": {rawsock.Socket{Family: "unix", Local: "@", Remote: "/s"}, []rawsock.Socket{{Family: "unix", Local: "/s"}},
			"; its peer is closed, or in another process"},
		"UDP": {rawsock.Socket{Family: "udp4", Local: "127.0.0.1:6", Remote: "127.0.0.1:7"},
			[]rawsock.Socket{{Family: "udp4", Local: "127.0.0.1:7"}},
			"; its peer is open in this process, too"},
		"a TCP listener is no peer of UDP": {rawsock.Socket{Family: "udp4", Local: "127.0.0.1:6", Remote: "127.0.0.1:8"},
			[]rawsock.Socket{{Family: "tcp4", Local: "127.0.0.1:8", State: "LISTEN"}},
			"; its peer is closed, or in another process"},
	} {
		assert.Equal(t, tt.want, peerText(tt.socket, socketsByEnds(tt.beside)), name)
	}
}

// Fixtures are remembered while somebody wants to know, the latest of them.
func TestRecentFixturesAreWanted(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	var all []*fixtures.Endpoint
	for range keepRecent + 1 {
		all = append(all, Start(t, fixtures.Refused{}, On(nw)))
	}
	var r recent
	r.add(all[0])
	assert.Empty(t, r.at(all[0].Addr()), "nobody wanted to know")
	r.want(1)
	r.want(1)
	for _, ep := range all {
		r.add(ep)
	}
	r.want(-1)
	assert.Empty(t, r.at(all[0].Addr()), "too long ago")
	for _, ep := range all[1:] {
		assert.Equal(t, ep.String(), r.at(ep.Addr()))
	}
	r.want(-1)
	assert.Empty(t, r.at(all[1].Addr()), "nobody wants to know any more")
}

// What is about to end has all of the grace, and no more.
func TestPollWaitsForAllOfTheGrace(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, time.Microsecond, time.Millisecond, 250 * time.Millisecond, settle} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			poll(grace, func() bool { return false })
			assert.Equal(t, grace, time.Since(begun))
		})
	}
}
