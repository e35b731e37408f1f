package sockettest

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

// A key is a context value's.
type key struct{}

func TestOpContextSeesChildrenEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		parent, end := context.WithCancelCause(t.Context())
		defer end(nil)
		c := &opContext{Context: parent}
		start := time.Now()
		for _, d := range []time.Duration{7 * s, 2 * s, 4 * s} {
			_, cancel := context.WithTimeout(c, d)
			defer cancel()
		}
		cancelled, cancel := context.WithCancel(c)
		time.Sleep(time.Second)
		cancel()
		<-cancelled.Done()
		time.Sleep(time.Hour)
		assert.Equal(t, s, c.endedBetween(start, 0, time.Hour), "the first")
		assert.Equal(t, 2*s, c.endedBetween(start, s+1, time.Hour))
		assert.Equal(t, 4*s, c.endedBetween(start, 4*s, 4*s), "the bounds count")
		assert.Zero(t, c.endedBetween(start, 4*s+1, 7*s-1))
		assert.Zero(t, c.endedBetween(start.Add(7*s), 0, time.Hour), "before the start")
	})
}

// What ends with the operation's context has not ended by itself, and ends for the same cause.
func TestOpContextEndsItsChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		c := &opContext{Context: parent}
		start := time.Now()
		child, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		assert.Equal(t, "value", child.Value(key{}))
		select {
		case <-c.Done():
			t.Error("nothing has ended yet")
		default:
		}
		time.Sleep(time.Second)
		end(io.ErrUnexpectedEOF)
		<-c.Done()
		<-child.Done()
		require.ErrorIs(t, child.Err(), context.Canceled)
		require.Equal(t, io.ErrUnexpectedEOF, context.Cause(child))
		assert.Zero(t, c.endedBetween(start, 0, time.Hour))
	})
}

// The latest ends are kept.
func TestOpContextKeepsTheLatestEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &opContext{Context: t.Context()}
		start := time.Now()
		for range keepEnded + 3 {
			time.Sleep(time.Second)
			_, cancel := context.WithCancel(c)
			cancel()
		}
		assert.Equal(t, 4*time.Second, c.endedBetween(start, 0, time.Hour))
		assert.Equal(t, (keepEnded+3)*time.Second, c.endedBetween(start, (keepEnded+3)*time.Second, time.Hour))
	})
	var none *opContext
	assert.Zero(t, none.endedBetween(time.Time{}, 0, time.Hour), "an operation that takes no context")
}

// The context that a dial makes for itself ends with the dial: the client may go on.
func TestOpContextIgnoresThoseOfDials(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Echo{})
	ctx, start := &opContext{Context: t.Context()}, time.Now()
	c, err := (&net.Dialer{Timeout: time.Hour}).DialContext(ctx, "tcp", ep.Addr())
	assert.NoError(t, err)
	assert.NoError(t, c.Close())
	assert.Zero(t, ctx.endedBetween(start, 0, time.Hour))
	_, cancel := context.WithCancel(ctx)
	cancel()
	assert.NotZero(t, ctx.endedBetween(start, 0, time.Hour))
}
