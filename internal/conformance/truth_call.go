package conformance

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A waiting call is one that was begun in a goroutine of its own.
type waiting struct{ back chan result }

type result struct {
	n   int
	err error
}

func begin(f func() (int, error)) waiting {
	w := waiting{make(chan result, 1)}
	go func() {
		n, err := f()
		w.back <- result{n, err}
	}()
	return w
}

// is waits for the call to return.
func (w waiting) is(t *testing.T, n int, err error) {
	t.Helper()
	require.Equal(t, result{n, err}, <-w.back)
}

// rest lets a call that was begun come to wait, where that can be known: on the kernel the line
// holds, whichever comes first, the call or what ends it.
func (l lab) rest() {
	if l.Virtual {
		synctest.Wait()
	}
}
