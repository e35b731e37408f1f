package sockettest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Who asks while a profile is taken gets the next one, together with all others who do.
func TestProfilerSharesNoProfileThatBeganBefore(t *testing.T) {
	t.Parallel()
	var taken atomic.Int32
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	p := &shared[[]byte]{take: func() []byte {
		n := taken.Add(1)
		if n == 1 {
			begun <- struct{}{}
			<-goOn
		}
		return []byte{byte(n)}
	}}
	var wg sync.WaitGroup
	wg.Go(func() { assert.Equal(t, []byte{1}, p.now()) })
	<-begun
	for range 50 {
		wg.Go(func() { assert.Greater(t, p.now()[0], byte(1)) })
	}
	close(goOn)
	wg.Wait()
	assert.Equal(t, []byte{byte(taken.Load() + 1)}, p.now(), "nothing is kept")
}

func TestProfilerSharesOneAmongThoseWhoWait(t *testing.T) {
	t.Parallel()
	taken := 0
	p := &shared[[]byte]{take: func() []byte { taken++; return []byte{byte(taken)} }}
	a, b := p.join(), p.join()
	assert.Same(t, a, b)
	assert.Equal(t, []byte{1}, p.finish(a))
	assert.Equal(t, []byte{1}, p.finish(b))
	assert.NotSame(t, a, p.join())
	assert.Equal(t, []byte{2}, p.now())
}
