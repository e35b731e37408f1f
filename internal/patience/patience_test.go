package patience_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/patience"
)

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		assert.True(t, patience.Wait(&wg, time.Second), "nothing to wait for")
		wg.Go(func() { time.Sleep(999 * time.Millisecond) })
		assert.True(t, patience.Wait(&wg, time.Second))
		begin := time.Now()
		wg.Go(func() { time.Sleep(time.Minute) })
		assert.False(t, patience.Wait(&wg, time.Second))
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Wait()
	})
}
