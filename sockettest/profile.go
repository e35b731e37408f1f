package sockettest

import (
	"bytes"
	"runtime/pprof"
	"sync"
)

// goroutines is the goroutine profile of the process.
var goroutines = profiler{take: func() []byte {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return nil
	}
	return buf.Bytes()
}}

// A profiler lets all who ask at about the same time share one profile. Each costs time for every goroutine there is, so
// that a thousand parallel tests which each take their own would spend most of their time on it.
type profiler struct {
	take func() []byte

	mu     sync.Mutex
	next   *profile   // the one that has not begun; nil if nobody waits for one
	taking sync.Mutex // held while one is taken; mutexes, not channels, which a synctest bubble would own
}

type profile struct {
	once sync.Once
	text []byte
}

// text returns a profile that was begun after the call: it has all that was there by then and has not ended.
func (p *profiler) text() []byte { return p.finish(p.join()) }

// join returns the profile that is to be taken next.
func (p *profiler) join() *profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = new(profile)
	}
	return p.next
}

// finish takes the profile, unless another who joined does.
func (p *profiler) finish(mine *profile) []byte {
	mine.once.Do(func() {
		p.taking.Lock()
		defer p.taking.Unlock()
		p.mu.Lock()
		p.next = nil // who asks from now on needs a later one
		p.mu.Unlock()
		mine.text = p.take()
	})
	return mine.text
}
