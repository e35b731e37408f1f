package sockettest_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/sockettest"
)

// Before a test's cleanups its context is cancelled.
func TestExpectInCleanupHasALiveContext(t *testing.T) {
	t.Parallel()
	t.Run("in", func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Echo{})
		t.Cleanup(func() {
			sockettest.Expect(t, ep, sockettest.Accepted, func(ctx context.Context) error {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr())
				if err != nil {
					return err
				}
				return c.Close()
			})
		})
	})
}

// os/signal's goroutine lives as long as the process.
func TestNoLeaksIgnoresSignalLoop(t *testing.T) {
	text := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.NoLeaks(tb)
		_, stop := signal.NotifyContext(t.Context(), os.Interrupt)
		stop()
	}).Text()
	assert.Empty(t, text)
}

// A success that needs no fault does not undo an Unfired from before.
func TestUnfiredLasts(t *testing.T) {
	t.Parallel()
	text := faketb.Run(t, func(tb *faketb.TB) {
		ep := sockettest.Start(tb, fixtures.Reset{AfterWritten: 10, Then: fixtures.Echo{}})
		echo := func(n int) func() error {
			return func() error {
				c, err := net.Dial("tcp", ep.Addr())
				if err != nil {
					return err
				}
				defer func() { _ = c.Close() }()
				_, _ = c.Write(make([]byte, n))
				_, err = io.ReadFull(c, make([]byte, n))
				return err
			}
		}
		sockettest.Expect(tb, ep, sockettest.Accepted.Unfired(), echo(1))
		sockettest.Expect(tb, ep, sockettest.Accepted, echo(1))
		sockettest.Expect(tb, ep, sockettest.ResetByPeer, echo(100))
	}).Text()
	assert.Contains(t, text, "the fault fired, and the want was that it does not")
}
