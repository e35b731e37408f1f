// Package warm prepares what package net makes once for the life of the process, so that it is not
// made in a bubble of testing/synctest.
package warm

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long the first lookups may take.
const patience = 5 * time.Second

var (
	begin sync.Once
	done  = make(chan struct{}) // made outside any bubble; closed when both lookups have returned
)

// Resolver uses package net's two resolvers once, outside any bubble. If their first use were in
// one, the channels that they keep would belong to it, and the next lookup outside would end the
// process (go.dev/issue/80903). It may itself be called in a bubble, before anything else there
// looks up a name: later is too late.
func Resolver() {
	begin.Do(func() {
		if now := time.Now(); now != now.Round(0) { // real time has a monotonic reading
			lookUp()
			return
		}
		leaveBubble(func() { go lookUp() })
	})
	<-done
}

func lookUp() {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = net.DefaultResolver.LookupHost(ctx, "localhost")
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(ctx, "localhost")
}

// leaveBubble runs f outside any bubble, as the runtime does with cleanups (see testing/synctest).
// It costs a garbage collection.
func leaveBubble(f func()) {
	var left atomic.Bool // a channel that is made here would belong to the bubble
	abandon(func() { f(); left.Store(true) })
	for !left.Load() {
		runtime.GC()
	}
}

// abandon has f run once an object that nobody can reach is found.
//
//go:noinline
func abandon(f func()) {
	runtime.AddCleanup(new([64]byte), func(f func()) { f() }, f)
}
