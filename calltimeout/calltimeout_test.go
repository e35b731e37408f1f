package calltimeout_test

import (
	"context"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/internal/faketb"
)

const (
	limit = 50 * time.Millisecond
	ample = time.Hour
)

// pair returns the two ends of a connection on loopback, closed with the test: ours, bounded, and
// the peer's.
func pair(t *testing.T, timeout time.Duration) (ours *calltimeout.Conn, peer net.Conn) {
	t.Helper()
	ln := listen(t)
	ours, err := calltimeout.Dialer{Timeout: timeout}.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = ours.Close() })
	peer, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = peer.Close() })
	return ours, peer
}

func listen(t *testing.T) *calltimeout.Listener {
	t.Helper()
	below, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := calltimeout.NewListener(below)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// timesOut runs a call that must end by its limit, and not before.
func timesOut(t *testing.T, d time.Duration, call func() error) {
	t.Helper()
	timesOutAt(t, time.Now().Add(d), call)
}

// timesOutAt runs a call that must end by its deadline, and not before.
func timesOutAt(t *testing.T, deadline time.Time, call func() error) {
	t.Helper()
	err := call()
	assert.GreaterOrEqual(t, time.Since(deadline), time.Duration(0), "too early")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
}

func TestEachReadAndWriteHasTheWholeLimit(t *testing.T) {
	t.Parallel()
	ours, peer := pair(t, limit)
	for range 3 {
		timesOut(t, limit, func() error { _, err := ours.Read(make([]byte, 1)); return err })
	}
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	_, err = ours.Read(make([]byte, 1))
	require.NoError(t, err, "a timeout ends the call, not the connection")
	for range 2 {
		timesOut(t, limit, func() error { _, err := ours.Write(make([]byte, 64<<20)); return err })
	}
}

func TestAcceptHasTheLimit(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	require.NoError(t, ln.SetTimeout(limit))
	assert.Equal(t, limit, ln.Timeout())
	for range 2 {
		timesOut(t, limit, func() error { _, err := ln.Accept(); return err })
	}
	require.NoError(t, ln.SetTimeout(ample))
	soon := time.Now().Add(limit)
	require.NoError(t, ln.SetDeadline(soon))
	timesOutAt(t, soon, func() error { _, err := ln.Accept(); return err })
}

func TestDialerBoundsTheConnect(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	begin := time.Now()
	_, err := calltimeout.Dialer{Timeout: limit, Connect: hang}.Dial("tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.GreaterOrEqual(t, time.Since(begin), limit)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = calltimeout.Dialer{Timeout: ample, Connect: hang}.DialContext(ctx, "tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, context.Canceled)
}

// The connect's own limit must not end the connection.
func TestConnectionOutlivesItsDialsContext(t *testing.T) {
	t.Parallel()
	ours, peer := pair(t, ample)
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	_, err = ours.Read(make([]byte, 1))
	require.NoError(t, err)
}

func TestDeadlinesHoldBesideTheLimit(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(c *calltimeout.Conn, d time.Time) error{
		"both": (*calltimeout.Conn).SetDeadline, "own": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setRead, setWrite := set, set
			if set == nil {
				setRead, setWrite = (*calltimeout.Conn).SetReadDeadline, (*calltimeout.Conn).SetWriteDeadline
			}
			ours, _ := pair(t, ample)
			read := func() error { _, err := ours.Read(make([]byte, 1)); return err }
			write := func() error { _, err := ours.Write(make([]byte, 64<<20)); return err }
			soon, late := time.Now().Add(limit), time.Now().Add(ample)
			require.NoError(t, setRead(ours, soon))
			timesOutAt(t, soon, read)
			soon = time.Now().Add(limit)
			require.NoError(t, setWrite(ours, soon))
			timesOutAt(t, soon, write)

			require.NoError(t, setRead(ours, late))
			require.NoError(t, setWrite(ours, late))
			require.NoError(t, ours.SetTimeout(limit)) // now it is the limit that comes first
			timesOut(t, limit, read)
			timesOut(t, limit, write)
		})
	}
}

// Without a limit nothing is touched: the connection and the listener keep the deadline that they
// have.
func TestNoLimitKeepsTheDeadlineBelow(t *testing.T) {
	t.Parallel()
	below, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer below.Close()
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", below.Addr().String())
	require.NoError(t, err)
	c, err := calltimeout.NewConn(nc)
	require.NoError(t, err)
	defer c.Close()
	peer, err := below.Accept()
	require.NoError(t, err)
	defer peer.Close()
	ln, err := calltimeout.NewListener(below)
	require.NoError(t, err)

	soon := time.Now().Add(limit)
	require.NoError(t, nc.SetDeadline(soon))
	require.NoError(t, below.(*net.TCPListener).SetDeadline(soon))
	hang := time.AfterFunc(10*time.Second, func() { _, _ = nc.Close(), below.Close() }) // without its deadline
	defer hang.Stop()
	timesOutAt(t, soon, func() error { _, err := c.Read(make([]byte, 1)); return err })
	timesOutAt(t, soon, func() error { _, err := c.Write(make([]byte, 64<<20)); return err })
	timesOutAt(t, soon, func() error { _, err := ln.Accept(); return err })

	require.NoError(t, c.SetTimeout(limit)) // a limit replaces it
	require.NoError(t, ln.SetTimeout(limit))
	timesOut(t, limit, func() error { _, err := c.Read(make([]byte, 1)); return err })
	timesOut(t, limit, func() error { _, err := ln.Accept(); return err })
}

// A deadline that is moved while a call waits ends that call, as package net promises.
func TestDeadlineEndsACallThatWaits(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, ample)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := ours.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
	wg.Go(func() { assert.NoError(t, ours.SetReadDeadline(time.Unix(1, 0))) })
	wg.Wait()
	require.NoError(t, ours.SetReadDeadline(time.Time{}))
	require.NoError(t, ours.SetTimeout(limit))
	timesOut(t, limit, func() error { _, err := ours.Read(make([]byte, 1)); return err })
}

func TestSetTimeout(t *testing.T) {
	t.Parallel()
	ours, peer := pair(t, limit)
	ln := listen(t)
	for _, d := range []time.Duration{0, -1} {
		require.EqualError(t, ours.SetTimeout(d), "calltimeout.Conn.SetTimeout: timeout is "+d.String()+"; want more than 0, such as 3s")
		require.EqualError(t, ln.SetTimeout(d), "calltimeout.Listener.SetTimeout: timeout is "+d.String()+"; want more than 0, such as 3s")
	}
	assert.Equal(t, limit, ours.Timeout(), "as it was")
	require.NoError(t, ours.SetTimeout(math.MaxInt64)) // in fact none
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	_, err = ours.Read(make([]byte, 1))
	require.NoError(t, err)
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	_, err := calltimeout.Dialer{Timeout: -1}.Dial("tcp", "127.0.0.1:1")
	require.EqualError(t, err, "calltimeout.Dialer.Timeout is -1ns; want 0 (the default timeout) or more")
	_, err = calltimeout.NewConn(nil)
	require.EqualError(t, err, "calltimeout.NewConn: c is nil; want a connection")
	_, err = calltimeout.NewListener(nil)
	require.EqualError(t, err, "calltimeout.NewListener: l is <nil>; want one with SetDeadline, such as *net.TCPListener")
	_, err = calltimeout.NewListener((*net.TCPListener)(nil))
	require.EqualError(t, err, "calltimeout.NewListener: l is *net.TCPListener; want one with SetDeadline, such as *net.TCPListener")
	_, err = calltimeout.NewListener(struct{ net.Listener }{listen(t)})
	require.EqualError(t, err, "calltimeout.NewListener: l is struct { net.Listener }; want one with SetDeadline, such as *net.TCPListener")
	a, b := net.Pipe()
	defer b.Close()
	c, err := calltimeout.NewConn(a)
	require.NoError(t, err)
	defer c.Close()
	assert.Same(t, a, c.NetConn())
	require.ErrorContains(t, c.CloseWrite(), "calltimeout.Conn.CloseWrite: *net.pipe has none")
}

func TestSetDeadlineReportsOneError(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, ample)
	require.NoError(t, ours.Close())
	want := ours.NetConn().SetDeadline(time.Time{})
	require.ErrorIs(t, want, net.ErrClosed)
	assert.Equal(t, want, ours.SetDeadline(time.Time{}))
}

// A call that does not reach the connection below has read and written nothing.
func TestClosedConnectionMovesNoBytes(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, ample)
	require.NoError(t, ours.Close())
	for _, call := range []func([]byte) (int, error){ours.Read, ours.Write} {
		n, err := call([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		assert.Zero(t, n)
	}
}

func TestCloseWrite(t *testing.T) {
	t.Parallel()
	ours, peer := pair(t, ample)
	require.NoError(t, ours.CloseWrite())
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Not parallel, as every test of the default.
func TestDefaultTimeoutIsRestored(t *testing.T) {
	require.Zero(t, calltimeout.DefaultTimeout())
	before := listen(t)
	ours, _ := pair(t, 0)
	t.Run("outer", func(t *testing.T) {
		calltimeout.SetDefaultTimeout(t, ample)
		t.Run("inner", func(t *testing.T) {
			calltimeout.SetDefaultTimeout(t, limit)
			assert.Equal(t, limit, calltimeout.DefaultTimeout())
			newer, peer := pair(t, 0)
			assert.Equal(t, limit, newer.Timeout())
			assert.Equal(t, limit, peer.(*calltimeout.Conn).Timeout())
			assert.Equal(t, limit, listen(t).Timeout())
			timesOut(t, limit, func() error { _, err := newer.Read(make([]byte, 1)); return err })
			own, _ := pair(t, ample)
			assert.Equal(t, ample, own.Timeout())
		})
		assert.Equal(t, ample, calltimeout.DefaultTimeout())
	})
	assert.Zero(t, calltimeout.DefaultTimeout())
	assert.Zero(t, before.Timeout(), "earlier sockets keep what they have")
	assert.Zero(t, ours.Timeout())
}

// A helped test notes that a function called Helper: what fails in it is shown at its caller.
type helped struct {
	*faketb.TB
	marked bool
}

func (h *helped) Helper() { h.marked = true }

func TestSetDefaultTimeoutRefuses(t *testing.T) {
	for _, d := range []time.Duration{0, -1} {
		h := &helped{}
		tb := faketb.Run(t, func(tb *faketb.TB) { h.TB = tb; calltimeout.SetDefaultTimeout(h, d) })
		assert.True(t, h.marked, "go test would name a line of SetDefaultTimeout's own")
		assert.True(t, tb.Died())
		assert.Equal(t, "bad argument: calltimeout.SetDefaultTimeout: d is "+d.String()+"; want more than 0, such as 3s", tb.Text())
	}
	calltimeout.SetDefaultTimeout(nil, limit)
	calltimeout.SetDefaultTimeout((*testing.T)(nil), limit)
	assert.Zero(t, calltimeout.DefaultTimeout())
	t.Run("parallel", func(t *testing.T) {
		t.Parallel()
		tb := faketb.Run(t, func(tb *faketb.TB) { calltimeout.SetDefaultTimeout(tb, limit) })
		assert.True(t, tb.Died())
		assert.Contains(t, tb.Text(), "calltimeout.SetDefaultTimeout: the test is parallel")
		assert.Zero(t, calltimeout.DefaultTimeout())
	})
}
