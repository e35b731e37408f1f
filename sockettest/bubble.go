package sockettest

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stillness is for how long a bubble's clock may stand still before somebody is named for it.
const stillness = 5 * time.Second

// Bubble is [synctest.Test] with two guards. Before the first bubble it resolves a name outside: a lookup inside would give
// package net channels of that bubble, and the next lookup elsewhere would end the process (go.dev/issue/80903). And it
// watches from outside: virtual time moves only while every goroutine of the bubble waits for another of them, or for time. A
// wait for anything else (a mutex, a real socket, a channel from outside, a system call) stops it, and if nothing happens
// in the bubble for 5 s of real time it writes to standard error, once, who waits and where:
//
//	sockettest.Bubble: TestPing: the clock of synctest bubble 3 has stood still for 5s
//	  waits      sync.Mutex.Lock, not durable: goroutine 23
//	             sync.(*Mutex).Lock  mutex.go:46
//	             db.(*Client).Ping  client.go:31
//	  started    db.TestPing.func1  ping_test.go:17
//	  rule       ...
//
// The test goes on, since it may be merely slow. It may miss who blocks: while any goroutine of the bubble computes, nobody
// is named. It names nobody because the machine is slow, but does name who waits for real input in the same place at 20
// looks in turn. A nil f is fatal; a bubble within a bubble panics, as does synctest.Test.
func Bubble(t *testing.T, f func(t *testing.T)) {
	if isNil(t) {
		_ = errNilTB("Bubble")
		return
	}
	t.Helper()
	if f == nil {
		t.Fatalf("bad argument: sockettest.Bubble: f is nil; want the test, as for synctest.Test")
	}
	bubble(t, f, &watchdog{name: t.Name(), limit: stillness, out: os.Stderr})
}

func bubble(t *testing.T, f func(t *testing.T), w *watchdog) {
	t.Helper()
	if !virtual() { // else synctest.Test says what is wrong
		warmResolver()
	}
	defer w.begin()()
	synctest.Test(t, func(t *testing.T) {
		w.enter()
		f(t)
	})
}

// warmResolver has package net make what it makes once in a process: for lookups by the system, where it prefers them, and
// for its own. It sends nothing.
var warmResolver = sync.OnceFunc(func() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = net.DefaultResolver.LookupHost(ctx, "localhost")
	own := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, syscall.ECONNREFUSED
	}}
	_, _ = own.LookupHost(ctx, "localhost")
	_, _ = own.LookupTXT(ctx, "localhost") // reads the configuration, whatever the order of lookups is
})
