package scenarios_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

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
			show(t, w, "settimeout, then "+tt.call, ep, sockettest.TimedOut.After(limit).In(tt.call), tt.do(t, w, ep))
		})
	}
}

func reading(t *testing.T, w world, ep *fixtures.Endpoint) func() error {
	c := connect(t, w, ep)
	return func() error { _, err := c.Read(make([]byte, 1)); return err }
}

// TestScenarioLimitIsForEachCall: each call has the whole limit again, so that a slow peer that goes on is heard out. In
// virtual time alone: on the kernel a machine that stalls would take its part of a limit.
func TestScenarioLimitIsForEachCall(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		w := simulated(t)
		ln, err := w.listen(t.Context(), "tcp", "127.0.0.1:0")
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

// TestScenarioDefaultInEveryGoroutine: the default holds for sockets made afterwards, anywhere; earlier ones keep theirs.
func TestScenarioDefaultInEveryGoroutine(t *testing.T) {
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
		show(t, w, "3: recv on an earlier socket", silent, sockettest.Blocked.For(2*limit), func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = earlier.Close() })()
			_, err := earlier.Read(make([]byte, 1))
			return err
		})
	})
}

// TestScenarioSlowServer: a server that is slow to accept does not delay the connect, one whose handshake is slow does.
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
	below, err := w.listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = below.Close() })
	ln, err := calltimeout.NewListener(below)
	require.NoError(t, err)
	return ln
}
