package sockettest

import (
	"runtime"
	"sync"
	"time"
)

// finalizers is the gate before the process's finalizers.
var finalizers gate

const (
	// gateLimit is how long the gate waits for finalizers that run already.
	gateLimit = time.Second
	// gateLinger is how long the gate stays closed when nobody needs it any more: the next test
	// often does, and need not collect garbage. Leak checkers that look at goroutines, such as
	// goleak, wait longer before they complain.
	gateLinger = 50 * time.Millisecond
	// gateLong is how long it may stay closed like that from test to test.
	gateLong = 10 * time.Second
)

// A gate holds finalizers back. A connection that nobody closed, and nothing refers to, is closed
// by its finalizer (net, setAddr), and to its peer looks closed by its owner: whatever collects
// garbage would hide the leak. One goroutine runs all finalizers, one after the other, so one that
// waits holds them all. Cleanups (runtime.AddCleanup) go on.
type gate struct {
	mu      sync.Mutex // held while the gate closes: nobody goes on before it has
	holders int
	opens   chan struct{} // nil while the gate is open
	since   time.Time     // it is closed
	linger  *time.Timer
}

// hold returns when no finalizer will run any more, until all who called it have called release. If
// the gate was open it costs a garbage collection. It must not be called in a synctest bubble,
// which would own the channels.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holders++
	if g.opens != nil {
		return
	}
	g.opens, g.since = make(chan struct{}), time.Now()
	closed := make(chan struct{})
	waitInFinalizer(closed, g.opens)
	runtime.GC()
	limit := time.NewTimer(gateLimit)
	defer limit.Stop()
	select {
	case <-closed:
	case <-limit.C: // some other finalizer waits: that holds them as well
	}
}

// release lets finalizers run, soon after the last who holds them has called it; in a bubble, which
// would own the timer, at once.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holders--
	if virtual() || time.Since(g.since) >= gateLong {
		g.open()
		return
	}
	if g.linger == nil {
		g.linger = time.AfterFunc(gateLinger, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.open()
		})
	}
	g.linger.Reset(gateLinger)
}

// open opens the gate, unless somebody holds it or it is open. The caller holds mu.
func (g *gate) open() {
	if g.holders == 0 && g.opens != nil {
		close(g.opens)
		g.opens = nil
	}
}

// waitInFinalizer leaves an object that nothing refers to. The next collection runs its finalizer,
// which waits.
//
//go:noinline
func waitInFinalizer(closed, opens chan struct{}) {
	runtime.SetFinalizer(&struct{ self *byte }{}, func(any) { holdFinalizers(closed, opens) })
}

func holdFinalizers(closed, opens chan struct{}) {
	close(closed)
	<-opens
}
