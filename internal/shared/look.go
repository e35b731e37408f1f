// Package shared takes a look at something once for all who ask at about the same time.
package shared

import "sync"

// A Look costs time for every goroutine, descriptor or socket there is, so that a thousand parallel
// tests which each take their own would spend most of their time on it. The zero value is ready to
// use.
type Look[T any] struct {
	mu     sync.Mutex
	next   *turn[T]   // the one that has not begun; nil if nobody waits for one
	taking sync.Mutex // held while one is taken; mutexes, not channels, which a synctest bubble would own
}

type turn[T any] struct {
	once sync.Once
	seen T
}

// Now returns what take has returned, to the caller or to another who asked: it was begun after the
// call, and has all that was there by then and has not ended. It is not to be changed.
func (l *Look[T]) Now(take func() T) T { return l.finish(l.join(), take) }

// join returns the look that is to be taken next.
func (l *Look[T]) join() *turn[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = new(turn[T])
	}
	return l.next
}

// finish takes the look, unless another who joined does.
func (l *Look[T]) finish(mine *turn[T], take func() T) T {
	mine.once.Do(func() {
		l.taking.Lock()
		defer l.taking.Unlock()
		l.mu.Lock()
		l.next = nil // who asks from now on needs a later one
		l.mu.Unlock()
		mine.seen = take()
	})
	return mine.seen
}
