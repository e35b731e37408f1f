package reference

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// A tally is how long each thread of the process had waited for a processor, by its number.
type tally struct {
	at     time.Duration
	waited map[string]time.Duration
}

// recent is how old a tally may be from which an operation counts: to ask each thread takes a
// while.
const recent = 100 * time.Millisecond

// lastTally is the one to use again.
var lastTally atomic.Pointer[tally]

// tallySince returns a tally no older than that.
func tallySince(oldest time.Duration) *tally {
	if last := lastTally.Load(); last != nil && last.at >= oldest {
		return last
	}
	now := &tally{time.Since(base), threads()}
	lastTally.Store(now)
	return now
}

// threads asks the kernel; there are none where that does not tell: Linux does (proc(5),
// schedstat).
func threads() map[string]time.Duration {
	const tasks = "/proc/self/task/"
	dir, err := os.Open(tasks)
	if err != nil {
		return nil
	}
	defer dir.Close()
	ids, _ := dir.Readdirnames(-1)
	waited := make(map[string]time.Duration, len(ids))
	for _, id := range ids {
		stat, _ := os.ReadFile(tasks + id + "/schedstat") // of a thread that has ended there is none
		if fields := bytes.Fields(stat); len(fields) > 1 {
			ns, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			waited[id] = time.Duration(ns)
		}
	}
	return waited
}

// since is how long code may have waited for a processor since another tally: as long as the thread
// that waited longest, if it stayed on that; or else as all did on each processor of Go's. It is 0
// since nil.
func (t *tally) since(o *tally) time.Duration {
	if o == nil {
		return 0
	}
	var most, sum time.Duration
	for id, waited := range t.waited {
		waited -= o.waited[id]
		most, sum = max(most, waited), sum+waited
	}
	return max(most, sum/time.Duration(runtime.GOMAXPROCS(0)))
}
