package sockettest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
)

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
