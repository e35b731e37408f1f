// Package scenarios_test keeps the facts of the tutorial that the project grew from, one table for each: what opening a
// socket can end in, what a client sees of a server that never listens, and what a limit on each call does about it.
//
//	go test -run Scenario -table
//
// prints them with what was seen here. Limits are scaled down from the tutorial's 3 s, which one test keeps.
package scenarios_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/client"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

const (
	// limit stands for the tutorial's 3 s.
	limit = 100 * time.Millisecond
	// ample is what no call here takes, were it not for a fault.
	ample = 10 * time.Second
)

var families = []string{"tcp4", "tcp6"}

// dialing connects, passes a byte each way and closes.
func dialing(d client.Dialer, addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	}
}

// TestScenarioThreeWaysToEnd: opening a socket is accepted, rejected, or never answered.
func TestScenarioThreeWaysToEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    sockettest.Want
		is      error
	}{
		{"accept: both sides send and receive", fixtures.Echo{}, sockettest.Accepted.Before(ample), nil},
		{"reject: nobody listens", fixtures.Refused{}, rejected(ample), refusal()},
		{"accept timeout: nobody answers", fixtures.BlackHole{}, sockettest.TimedOut.After(limit).In("connect"), nil},
	} {
		for _, family := range families {
			t.Run(tt.name+"/"+family, func(t *testing.T) {
				t.Parallel()
				sockettest.NoLeaks(t)
				ep := sockettest.Start(t, tt.fixture, sockettest.Network(family))
				d := client.Dialer{Timeout: limit}
				if tt.is != nil || tt.fixture == (fixtures.Echo{}) {
					d.Timeout = ample
				}
				r := show(t, "settimeout, then connect", ep, tt.want, dialing(d, ep.Addr()))
				if tt.is != nil {
					assert.ErrorIs(t, r.Err, tt.is)
				}
			})
		}
	}
}

// TestScenarioWrongParameters: the other way to be rejected is to ask for what cannot be.
func TestScenarioWrongParameters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, network, address string
		is                     func(error) bool
	}{
		{"no port", "tcp", "127.0.0.1", isA[*net.AddrError]},
		{"port out of range", "tcp", "127.0.0.1:65536", isA[*net.AddrError]},
		{"unknown network", "carrier pigeon", "127.0.0.1:80", isA[net.UnknownNetworkError]},
		{"no address of that family", "tcp6", "127.0.0.1:80", isA[*net.AddrError]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Dialer{}.Dial(tt.network, tt.address)
			require.True(t, tt.is(err), "%T %v", err, err)
			assert.Equal(t, sockettest.Rejected, sockettest.Classify(err)[0].Outcome)
		})
	}
}

func isA[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

// servers are the tutorial's one, that binds and never listens, and the two that answer the same on every platform.
func servers() []server {
	silence := server{"BlackHole", fixtures.BlackHole{}, sockettest.Blocked.For(limit), sockettest.TimedOut.After(limit).In("connect")}
	refusing := server{"Refused", fixtures.Refused{}, rejected(ample), rejected(limit)}
	bound := refusing
	if runtime.GOOS == "darwin" || runtime.GOOS == "openbsd" || runtime.GOOS == "netbsd" {
		bound = silence // the platform's own answer: none
	}
	bound.name, bound.fixture = "BoundOnly", fixtures.BoundOnly{}
	return []server{bound, refusing, silence}
}

type server struct {
	name      string
	fixture   fixtures.Fixture
	unlimited sockettest.Want // of a client without a timeout
	limited   sockettest.Want // of a client that gives up after limit
}

// eachServer runs f on every server and family, one after the other: the default timeout is the whole process's.
func eachServer(t *testing.T, f func(t *testing.T, s server, ep *fixtures.Endpoint)) {
	t.Helper()
	for _, s := range servers() {
		for _, family := range families {
			t.Run(s.name+"/"+family, func(t *testing.T) {
				sockettest.NoLeaks(t)
				f(t, s, sockettest.Start(t, s.fixture, sockettest.Network(family)))
			})
		}
	}
}

// TestScenario1NoTimeout: connect, and wait for as long as it takes.
func TestScenario1NoTimeout(t *testing.T) {
	eachServer(t, func(t *testing.T, s server, ep *fixtures.Endpoint) {
		show(t, "1: connect, no timeout", ep, s.unlimited, dialing(client.Dialer{}, ep.Addr()))
	})
}

// TestScenario1StillWaiting: a call that heeds no context is let go by the fixture, with the next SYN.
func TestScenario1StillWaiting(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, fixtures.BlackHole{})
	r := show(t, "1: connect, no timeout, no context", ep, sockettest.Blocked.For(limit), func() error {
		_, err := client.Dialer{}.Dial("tcp", ep.Addr())
		return err
	})
	assert.Equal(t, "connect", r.Phase)
}

// TestScenario2SetTimeout: the socket gives up once its limit has passed.
func TestScenario2SetTimeout(t *testing.T) {
	eachServer(t, func(t *testing.T, s server, ep *fixtures.Endpoint) {
		show(t, "2: settimeout, then connect", ep, s.limited, dialing(client.Dialer{Timeout: limit}, ep.Addr()))
	})
}

// TestScenario3SetDefaultTimeout: so does every new socket, once the default is set.
func TestScenario3SetDefaultTimeout(t *testing.T) {
	eachServer(t, func(t *testing.T, s server, ep *fixtures.Endpoint) {
		client.SetDefaultTimeout(t, limit)
		show(t, "3: setdefaulttimeout, then connect", ep, s.limited, dialing(client.Dialer{}, ep.Addr()))
	})
	assert.Zero(t, client.DefaultTimeout(), "it ends with the test that set it")
}

// TestScenarioAsInTheTutorial keeps its 3 s.
func TestScenarioAsInTheTutorial(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3 s; not with -short")
	}
	t.Parallel()
	const three = 3 * time.Second
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, fixtures.BlackHole{})
	show(t, "2: settimeout(3), then connect", ep, sockettest.TimedOut.After(three).In("connect"),
		dialing(client.Dialer{Timeout: three}, ep.Addr()))
}

// TestScenarioErrno: on Linux, a connect to a socket that is bound and not listening fails with errno 111.
func TestScenarioErrno(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.BoundOnly{})
	_, err := client.Dialer{Timeout: ample}.Dial("tcp", ep.Addr())
	switch runtime.GOOS {
	case "linux":
		errno, ok := errors.AsType[syscall.Errno](err)
		require.True(t, ok)
		assert.Equal(t, syscall.ECONNREFUSED, errno)
		assert.EqualValues(t, 111, errno)
	case "darwin", "openbsd", "netbsd":
		assert.Equal(t, sockettest.TimedOut, sockettest.Classify(err)[0].Outcome)
	default:
		assert.Equal(t, sockettest.Rejected, sockettest.Classify(err)[0].Outcome)
	}
}

// TestScenarioEachCall: the timeout bounds connect, accept, send and recv alike.
func TestScenarioEachCall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		call    string
		fixture fixtures.Fixture
		do      func(t *testing.T, ep *fixtures.Endpoint) (op func() error)
	}{
		{"connect", fixtures.BlackHole{}, func(_ *testing.T, ep *fixtures.Endpoint) func() error {
			return func() error { _, err := client.Dialer{Timeout: limit}.Dial("tcp", ep.Addr()); return err }
		}},
		{"accept", fixtures.Echo{}, func(t *testing.T, _ *fixtures.Endpoint) func() error {
			ln := listen(t)
			require.NoError(t, ln.SetTimeout(limit))
			return func() error { _, err := ln.Accept(); return err }
		}},
		{"read", fixtures.Silent{}, func(t *testing.T, ep *fixtures.Endpoint) func() error {
			c := connect(t, ep)
			return func() error { _, err := c.Read(make([]byte, 1)); return err }
		}},
		{"read", fixtures.SlowAccept{Delay: time.Hour}, func(t *testing.T, ep *fixtures.Endpoint) func() error {
			c := connect(t, ep)
			return func() error { _, err := c.Read(make([]byte, 1)); return err }
		}},
		{"write", fixtures.NeverRead{}, func(t *testing.T, ep *fixtures.Endpoint) func() error {
			c, much := connect(t, ep), make([]byte, 1<<20)
			return func() error { _, err := c.Write(much); return err }
		}},
	} {
		t.Run(tt.call+" "+ep(tt.fixture), func(t *testing.T) {
			t.Parallel()
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, tt.fixture)
			show(t, "settimeout, then "+tt.call, ep, sockettest.TimedOut.After(limit).In(tt.call), tt.do(t, ep))
		})
	}
}

// TestScenarioLimitIsForEachCall: each call has the whole limit again, so that a slow peer that goes on is heard out. In
// virtual time, where a machine that stalls takes nothing of the limit.
func TestScenarioLimitIsForEachCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		peer, ours := net.Pipe()
		d := client.Dialer{Timeout: limit, Connect: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		c, err := d.DialContext(t.Context(), "tcp", "peer")
		require.NoError(t, err)
		var serving sync.WaitGroup
		serving.Go(func() {
			defer peer.Close()
			for range 5 {
				time.Sleep(limit - 1)
				_, _ = peer.Write([]byte("x"))
			}
			_, _ = peer.Read(make([]byte, 1)) // until the client closes
		})
		begin := time.Now()
		for range 5 {
			_, err := c.Read(make([]byte, 1))
			require.NoError(t, err)
		}
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 6*limit-5, time.Since(begin))
		require.NoError(t, c.Close())
		serving.Wait()
	})
}

// TestScenarioDefaultInEveryGoroutine: the default holds for sockets made afterwards, anywhere; earlier ones keep theirs.
func TestScenarioDefaultInEveryGoroutine(t *testing.T) {
	sockettest.NoLeaks(t)
	silent := sockettest.Start(t, fixtures.Silent{})
	hole := sockettest.Start(t, fixtures.BlackHole{})
	earlier, err := client.Dialer{}.Dial("tcp", silent.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = earlier.Close() })

	client.SetDefaultTimeout(t, limit)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			sockettest.Expect(t, hole, sockettest.TimedOut.After(limit).In("connect"), dialing(client.Dialer{}, hole.Addr()))
		})
	}
	wg.Wait()
	assert.Zero(t, earlier.Timeout())
	show(t, "3: recv on an earlier socket", silent, sockettest.Blocked.For(2*limit), func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = earlier.Close() })()
		_, err := earlier.Read(make([]byte, 1))
		return err
	})
}

// TestScenarioSlowServer: a server that is slow to accept does not delay the connect, one whose handshake is slow does.
func TestScenarioSlowServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		want    sockettest.Want
	}{
		{"in time", fixtures.SlowAccept{Delay: limit}, sockettest.Accepted.After(limit).Before(ample)},
		{"accepts too late", fixtures.SlowAccept{Delay: time.Hour}, sockettest.TimedOut.After(limit).In("read")},
		{"answers too late", fixtures.SlowHandshake{Delay: time.Hour}, sockettest.TimedOut.After(limit).In("connect")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, tt.fixture)
			d := client.Dialer{Timeout: limit}
			if tt.name == "in time" {
				d.Timeout = ample
			}
			show(t, "settimeout, then connect, send, recv", ep, tt.want, dialing(d, ep.Addr()))
		})
	}
}

// connect opens a socket with the limit on each call, closed with the test.
func connect(t *testing.T, ep *fixtures.Endpoint) *client.Conn {
	t.Helper()
	c, err := client.Dialer{Timeout: ample}.Dial("tcp", ep.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetTimeout(limit))
	return c
}

func listen(t *testing.T) *client.Listener {
	t.Helper()
	below, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = below.Close() })
	ln, err := client.NewListener(below)
	require.NoError(t, err)
	return ln
}

// rejected is how a client that gives up after d sees a refusal. Windows asks again for 2 s before it tells.
func rejected(d time.Duration) sockettest.Want {
	if runtime.GOOS == "windows" && d < 2*time.Second {
		return sockettest.TimedOut.After(d).In("connect")
	}
	return sockettest.Rejected.Before(d).In("connect")
}

func refusal() error {
	if runtime.GOOS == "windows" {
		return syscall.Errno(10061) // WSAECONNREFUSED
	}
	return syscall.ECONNREFUSED
}
