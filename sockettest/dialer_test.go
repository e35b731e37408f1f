package sockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// The same dial at a real address, and by the Dialer: the errors are the same in types, fields,
// errno and text.
func TestDialerFailsAsTheKernel(t *testing.T) {
	t.Parallel()
	patient := time.Hour // that never passes where a connect is refused
	if rawsock.OwnAnswer() != network.Refuse {
		patient = limit
	}
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		address string        // where the kernel itself fails so; empty: at the fixture
		timeout time.Duration // of the dialer
		ctx     time.Duration // until the context's deadline
		cancel  time.Duration // until the context is cancelled
	}{
		{name: "refused", fixture: fixtures.Refused{}},
		{name: "bound only", fixture: fixtures.BoundOnly{}, timeout: patient},
		{name: "no route", fixture: NoRoute{}, address: "127.255.255.255:1717"}, // TCP to a broadcast address
		{name: "timeout", fixture: fixtures.BlackHole{}, timeout: limit},
		{name: "context's deadline", fixture: fixtures.BlackHole{}, ctx: limit},
		{name: "timeout before the context's deadline", fixture: fixtures.BlackHole{}, timeout: limit, ctx: time.Hour},
		{name: "cancelled", fixture: fixtures.BlackHole{}, cancel: limit},
	} {
		for _, family := range []string{"tcp", "tcp4", "tcp6"} {
			t.Run(tt.name+"/"+family, func(t *testing.T) {
				t.Parallel()
				if tt.address != "" && family == "tcp6" {
					t.Skip("the address is of IPv4")
				}
				address := tt.address
				if address == "" {
					address = Start(t, tt.fixture, Family(family)).Addr()
				}
				dial := func(d *net.Dialer) error {
					d.Timeout = tt.timeout
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if tt.ctx > 0 {
						ctx, cancel = context.WithTimeout(ctx, tt.ctx)
						defer cancel()
					}
					if tt.cancel > 0 {
						defer time.AfterFunc(tt.cancel, cancel).Stop()
					}
					_, err := d.DialContext(ctx, family, address)
					return err
				}
				kernels, ours := dial(&net.Dialer{}), dial(Dialer(t, tt.fixture))
				require.Error(t, kernels)
				assertSameError(t, kernels, ours)
			})
		}
	}
}

// assertSameError compares level by level.
func assertSameError(t *testing.T, want, got error) {
	t.Helper()
	assert.Equal(t, levels(want), levels(got))
	assert.Equal(t, Classify(want), Classify(got))
	a, okA := errors.AsType[*net.OpError](want)
	b, okB := errors.AsType[*net.OpError](got)
	require.True(t, okA && okB)
	assert.Equal(t, []any{a.Op, a.Net, a.Source, a.Addr}, []any{b.Op, b.Net, b.Source, b.Addr})
	x, okX := errors.AsType[syscall.Errno](want)
	y, okY := errors.AsType[syscall.Errno](got)
	assert.Equal(t, okX, okY)
	assert.Equal(t, x, y)
}

// levels writes an error and what it wraps. Which of two types a timeout of package net has is a
// coin toss.
func levels(err error) []string {
	var list []string
	for ; err != nil; err = errors.Unwrap(err) {
		line := fmt.Sprintf("*%T %q", err, err) // a second star, for steady
		if ne, ok := err.(net.Error); ok {
			line += fmt.Sprintf(" timeout %v", ne.Timeout())
		}
		list = append(list, steady(line))
	}
	return list
}

// A connect timeout of 30 s, the kernel's own of 131 s, and a refusal, in no time.
func TestDialerInABubble(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		timeout time.Duration
		want    Window
		source  string
	}{
		{"timeout", fixtures.BlackHole{}, 30 * time.Second, TimedOut.After(30 * time.Second), "deadline"},
		{"the kernel's own", fixtures.BlackHole{}, 0, TimedOut.After(131 * time.Second), "kernel"},
		{"refused", fixtures.Refused{}, 30 * time.Second, Rejected.AtOnce(), ""},
		{"no route", NoRoute{}, 30 * time.Second, Unreachable.AtOnce(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := Dialer(t, tt.fixture)
				d.Timeout = tt.timeout
				r := Measure(func(ctx context.Context) error {
					_, err := d.DialContext(ctx, "tcp", "127.0.0.1:1717")
					return err
				})
				require.NoError(t, tt.want.In("connect").Slack(0).Check(r))
				assert.Equal(t, tt.source, r.Classes[0].Source)
			})
		})
	}
}

// A dial that still hangs when the test ends is refused, as by a black hole that closes.
func TestDialerEndsWithTheTest(t *testing.T) {
	t.Parallel()
	NoLeaks(t)
	failed := make(chan error, 1)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		d := Dialer(tb, fixtures.BlackHole{})
		go func() {
			_, err := d.DialContext(context.WithoutCancel(tb.Context()), "tcp", "127.0.0.1:1717")
			failed <- err
		}()
	})
	assert.Empty(t, tb.Text())
	assert.Equal(t, Rejected, Classify(<-failed)[0].Outcome)
}

func TestDialerIsFatal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
	}{
		{"it serves", fixtures.Echo{}},
		{"it answers in the end", fixtures.SlowHandshake{}},
		{"no TCP", fixtures.NoSocket{}},
		{"bad field", fixtures.SlowAccept{Delay: -1}},
		{"nil fixture", nil},
		{"nil pointer", (*fixtures.BlackHole)(nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) { Dialer(tb, tt.fixture) })
			require.True(t, tb.Died())
			golden(t, tb.Text())
		})
	}
	t.Run("no route to start", func(t *testing.T) {
		t.Parallel()
		tb := faketb.Run(t, func(tb *faketb.TB) { Start(tb, NoRoute{}) })
		require.True(t, tb.Died())
		golden(t, tb.Text())
	})
}

func TestDialerIsForTCP(t *testing.T) {
	t.Parallel()
	d := Dialer(t, fixtures.Refused{})
	for _, address := range [][2]string{{"udp", "127.0.0.1:1717"}, {"unix", "/none"}} {
		_, err := d.DialContext(t.Context(), address[0], address[1])
		assert.ErrorContains(t, err, "want tcp, tcp4 or tcp6")
	}
	_, err := Dialer(nil, fixtures.Refused{}).DialContext(t.Context(), "tcp", "127.0.0.1:1717")
	assert.ErrorContains(t, err, "sockettest.Dialer: t was nil; want the test's own *testing.T")
}

// The error is the kernel's in everything: types, operation, address, errno, text.
func TestListenConfigFailsAsTheKernelDoes(t *testing.T) {
	t.Parallel()
	taken := Start(t, fixtures.Refused{}).Addr()
	for _, tt := range []struct {
		name, network, address string
		errno                  syscall.Errno
	}{
		{"in use", "tcp", taken, syscall.EADDRINUSE},
		{"not ours", "tcp6", "[::2]:0", syscall.EADDRNOTAVAIL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var real net.ListenConfig
			_, want := real.Listen(t.Context(), tt.network, tt.address)
			require.ErrorIs(t, want, tt.errno, "what the kernel says here")
			_, got := ListenConfig(t, tt.errno).Listen(t.Context(), tt.network, tt.address)
			require.Equal(t, want, got)
			assert.EqualError(t, got, want.Error())
		})
	}
	_, err := ListenConfig(t, syscall.EMFILE).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.EqualError(t, err, "listen udp 127.0.0.1:0: socket: too many open files")
}

func TestListenConfigIsFatal(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { ListenConfig(tb, syscall.ECONNREFUSED) })
	assert.True(t, tb.Died())
	assert.Contains(t, tb.Text(), "(ECONNREFUSED); want one that listening ends in, such as syscall.EADDRINUSE")
	_, err := ListenConfig(nil, syscall.EADDRINUSE).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}
