package shared

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Who asks while a look is taken gets the next one, together with all others who do.
func TestLookBeginsAfterTheCall(t *testing.T) {
	t.Parallel()
	var taken atomic.Int32
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	take := func() int32 {
		n := taken.Add(1)
		if n == 1 {
			begun <- struct{}{}
			<-goOn
		}
		return n
	}
	var l Look[int32]
	var wg sync.WaitGroup
	wg.Go(func() { assert.Equal(t, int32(1), l.Now(take)) })
	<-begun
	for range 50 {
		wg.Go(func() { assert.Greater(t, l.Now(take), int32(1)) })
	}
	close(goOn)
	wg.Wait()
	assert.Equal(t, taken.Load()+1, l.Now(take), "nothing is kept")
}

func TestLookIsForAllWhoWait(t *testing.T) {
	t.Parallel()
	taken := 0
	take := func() int { taken++; return taken }
	var l Look[int]
	a, b := l.join(), l.join()
	assert.Same(t, a, b)
	assert.Equal(t, 1, l.finish(a, take))
	assert.Equal(t, 1, l.finish(b, take))
	assert.NotSame(t, a, l.join())
	assert.Equal(t, 2, l.Now(take))
}
