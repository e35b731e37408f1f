package patience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/patience"
)

func TestContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := patience.Context(t.Context(), time.Second)
		assert.NoError(t, ctx.Err())
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, context.DeadlineExceeded, ctx.Err())
		cancel()

		ctx, cancel = patience.Context(t.Context(), time.Second)
		cancel()
		<-ctx.Done()
		assert.Equal(t, context.Canceled, ctx.Err())

		outer, stop := context.WithCancel(t.Context())
		ctx, cancel = patience.Context(outer, time.Second)
		defer cancel()
		stop()
		<-ctx.Done()
		assert.Equal(t, context.Canceled, ctx.Err())
	})
}
