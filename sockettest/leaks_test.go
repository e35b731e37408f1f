package sockettest

import (
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

// waitFor is what a leaked goroutine does; its name is looked for in reports.
func waitFor(quit chan struct{}) { <-quit }

// leaking runs a test that leaks with a goroutine of its own, so that its label does not stay on
// this one.
func leaking(t *testing.T, f func(tb *faketb.TB)) *faketb.TB {
	t.Helper()
	return faketb.Run(t, func(tb *faketb.TB) {
		NoLeaks(tb)
		f(tb)
	})
}

// moment is what has time to end in a test of what does not.
const moment = 50 * time.Millisecond

// leaving is leaking with a moment in place of the 2 s that NoLeaks waits.
func leaving(t *testing.T, f func(tb *faketb.TB)) *faketb.TB {
	t.Helper()
	return faketb.Run(t, func(tb *faketb.TB) {
		noLeaks(tb, moment, nil)
		f(tb)
	})
}

func TestNoLeaksPassesACleanTest(t *testing.T) {
	t.Parallel()
	tb := leaking(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.Echo{})
		Expect(tb, ep, Accepted.Before(10*time.Second), dialing(ep, 0))
		quit := make(chan struct{})
		go waitFor(quit)
		tb.Cleanup(func() { close(quit) })
	})
	assert.Empty(t, tb.Text())
}

func TestNoLeaksNamesTheGoroutine(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	tb := leaving(t, func(*faketb.TB) {
		for range 3 {
			go waitFor(quit)
		}
	})
	golden(t, steady(tb.Text()))
}

func TestNoLeaksIgnoresWhatItIsTold(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeaks(tb, "example.com/go-sockettest/sockettest.waitFor")
		go waitFor(quit)
	})
	assert.Empty(t, tb.Text())
	tb = faketb.Run(t, func(tb *faketb.TB) { NoLeaks(tb, "") })
	assert.True(t, tb.Died())
	golden(t, tb.Text())
}

func TestNoLeaksNamesTheConnection(t *testing.T) {
	manytests.Long(t, "it waits for the 2 s that a leak has to end")
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		network string
	}{
		{"echo", fixtures.Echo{}, "tcp"},
		{"unread", fixtures.Silent{Unread: true}, "tcp"},
		{"unix", fixtures.Echo{}, "unix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needInfo(t, Family(tt.network))
			var leaked net.Conn
			tb := leaking(t, func(tb *faketb.TB) { leaked = acceptedBy(tb, Start(tb, tt.fixture, Family(tt.network))) })
			golden(t, steady(tb.Text()))
			require.NoError(t, leaked.Close())
		})
	}
}

// acceptedBy returns a client that the endpoint has accepted.
func acceptedBy(t testing.TB, ep *fixtures.Endpoint) net.Conn {
	n := len(ep.Conns())
	c, err := ep.DialContext(t.Context(), "", "")
	assert.NoError(t, err)
	assert.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, n+1))
	return c
}

// A client that was made before the fixture is closed after it: no leak.
func TestNoLeaksWaitsForEveryCleanup(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			tb := leaking(t, func(tb *faketb.TB) {
				var c net.Conn
				tb.Cleanup(func() { _ = c.Close() })
				c = acceptedBy(tb, Start(tb, fixtures.Echo{}, Family(network)))
			})
			assert.Empty(t, tb.Text())
		})
	}
}

// Of the clients of a unix socket nobody knows which has left its own open, once the fixture has
// ended several.
func TestNoLeaksNamesNoUnixConnectionByGuess(t *testing.T) {
	t.Parallel()
	needSockets(t)
	needInfo(t, Family("unix"))
	var kept net.Conn
	for conns, want := range map[int]string{1: "conn       #1 from ", 4: "still on the client's side, one of 4 from #1 to #4, or not accepted"} {
		tb := leaving(t, func(tb *faketb.TB) {
			ep := Start(tb, fixtures.Echo{}, Family("unix"))
			for i := range conns {
				c := connect(tb, ep)
				assert.NoError(t, c.(*net.UnixConn).CloseWrite())
				_, err := c.Read(make([]byte, 1))
				assert.ErrorIs(t, err, io.EOF, "the fixture has ended it")
				if i == 0 {
					kept = c
				} else {
					assert.NoError(t, c.Close())
				}
			}
		})
		assert.Contains(t, tb.Text(), oneConnection)
		assert.Contains(t, tb.Text(), want)
		assert.NoError(t, kept.Close())
	}
}

// The clients of a unix socket have no addresses: what is left open is told from what was closed
// all the same, and from what a neighbour has open.
func TestNoLeaksTellsUnixClientsApart(t *testing.T) {
	t.Parallel()
	needSockets(t)
	needInfo(t, Family("unix"))
	neighbour := acceptedBy(t, Start(t, fixtures.Echo{}, Family("unix")))
	defer neighbour.Close()
	var leaked net.Conn
	tb := leaving(t, func(tb *faketb.TB) {
		var late net.Conn
		tb.Cleanup(func() { _ = late.Close() }) // after the fixture
		ep := Start(tb, fixtures.Silent{Unread: true}, Family("unix"))
		first := acceptedBy(tb, ep)
		leaked, late = acceptedBy(tb, ep), acceptedBy(tb, ep)
		assert.NoError(t, first.Close())
	})
	assert.NoError(t, leaked.Close())
	assert.Contains(t, tb.Text(), "leak: 1 connection left behind")
	assert.Contains(t, tb.Text(), "conn       #2 ")
	tb = leaking(t, func(tb *faketb.TB) {
		_ = acceptedBy(tb, Start(tb, fixtures.Echo{}, Family("unix"))).Close()
	})
	assert.Empty(t, tb.Text())
}

// While our end of one connection is open, the socket at the other is not that of another one.
func TestSuspectsOnAUnixSocket(t *testing.T) {
	t.Parallel()
	needSockets(t)
	needInfo(t, Family("unix"))
	ep := Start(t, fixtures.Silent{Unread: true}, Family("unix"))
	defer acceptedBy(t, ep).Close()
	defer acceptedBy(t, ep).Close()
	require.NoError(t, ep.Conns()[1].Close())
	found := unseen(ep).suspects()
	require.Len(t, found, 2)
	for i, s := range found {
		assert.Equal(t, ep.Conns()[i], s.conn)
		assert.Empty(t, s.oneOf)
	}
}

// A dial that goes on after its caller has given up ends with the black hole, at its next SYN.
func TestNoLeaksAwaitsOneSYN(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	tb := leaking(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.BlackHole{})
		go func() {
			c, err := net.Dial("tcp", ep.Addr())
			if err == nil {
				_ = c.Close()
			}
		}()
		assert.NoError(t, ep.Await(tb.Context(), fixtures.SYN, 1))
	})
	assert.Empty(t, tb.Text())
}

func TestNoLeaksStandsAside(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	tb := leaking(t, func(tb *faketb.TB) {
		go waitFor(quit)
		tb.Errorf("something else")
	})
	assert.Equal(t, "something else", tb.Text())
	tb = leaking(t, func(tb *faketb.TB) {
		go waitFor(quit)
		tb.Skipf("not today")
	})
	assert.Empty(t, tb.Text())
}

// What a test inside did not look for is looked for by the one around it, and what it did is not.
func TestNoLeaksOfASkippedSubtest(t *testing.T) {
	if !manytests.Alone(t) { // where a look at all goroutines is cheap
		return
	}
	quit := make(chan struct{})
	defer close(quit)
	ignored := "example.com/go-sockettest/sockettest.waitFor"
	for _, tt := range []struct {
		name  string
		inner func(tb *faketb.TB)
		found string // empty for nothing
	}{
		{"skipped", func(tb *faketb.TB) { NoLeaks(tb); go waitFor(quit); tb.Skipf("not today") }, "leak: 1 goroutine"},
		{"failed", func(tb *faketb.TB) { NoLeaks(tb); go waitFor(quit); tb.Fatalf("no") }, "leak: 1 goroutine"},
		{"skipped inside one skipped", func(tb *faketb.TB) {
			NoLeaks(tb)
			go waitFor(quit)
			faketb.Run(tb, func(tb *faketb.TB) { NoLeaks(tb); go waitForever(quit); tb.Skipf("not today") })
			tb.Skipf("not today")
		}, "leak: 2 goroutines"},
		{"closed", func(*faketb.TB) { w := WatchLeaks(); go waitFor(quit); w.Close() }, "leak: 1 goroutine"},
		{"skipped, ignored there", func(tb *faketb.TB) { NoLeaks(tb, ignored); go waitFor(quit); tb.Skipf("not today") }, ""},
		{"reported there", func(tb *faketb.TB) { noLeaks(tb, moment, nil); go waitFor(quit) }, ""},
		{"skipped, clean", func(tb *faketb.TB) { NoLeaks(tb); tb.Skipf("not today") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := leaving(t, func(tb *faketb.TB) { faketb.Run(tb, tt.inner) })
			if tt.found == "" {
				assert.Empty(t, tb.Text())
				return
			}
			assert.Contains(t, tb.Text(), tt.found)
			assert.Contains(t, tb.Text(), "sockettest.waitFor")
		})
	}
	tb := leaking(t, func(tb *faketb.TB) {
		NoLeaks(tb, ignored)
		faketb.Run(tb, func(tb *faketb.TB) { NoLeaks(tb); go waitFor(quit); tb.Skipf("not today") })
	})
	assert.Empty(t, tb.Text(), "ignored by the test around it")
}

// What a second call ignores is ignored beside what the first does.
func TestNoLeaksTwice(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	tb := leaving(t, func(tb *faketb.TB) {
		NoLeaks(tb, "example.com/go-sockettest/sockettest.waitFor")
		go waitFor(quit)
		go waitForever(quit)
	})
	assert.Equal(t, 1, strings.Count(tb.Text(), "leak: 1 goroutine"))
	assert.Contains(t, tb.Text(), "sockettest.waitForever")
}

// The one that leaks is named, its parallel neighbours are not.
func TestNoLeaksBlamesNoNeighbour(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	started := make(chan struct{})
	done := make(chan *faketb.TB)
	var leaked net.Conn
	go func() {
		done <- leaving(t, func(tb *faketb.TB) {
			go waitFor(quit)
			ep := Start(tb, fixtures.Echo{})
			leaked, _ = ep.DialContext(tb.Context(), "", "")
			assert.NoError(t, ep.Await(tb.Context(), fixtures.ConnAccepted, 1))
			close(started)
		})
	}()
	<-started
	for range 10 {
		tb := leaking(t, func(tb *faketb.TB) {
			ep := Start(tb, fixtures.Echo{})
			Expect(tb, ep, Accepted.Before(10*time.Second), dialing(ep, 0))
		})
		assert.Empty(t, tb.Text())
	}
	text := (<-done).Text()
	assert.Contains(t, text, "leak: 1 goroutine and 1 connection left behind")
	assert.Contains(t, text, "sockettest.waitFor")
	close(quit)
	assert.NoError(t, leaked.Close())
}

// Subtests and what they start belong to the test that asked.
func TestNoLeaksCoversSubtests(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	tb := leaving(t, func(*faketb.TB) {
		t.Run("sub", func(*testing.T) { go waitFor(quit) })
	})
	assert.Contains(t, tb.Text(), "sockettest.waitFor")
}

// waitForever is what a goroutine does that a test leaks for good.
func waitForever(never chan struct{}) { <-never }

// A round is a test that another one runs again and again, as those of properties do: with a new T
// each time, on one goroutine.
type round struct {
	testing.TB
	cleanups []func()
}

func (r *round) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *round) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

// What an earlier round started is no fixture of this one's.
func TestNoLeaksInRounds(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) {
		for range 2 {
			without := &round{TB: tb}
			Start(without, fixtures.Echo{})
			without.end()
			with := &round{TB: tb}
			NoLeaks(with)
			Start(with, fixtures.Echo{})
			with.end()
		}
	})
	assert.Empty(t, tb.Text())
}

// Goroutines are a fixture's own if a fixture has started them, however it does that.
func TestGoroutinesOfFixtures(t *testing.T) {
	t.Parallel()
	of := fixturesPath + ".(*Endpoint).accept  endpoint.go:1"
	for _, tt := range []struct {
		frames []string
		want   bool
	}{
		{nil, false},
		{[]string{of}, true},
		{[]string{"net.(*netFD).Read  fd_posix.go:68", fixturesPath + "/udp.(*Endpoint).serve  endpoint.go:1"}, true},
		{[]string{of, "sync.(*WaitGroup).Go.func1  waitgroup.go:239"}, true},
		{[]string{of, patiencePath + "Go  patience.go:1", "sync.(*WaitGroup).Go.func1  waitgroup.go:239"}, true},
		{[]string{of, "db.(*pool).dial  pool.go:17"}, false},
		{[]string{"db.(*pool).reap  pool.go:17", "sync.(*WaitGroup).Go.func1  waitgroup.go:239"}, false},
		{[]string{"sync.(*WaitGroup).Go.func1  waitgroup.go:239"}, false},
	} {
		assert.Equal(t, tt.want, stuck{frames: tt.frames}.ofFixture(), "%q", tt.frames)
	}
}

// Of a stack of more than a hundred frames the dump leaves out the middle, in one line.
func TestFramesOfADeepStack(t *testing.T) {
	t.Parallel()
	var deep func(n int) string
	deep = func(n int) string {
		if n == 0 {
			b := make([]byte, 1<<16)
			return string(b[:runtime.Stack(b, false)])
		}
		return deep(n - 1)
	}
	dump := deep(200)
	require.Contains(t, dump, "frames elided...")
	frames := framesOf(dump)
	assert.Greater(t, len(frames), 50)
	for _, f := range frames {
		assert.Regexp(t, `^\S+  \w+\.go:\d+$`, f)
	}
}
