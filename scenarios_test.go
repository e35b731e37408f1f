// Package scenarios_test keeps the facts of the tutorial that the project grew from, one table for
// each: what opening a socket can end in, what a client sees of a server that never listens, and
// what a limit on each call does about it.
//
//	go test -run Scenario -table
//
// prints them with what was seen here. Limits are scaled down from the tutorial's 3 s, which one
// test keeps; on the kernel only where it prints them.
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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
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
func dialing(d calltimeout.Dialer, addr string) func(context.Context) error {
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
	unanswered := sockettest.TimedOut.After(limit).In("connect")
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		limit   time.Duration
		want    sockettest.Want
		exact   sockettest.Want // in virtual time
	}{
		{"accept: both sides send and receive", fixtures.Echo{}, ample, sockettest.Accepted.Before(ample), sockettest.Accepted.At(0)},
		{"reject: nobody listens", fixtures.Refused{}, ample, rejected(ample), rejectedAtOnce},
		{"accept timeout: nobody answers", fixtures.BlackHole{}, limit, unanswered, unanswered},
	} {
		for _, family := range families {
			onBoth(t, tt.name+"/"+family, func(t *testing.T, w world) {
				ep := sockettest.Start(t, tt.fixture, w.on, sockettest.Family(family))
				r := show(t, w, "settimeout, then connect", ep, w.want(tt.want, tt.exact), dialing(w.dialer(tt.limit), ep.Addr()))
				if r.Outcome == sockettest.Rejected {
					assert.ErrorIs(t, r.Err, w.refusal)
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
		onBoth(t, tt.name, func(t *testing.T, w world) {
			_, err := w.dialer(0).Dial(tt.network, tt.address)
			require.True(t, tt.is(err), "%T %v", err, err)
			assert.Equal(t, sockettest.Rejected, sockettest.Classify(err)[0].Outcome)
		})
	}
}

func isA[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

// servers are the tutorial's one, that binds and never listens, and the two that answer the same on
// every platform. Where the limit is not to play, it is ample: on a machine that stalls, a short
// one would.
func servers(w world) []server {
	refusal := w.want(rejected(ample), rejectedAtOnce)
	silence := server{"BlackHole", fixtures.BlackHole{}, sockettest.Blocked.For(limit), limit, sockettest.TimedOut.After(limit).In("connect")}
	refusing := server{"Refused", fixtures.Refused{}, refusal, ample, refusal}
	bound := refusing
	if w.mute {
		bound = silence
	}
	bound.name, bound.fixture = "BoundOnly", fixtures.BoundOnly{}
	return []server{bound, refusing, silence}
}

type server struct {
	name      string
	fixture   fixtures.Fixture
	unlimited sockettest.Want // of a client without a timeout
	limit     time.Duration
	limited   sockettest.Want // of a client that gives up after limit
}

// eachServer runs f on both stacks on every server and family.
func eachServer(t *testing.T, run runs, f func(t *testing.T, w world, s server, ep *fixtures.Endpoint)) {
	t.Helper()
	for i, s := range servers(worldOf(sockettest.Kernel)) {
		for _, family := range families {
			run(t, s.name+"/"+family, func(t *testing.T, w world) {
				s := servers(w)[i]
				f(t, w, s, sockettest.Start(t, s.fixture, w.on, sockettest.Family(family)))
			})
		}
	}
}

// TestScenario1NoTimeout: connect, and wait for as long as it takes.
func TestScenario1NoTimeout(t *testing.T) {
	t.Parallel()
	eachServer(t, onBoth, func(t *testing.T, w world, s server, ep *fixtures.Endpoint) {
		show(t, w, "1: connect, no timeout", ep, s.unlimited, dialing(w.dialer(0), ep.Addr()))
	})
}

// TestScenario1StillWaiting: a call that ignores every context is let go by the fixture, with the
// next SYN.
func TestScenario1StillWaiting(t *testing.T) {
	t.Parallel()
	onBoth(t, "BlackHole", func(t *testing.T, w world) {
		if w.real() {
			manytests.KernelTimer(t)
		}
		ep := sockettest.Start(t, fixtures.BlackHole{}, w.on)
		show(t, w, "1: connect, no timeout, no context", ep, sockettest.Blocked.For(limit), func() error {
			_, err := w.dialer(0).Dial("tcp", ep.Addr())
			return err
		})
	})
}

// TestScenario2SetTimeout: the socket gives up once its limit has passed.
func TestScenario2SetTimeout(t *testing.T) {
	t.Parallel()
	eachServer(t, onBoth, func(t *testing.T, w world, s server, ep *fixtures.Endpoint) {
		show(t, w, "2: settimeout, then connect", ep, s.limited, dialing(w.dialer(s.limit), ep.Addr()))
	})
}

// TestScenario3SetDefaultTimeout: so does every new socket, once the default is set, which is the
// whole process's.
func TestScenario3SetDefaultTimeout(t *testing.T) {
	eachServer(t, inTurn, func(t *testing.T, w world, s server, ep *fixtures.Endpoint) {
		calltimeout.SetDefaultTimeout(t, s.limit)
		show(t, w, "3: setdefaulttimeout, then connect", ep, s.limited, dialing(w.dialer(0), ep.Addr()))
	})
	assert.Zero(t, calltimeout.DefaultTimeout(), "it ends with the test that set it")
}

// TestScenarioAsInTheTutorial keeps its 3 s. The kernel sends the SYN again after a second.
func TestScenarioAsInTheTutorial(t *testing.T) {
	t.Parallel()
	onBoth(t, "BlackHole", func(t *testing.T, w world) {
		three := 3 * time.Second
		if w.real() && !*table {
			manytests.KernelTimer(t)
			three = 1100 * time.Millisecond
		}
		ep := sockettest.Start(t, fixtures.BlackHole{}, w.on)
		show(t, w, "2: settimeout(3), then connect", ep, sockettest.TimedOut.After(three).In("connect"), dialing(w.dialer(three), ep.Addr()))
	})
}

// TestScenarioErrno: on Linux, a connect to a socket that is bound and not listening fails with
// errno 111.
func TestScenarioErrno(t *testing.T) {
	t.Parallel()
	onBoth(t, "BoundOnly", func(t *testing.T, w world) {
		s := servers(w)[0]
		ep := sockettest.Start(t, s.fixture, w.on)
		r := sockettest.Expect(t, ep, s.limited, func() error { _, err := w.dialer(s.limit).Dial("tcp", ep.Addr()); return err })
		if !w.mute && (!w.real() || runtime.GOOS == "linux") {
			errno, ok := errors.AsType[syscall.Errno](r.Err)
			require.True(t, ok)
			assert.Equal(t, syscall.ECONNREFUSED, errno)
			if runtime.GOOS == "linux" {
				assert.EqualValues(t, 111, errno)
			}
		}
	})
}

// rejected is how a client that gives up after d sees a refusal. Windows asks again for 2 s before
// it tells.
func rejected(d time.Duration) sockettest.Want {
	if runtime.GOOS == "windows" && d < 2*time.Second {
		return sockettest.TimedOut.After(d).In("connect")
	}
	return sockettest.Rejected.Before(d).In("connect")
}

// rejectedAtOnce is how it is in virtual time.
var rejectedAtOnce = sockettest.Rejected.At(0).In("connect")

// TestScenarioEachCall: the timeout bounds connect, accept, send and recv alike.
func TestScenarioEachCall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		call    string
		fixture fixtures.Fixture
		do      func(t *testing.T, w world, ep *fixtures.Endpoint) (op func() error)
	}{
		{"connect", fixtures.BlackHole{}, func(_ *testing.T, w world, ep *fixtures.Endpoint) func() error {
			return func() error { _, err := w.dialer(limit).Dial("tcp", ep.Addr()); return err }
		}},
		{"accept", fixtures.Echo{}, func(t *testing.T, w world, _ *fixtures.Endpoint) func() error {
			sockettest.Armed(t, "nobody dials the listener: it takes no fixture to keep it waiting")
			ln := listen(t, w)
			require.NoError(t, ln.SetTimeout(limit))
			return func() error { _, err := ln.Accept(); return err }
		}},
		{"read", fixtures.Silent{}, reading},
		{"read", fixtures.SlowAccept{Delay: time.Hour}, reading},
		{"write", fixtures.NeverRead{}, func(t *testing.T, w world, ep *fixtures.Endpoint) func() error {
			c, much := connect(t, w, ep), make([]byte, 1<<20)
			return func() error { _, err := c.Write(much); return err }
		}},
	} {
		onBoth(t, tt.call+" "+ep(tt.fixture), func(t *testing.T, w world) {
			ep := sockettest.Start(t, tt.fixture, w.on)
			want := sockettest.TimedOut.After(limit).In(tt.call)
			if tt.call == "accept" { // on a listener of its own, to which nobody comes
				want = want.Unreached()
			}
			show(t, w, "settimeout, then "+tt.call, ep, want, tt.do(t, w, ep))
		})
	}
}

func reading(t *testing.T, w world, ep *fixtures.Endpoint) func() error {
	c := connect(t, w, ep)
	_, err := c.Write([]byte("x")) // an Echo would answer it
	require.NoError(t, err)
	return func() error { _, err := c.Read(make([]byte, 1)); return err }
}

// TestScenarioLimitIsForEachCall: each call has the whole limit again, so that a slow peer that
// goes on is heard out. In virtual time alone: on the kernel a machine that stalls would take its
// part of a limit.
func TestScenarioLimitIsForEachCall(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		w := worldOf(simnet.New(t))
		ln, err := w.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		c, err := w.dialer(limit).DialContext(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		peer, err := ln.Accept()
		require.NoError(t, err)
		var serving sync.WaitGroup
		serving.Go(func() {
			defer peer.Close()
			for range 5 {
				time.Sleep(limit - 1) // rules:allow in a bubble
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

// TestScenarioDefaultInEveryGoroutine: the default holds for sockets made afterwards, anywhere;
// earlier ones keep theirs.
func TestScenarioDefaultInEveryGoroutine(t *testing.T) {
	manytests.NeedsDescriptors(t, 200)
	inTurn(t, "100", func(t *testing.T, w world) {
		silent := sockettest.Start(t, fixtures.Silent{}, w.on)
		hole := sockettest.Start(t, fixtures.BlackHole{}, w.on)
		earlier, err := w.dialer(0).Dial("tcp", silent.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = earlier.Close() })

		calltimeout.SetDefaultTimeout(t, limit)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				sockettest.Expect(t, hole, sockettest.TimedOut.After(limit).In("connect"), dialing(w.dialer(0), hole.Addr()))
			})
		}
		wg.Wait()
		assert.Zero(t, earlier.Timeout())
		show(t, w, "3: recv on an earlier socket", silent, sockettest.Blocked.For(limit*3/2), func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = earlier.Close() })()
			if _, err := earlier.Write([]byte("x")); err != nil {
				return err
			}
			_, err := earlier.Read(make([]byte, 1))
			return err
		})
	})
}

// TestScenarioSlowServer: a server that is slow to accept does not delay the connect, one whose
// handshake is slow does.
func TestScenarioSlowServer(t *testing.T) {
	t.Parallel()
	late, tooLate := sockettest.Accepted.After(limit).Before(ample), sockettest.TimedOut.After(limit).In("connect")
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		limit   time.Duration
		want    sockettest.Want
		exact   sockettest.Want // in virtual time
	}{
		{"accepts in time", fixtures.SlowAccept{Delay: limit}, ample, late, sockettest.Accepted.At(limit)},
		{"answers in time", fixtures.SlowHandshake{Delay: limit}, ample, late, sockettest.Accepted.At(limit)},
		{"answers too late", fixtures.SlowHandshake{Delay: time.Hour}, limit, tooLate, tooLate},
	} {
		onBoth(t, tt.name, func(t *testing.T, w world) {
			ep := sockettest.Start(t, tt.fixture, w.on)
			show(t, w, "settimeout, then connect, send, recv", ep, w.want(tt.want, tt.exact), dialing(w.dialer(tt.limit), ep.Addr()))
		})
	}
}

// connect opens a socket with the limit on each call, closed with the test.
func connect(t *testing.T, w world, ep *fixtures.Endpoint) *calltimeout.Conn {
	t.Helper()
	c, err := w.dialer(ample).Dial("tcp", ep.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetTimeout(limit))
	return c
}

func listen(t *testing.T, w world) *calltimeout.Listener {
	t.Helper()
	below, err := w.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = below.Close() })
	ln, err := calltimeout.NewListener(below)
	require.NoError(t, err)
	return ln
}
