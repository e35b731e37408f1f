package sockettest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// dump is what the runtime writes of two bubbles and the rest, shortened.
const dump = `goroutine 7 [running]:
example.com/db.watch()
	/src/db/watch.go:9 +0x11

goroutine 21 [synctest.Run (durable), synctest bubble 3]:
testing/synctest.Test(0x1, 0x2)
	/usr/local/go/src/testing/synctest/synctest.go:282 +0x62

goroutine 22 [sync.WaitGroup.Wait (durable), synctest bubble 3]:
sync.(*WaitGroup).Wait(0xc000012345)
	/usr/local/go/src/sync/waitgroup.go:118 +0x48
example.com/db.TestPing.func1(0xc000012346)
	/src/db/ping_test.go:17 +0x32
created by testing/synctest.testingSynctestTest in goroutine 21
	/usr/local/go/src/testing/testing.go:2150 +0x277

goroutine 23 [sync.Mutex.Lock, 2 minutes, synctest bubble 3]:
internal/sync.runtime_SemacquireMutex(0x0?, 0x0?, 0x0?)
	/usr/local/go/src/runtime/sema.go:95 +0x25
internal/sync.(*Mutex).lockSlow(0xc000012347)
	/usr/local/go/src/internal/sync/mutex.go:149 +0x15d
sync.(*Mutex).Lock(...)
	/usr/local/go/src/sync/mutex.go:46
example.com/db.(*Client).Ping(0xc000012348)
	/src/db/client.go:31 +0x45
created by example.com/db.TestPing.func1 in goroutine 22
	/src/db/ping_test.go:15 +0x1d

goroutine 24 [IO wait, locked to thread, synctest bubble 3 labels:{"a": "b, synctest bubble 4"}]:
internal/poll.runtime_pollWait(0x7f0000000000, 0x72)
	/usr/local/go/src/runtime/netpoll.go:351 +0x85
net.(*conn).Read(0xc000012349, {0xc00001234a, 0x1, 0x1})
	/usr/local/go/src/net/net.go:196 +0x45
a.A()
	/src/a.go:1 +0x1
a.B()
	/src/a.go:2 +0x1
a.C()
	/src/a.go:3 +0x1
a.D()
	/src/a.go:4 +0x1
a.E()
	/src/a.go:5 +0x1
a.F()
	/src/a.go:6 +0x1
a.G()
	/src/a.go:7 +0x1
a.H()
	/src/a.go:8 +0x1
created by sync.(*WaitGroup).Go in goroutine 22
	/usr/local/go/src/sync/waitgroup.go:238 +0x73

goroutine 31 [runnable, synctest bubble 33]:
example.com/db.other()
	/src/db/other.go:9 +0x11

goroutine 40 [chan receive]:
example.com/db.outside()
	/src/db/outside.go:9 +0x11
`

func TestBubbleReport(t *testing.T) {
	t.Parallel()
	w := &watchdog{name: "TestPing", limit: 5 * time.Second}
	golden(t, w.report("synctest bubble 3", waitsIn(dump, "synctest bubble 3")))
}

func TestWaitsIn(t *testing.T) {
	t.Parallel()
	const bubble = "synctest bubble 3"
	for _, tt := range []struct {
		name, dump, bubble string
		want               int
	}{
		{"all", dump, bubble, 2},
		{"one that could run", strings.Replace(dump, "IO wait", "runnable", 1), bubble, 0},
		{"one that runs", strings.Replace(dump, "sync.Mutex.Lock,", "running,", 1), bubble, 0},
		{"the collector", strings.Replace(dump, "IO wait", "GC assist wait", 1), bubble, 0},
		{"only durable waits", strings.NewReplacer("IO wait", "select (durable)", "sync.Mutex.Lock,", "sleep (durable),").Replace(dump), bubble, 0},
		{"another bubble", dump, "synctest bubble 33", 0},
		{"a bubble of a label", dump, "synctest bubble 4", 0},
		{"nothing", "", bubble, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Len(t, waitsIn(tt.dump, tt.bubble), tt.want)
		})
	}
}

func TestStandstill(t *testing.T) {
	t.Parallel()
	one, other := wait{id: "goroutine 1", state: "select"}, wait{id: "goroutine 2", state: "select"}
	var s standstill
	assert.False(t, s.look([]wait{one, other}))
	for range looks - 1 {
		assert.False(t, s.look([]wait{other}))
	}
	assert.True(t, s.look([]wait{one, other}))
	assert.Equal(t, []wait{other}, s.waits, "the other has moved meanwhile")
	assert.False(t, s.look(nil))
	for range looks {
		assert.False(t, s.look([]wait{one}), "counted anew")
	}
	assert.True(t, s.look([]wait{one}))
}
