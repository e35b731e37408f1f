package rawsock

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/reference"
)

// One thread waits for a processor, since another keeps it busy, while all others run and timers
// fire when they should: what runs on it is late by as much as the sum of package reference tells.
func TestOneStarvedThreadIsExcused(t *testing.T) {
	if _, err := waited(); err != nil {
		t.Skip("this system does not tell how long threads have waited: ", err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var w reference.Watch
	w.Begin(time.Hour)
	defer w.End()
	begin := time.Now()
	lost := starve(t, 30*time.Millisecond)
	_, sum := w.Late(begin, time.Now())
	assert.GreaterOrEqual(t, sum, lost)
}

// waited returns how long the calling thread has waited for a processor (proc(5), schedstat).
func waited() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(string(bytes.Fields(stat)[1]), 10, 64)
	return time.Duration(ns), err
}

// starve keeps a thread from the one processor that it may use until it has lost that much, and
// returns how much it has lost. The thread lives as long as the test: the kernel forgets what one
// that has ended had lost.
func starve(t *testing.T, least time.Duration) (lost time.Duration) {
	var over atomic.Bool
	var busy, living sync.WaitGroup
	failed, end := make(chan error, 2), make(chan struct{})
	t.Cleanup(func() { close(end); living.Wait() })
	onOne := func(nice int, do func()) {
		busy.Add(1)
		living.Go(func() {
			if err := keepToOne(nice); err != nil {
				failed <- err
			} else {
				do()
			}
			over.Store(true)
			busy.Done()
			<-end
		})
	}
	onOne(10, func() {
		for before, _ := waited(); lost < least && !over.Load(); {
			now, _ := waited()
			lost = now - before
		}
	})
	onOne(0, func() {
		for !over.Load() {
		}
	})
	busy.Wait()
	select {
	case err := <-failed:
		t.Skip("no thread can be kept to one processor: ", err)
	default:
	}
	return lost
}

// keepToOne lets the goroutine run on a thread of its own, which ends with it, and that thread on
// the first processor only.
func keepToOne(nice int) error {
	runtime.LockOSThread()
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	for n := 0; one.Count() == 0; n++ {
		if allowed.IsSet(n) {
			one.Set(n)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
}
