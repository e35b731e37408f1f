package rawsock

import (
	"errors"
	"os"
	"sync"
	"time"
)

// A queue times the connections that wait in a listener's accept queue, each from its own arrival there though nobody has
// accepted it: an arrival is an event of the poller, and the kernel tells how many there are. The listener itself can only be
// waited on by accepting (net's raw listener has no Read), so that takes its socket once more.
type queue struct {
	length   func(fd int) (int, error) // of the accept queue
	listener func() (*os.File, error)  // the socket
	mu       sync.Locker               // the port's; it guards the rest
	file     *os.File                  // the socket, from when it is first needed
	arrivals []time.Time               // of those that are in the queue, in order
}

// awaitDue waits until the connection at the head has been in the queue for as long as hold says, which is called with the
// lock held, as often as something changes; its error ends the wait, with the lock free.
func (q *queue) awaitDue(hold func() (time.Duration, error)) error {
	for {
		due, err := q.nextDue(hold)
		if err != nil || due {
			return err
		}
		raw, err := q.file.SyscallConn()
		if err != nil {
			return err
		}
		var fresh bool
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			fresh, failed = q.arrived(int(fd))
			return fresh || failed != nil
		})
		if failed != nil {
			return failed
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// nextDue says whether the head may be accepted now; if not, it has the poller wake us when it may.
func (q *queue) nextDue(hold func() (time.Duration, error)) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d, err := hold()
	if err != nil || d <= 0 {
		return true, err
	}
	if q.file == nil {
		if q.file, err = q.listener(); err != nil {
			return false, err
		}
	}
	if len(q.arrivals) == 0 {
		return false, q.file.SetReadDeadline(time.Time{})
	}
	due := q.arrivals[0].Add(d)
	return !time.Now().Before(due), q.file.SetReadDeadline(due)
}

// arrived notes the connections that have joined since it was last called, and says whether there are any. It counts under
// the lock: what is taken, or reset, in between would be noted for the next one.
func (q *queue) arrived(fd int) (fresh bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, err := q.length(fd)
	now := time.Now()
	for ; len(q.arrivals) < n; fresh = true {
		q.arrivals = append(q.arrivals, now)
	}
	return fresh, err
}

// only forgets all but the last n: Accept may have taken the others, and not have said so yet. The caller holds the lock.
func (q *queue) only(n int) {
	q.arrivals = q.arrivals[max(0, len(q.arrivals)-n):]
}

// taken forgets the head, which has been accepted, and tells since when it was there: since now, if nobody has asked before.
// The caller holds the lock.
func (q *queue) taken() time.Time {
	if len(q.arrivals) == 0 {
		return time.Now()
	}
	since := q.arrivals[0]
	q.arrivals = q.arrivals[1:]
	return since
}

// wake ends every wait, so that hold is asked again. The caller holds the lock.
func (q *queue) wake() {
	if q.file != nil {
		_ = q.file.SetReadDeadline(time.Unix(1, 0))
	}
}

// close is for a port that is closed. The caller must not hold the lock: closing the file waits for whoever is inside the
// poller with it, and arrived is, and waits for the lock.
func (q *queue) close() {
	if q.file != nil {
		_ = q.file.Close()
	}
}
