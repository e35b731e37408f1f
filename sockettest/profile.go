package sockettest

import (
	"bytes"
	"runtime/pprof"
	"sync"
)

// goroutines is the goroutine profile of the process.
var goroutines = shared[[]byte]{take: func() []byte {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return nil
	}
	return buf.Bytes()
}}

// A shared look at the process is taken once for all who ask at about the same time. Each costs time for every goroutine
// or descriptor there is, so that a thousand parallel tests which each take their own would spend most of their time on it.
type shared[T any] struct {
	take func() T

	mu     sync.Mutex
	next   *look[T]   // the one that has not begun; nil if nobody waits for one
	taking sync.Mutex // held while one is taken; mutexes, not channels, which a synctest bubble would own
}

type look[T any] struct {
	once sync.Once
	seen T
}

// now returns a look that was begun after the call: it has all that was there by then and has not ended.
func (s *shared[T]) now() T { return s.finish(s.join()) }

// join returns the look that is to be taken next.
func (s *shared[T]) join() *look[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = new(look[T])
	}
	return s.next
}

// finish takes the look, unless another who joined does.
func (s *shared[T]) finish(mine *look[T]) T {
	mine.once.Do(func() {
		s.taking.Lock()
		defer s.taking.Unlock()
		s.mu.Lock()
		s.next = nil // who asks from now on needs a later one
		s.mu.Unlock()
		mine.seen = s.take()
	})
	return mine.seen
}
