package sockettest

import (
	"runtime"
	"sync"
	"time"
)

// finalizers is the gate before the process's finalizers.
var finalizers gate

// gateLimit is how long the gate waits for finalizers that run already.
const gateLimit = time.Second

// A gate holds finalizers back. A connection that nobody closed, and nothing refers to, is closed by its finalizer
// (net, setAddr), and to its peer looks closed by its owner: whatever collects garbage would hide the leak. One goroutine
// runs all finalizers, one after the other, so one that waits holds them all. Cleanups (runtime.AddCleanup) go on.
type gate struct {
	mu      sync.Mutex // held while the gate closes: nobody goes on before it has
	holders int
	opens   chan struct{}
}

// hold returns when no finalizer will run any more, until all who called it have called release. The first of them costs a
// garbage collection. It must not be called in a synctest bubble, which would own the channels.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holders++; g.holders > 1 {
		return
	}
	g.opens = make(chan struct{})
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

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holders--; g.holders == 0 {
		close(g.opens)
	}
}

// waitInFinalizer leaves an object that nothing refers to. The next collection runs its finalizer, which waits.
//
//go:noinline
func waitInFinalizer(closed, opens chan struct{}) {
	runtime.SetFinalizer(&struct{ self *byte }{}, func(any) { holdFinalizers(closed, opens) })
}

func holdFinalizers(closed, opens chan struct{}) {
	close(closed)
	<-opens
}
