package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// An acceptor is what a TCP port and a unix port share: one socket for its whole life, an accept
// queue in which connections can be held, and calls of Accept that wait for a state in which
// they may take one.
type acceptor struct {
	mu      sync.Mutex
	changed *sync.Cond   // the state, or closed
	taking  sync.RWMutex // held for reading in accept(2)
	fd      int          // the bound socket, until it is ln
	ln      listener     // the same socket on Go's poller, from when it first listened
	queue   queue        // who waits in the accept queue; only for Hold
	state   network.State
	gen     int // counts the changes of state
	closed  bool
	met     atomic.Int64 // connections that are no longer in the accept queue
}

// A listener is a [*net.TCPListener] or a [*net.UnixListener].
type listener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
	File() (*os.File, error)
}

// init makes an acceptor of a bound socket. length tells how many connections wait in its accept
// queue.
func (a *acceptor) init(fd int, length func(fd int) (int, error)) {
	a.fd = fd
	a.changed = sync.NewCond(&a.mu)
	a.queue = queue{mu: &a.mu, length: length, listener: func() (*os.File, error) { return a.ln.File() }}
}

// control runs f on the socket. The caller holds mu.
func (a *acceptor) control(f func(fd int) error) error {
	if a.ln != nil {
		return control(a.ln, f)
	}
	return f(a.fd)
}

// accept waits for the next connection. ready waits for a state in which there may be one; it
// can also return one itself. adopt turns what accept(2) returned into a connection of the port.
func (a *acceptor) accept(ready func() (gen int, c network.Conn, err error), adopt func(net.Conn) (network.Conn, error)) (network.Conn, error) {
	for {
		gen, c, err := ready()
		if err != nil || c != nil {
			return c, err
		}
		err = a.queue.awaitDue(func() (time.Duration, error) { return a.hold(gen) })
		if err == nil {
			c, err = a.take(adopt)
		}
		if err == nil || a.stillIn(gen) {
			return c, err
		}
	}
}

// take accepts one connection.
func (a *acceptor) take(adopt func(net.Conn) (network.Conn, error)) (network.Conn, error) {
	a.taking.RLock() // no change of state comes between
	nc, err := a.ln.Accept()
	var c network.Conn
	if err == nil {
		a.met.Add(1)
		c, err = adopt(nc)
	}
	a.taking.RUnlock()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.queue.taken()
	a.mu.Unlock()
	return c, nil
}

// hold is how long connections wait in the accept queue, while the state is that of generation gen.
// The caller holds mu.
func (a *acceptor) hold(gen int) (time.Duration, error) {
	if a.gen != gen || a.closed {
		return 0, os.ErrDeadlineExceeded // Accept looks at the state again
	}
	return a.state.Hold, nil
}

// stillIn reports whether the state is that of generation gen: if not, an error of Accept only
// means "look again".
func (a *acceptor) stillIn(gen int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gen == gen && !a.closed
}

// wake makes every Accept return from the kernel and look at the state again. The caller holds mu.
func (a *acceptor) wake() {
	if a.ln != nil {
		_ = a.ln.SetDeadline(time.Unix(1, 0))
	}
	a.queue.wake()
	a.changed.Broadcast()
}

// release closes every descriptor. The caller has set closed, after which nothing else touches
// them, and does not hold mu, which goroutines that wait in the poller need.
func (a *acceptor) release() error {
	var err error
	if a.ln != nil {
		err = a.ln.Close()
	} else {
		err = os.NewSyscallError("close", unix.Close(a.fd))
	}
	a.queue.close()
	return err
}

// poll hands the socket over to package net, and so to Go's poller, the first time.
func (a *acceptor) poll(name string) error {
	if a.ln != nil {
		return nil
	}
	ln, err := handOver(a.fd, name)
	if err != nil {
		return err
	}
	a.fd, a.ln = -1, ln.(listener)
	return nil
}

// handOver makes a listener of a socket and closes fd. After an error, fd is as it was. The file
// is made of a blocking descriptor, which os keeps off the poller: net.FileListener takes a
// duplicate, makes the socket non-blocking again and registers that one.
func handOver(fd int, name string) (net.Listener, error) {
	// A duplicate, since a file closes its descriptor whatever becomes of it, by a finalizer at the
	// latest.
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, outOfDescriptors(os.NewSyscallError("fcntl", err))
	}
	if err := unix.SetNonblock(dup, false); err != nil {
		_ = unix.Close(dup)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), name)
	ln, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		_ = unix.SetNonblock(fd, true) // which fd shares with its duplicates
		return nil, outOfDescriptors(err)
	}
	_ = unix.Close(fd)
	return ln, nil
}

// outOfDescriptors adds the remedy if err says that no descriptors are left.
func outOfDescriptors(err error) error {
	if !noDescriptors(err) {
		return err
	}
	return fmt.Errorf("no descriptors left; close what the test holds open, or raise ulimit -n: %w", err)
}

// A queue records when each connection joined a listener's accept queue, before anybody accepts
// it: an arrival is an event of the poller, and the kernel tells how many connections wait. A
// listener can be waited on only by accepting (net's raw listener has no Read), so the queue has
// a second descriptor of the socket.
type queue struct {
	length   func(fd int) (int, error) // of the accept queue
	listener func() (*os.File, error)  // the socket
	mu       sync.Locker               // the port's; it guards the rest
	file     *os.File                  // the socket, from when it is first needed
	arrivals []time.Time               // of those that are in the queue, in order
}

// awaitDue waits until the connection at the head has been in the queue for as long as hold
// says. It calls hold with the lock held, as often as something changes. An error of hold ends
// the wait.
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

// nextDue reports whether the head may be accepted now. If not, the poller wakes us when it may.
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

// arrived records the connections that have joined since the last call, and reports whether
// there are any. It counts under the lock: otherwise what is taken or reset meanwhile would be
// recorded for the next one.
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

// only forgets all but the last n: Accept may have taken the others without having recorded it
// yet. The caller holds the lock.
func (q *queue) only(n int) {
	q.arrivals = q.arrivals[max(0, len(q.arrivals)-n):]
}

// taken removes the head, which has been accepted, and returns when it joined: now, if nobody
// has asked before. The caller holds the lock.
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

// close is for a port that is closed. The caller must not hold the lock: closing the file waits
// for goroutines in the poller, and one of them, in arrived, waits for the lock.
func (q *queue) close() {
	if q.file != nil {
		_ = q.file.Close()
	}
}
