package sockettest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

func TestStartUDPEndsWithTheTest(t *testing.T) {
	t.Parallel()
	manytests.NeedsIPv6(t)
	var ep *udp.Endpoint
	tb := faketb.Run(t, func(tb *faketb.TB) {
		NoLeaks(tb)
		ep = Start(tb, udp.Late{Delay: time.Hour}, Family("udp6"))
		assert.True(t, strings.HasPrefix(ep.Addr(), "[::1]:"))
		c, err := ep.DialContext(t.Context(), "", "")
		assert.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		assert.NoError(t, err)
		assert.NoError(t, ep.Await(t.Context(), fixtures.Received, 1))
	})
	require.False(t, tb.Failed(), tb.Text())
	require.ErrorIs(t, ep.Become(udp.Echo{}), net.ErrClosed)
	assert.Empty(t, Start(nil, udp.Echo{}).Addr())
}

func TestStartUDPIsFatal(t *testing.T) {
	t.Parallel()
	taken := Start(t, udp.Refused{})
	for _, tt := range []struct {
		name    string
		fixture udp.Fixture
		opt     Option
		want    string
	}{
		{"nil fixture", nil, Family("udp"), "bad argument: sockettest.Start: fixture is nil; want one such as"},
		{"nil option", udp.Echo{}, nil, "bad argument: sockettest.Start: an option is nil"},
		{"bad field", udp.Late{Delay: -1}, Family("udp"), "bad argument: sockettest.Start: udp.Late{Delay: -1ns}: Late.Delay is -1ns"},
		{"a stream's network", udp.Echo{}, Family("tcp"), `udp.Echo{}: network is "tcp"; want udp, udp4 or udp6`},
		{"port in use", udp.Echo{}, Address(taken.Addr()), "is in use; choose another port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				Start(tb, tt.fixture, tt.opt)
				t.Error("Start returned")
			})
			require.True(t, tb.Died())
			assert.Contains(t, tb.Text(), tt.want)
		})
	}
}

// What a client of UDP meets has the same outcomes.
func TestClassifyRealDatagrams(t *testing.T) {
	t.Parallel()
	ep := Start(t, udp.Refused{})
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, []Class{{Rejected, "read", ""}}, Classify(err), "%v", err)

	require.NoError(t, ep.Become(udp.Silent{}))
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, []Class{{TimedOut, "read", "deadline"}}, Classify(err), "%v", err)
}

// Expect judges what a client of UDP does, and its report tells what the fixture saw.
func TestExpectJudgesDatagrams(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Millisecond
	ep := Start(t, udp.Silent{})
	ask := func() error { // under test
		c, err := net.Dial("udp", ep.Addr())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("who?")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(limit))
		_, err = c.Read(make([]byte, 8))
		return err
	}
	Expect(t, ep, TimedOut.After(limit).In("read"), ask)
	seen := func() error { // the report is written when the fixture has seen both
		err := ask()
		assert.NoError(t, ep.Await(t.Context(), fixtures.Received, 2))
		return err
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { Expect(tb, ep, Accepted.Before(limit), seen) })
	require.True(t, tb.Failed())
	assert.Contains(t, tb.Text(), "fixture  udp.Silent{} on 127.0.0.1:")
	assert.Contains(t, tb.Text(), `: 4 B, "who?"`)
	require.NoError(t, ep.Become(udp.Refused{}))
	Expect(t, ep, Rejected.Before(10*time.Second).In("read"), ask)
}
