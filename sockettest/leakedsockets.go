package sockettest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/rawsock"
)

// exclusiveEnv is an environment variable that is set so that package testing keeps the test from
// being parallel.
const exclusiveEnv = "SOCKETTEST_NO_LEAKED_SOCKETS"

// NoLeakedSockets fails the test if at its end the process has sockets open that it had not at the
// call: connections, listeners, UDP and unix sockets, whoever opened them and whatever they are
// connected to. Call it first in the test, so that it looks last. What is about to close has 2 s
// for it: a dial that goes on after its caller has given up needs one retransmission of its SYN to
// learn that it is over.
//
// It looks at the whole process, so it cannot be used in a parallel test or under one: that is
// fatal, and so would be a t.Parallel later. Other tests that are parallel wait until this one has
// ended. As with [NoLeaks] the process's finalizers wait until the test is over, so that the
// garbage collector closes no socket. Other systems than Linux, and Linux without /proc, do not
// list a process's sockets: there it logs that it checks nothing, and why.
//
// A failure reads:
//
//	leak: 1 socket left open
//	  socket     tcp4 127.0.0.1:33724 -> 127.0.0.1:42357, ESTABLISHED
func NoLeakedSockets(t testing.TB) {
	if argument.IsNil(t) {
		_ = errNilTB("NoLeakedSockets")
		return
	}
	t.Helper()
	if !argument.Exclusive(t, exclusiveEnv, t.Name()) {
		t.Fatalf("bad argument: sockettest.NoLeakedSockets: the test is parallel, or under one that is; want one that is not," +
			" since sockets are the whole process's, or sockettest.NoLeaks, which finds connections to the test's own endpoints")
	}
	w, err := WatchSockets()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("sockettest.NoLeakedSockets checks nothing: %v", err)
		return
	}
	if err != nil {
		t.Fatalf("sockettest.NoLeakedSockets: %v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		defer w.Close()
		if t.Failed() || t.Skipped() {
			return
		}
		if l := w.Find(settle); !l.Empty() {
			t.Errorf("%s", l)
		}
	})
}

// WatchSockets begins to look for sockets that the process opens from now on, whoever opens them.
// What is opened and closed beside it, by other tests say, counts like all else. Until Close the
// process's finalizers wait, so that no garbage collection closes what was leaked. Where the
// process's sockets are not listed, the error wraps [errors.ErrUnsupported], with the reason.
func WatchSockets() (*Watch, error) {
	w := &Watch{}
	w.holdFinalizers()
	var err error
	if w.sockets, err = socketsNow(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// openSockets are the sockets that the process had at one moment, by inode.
type openSockets map[uint64]rawsock.Socket

func socketsNow() (openSockets, error) {
	all, err := rawsock.Sockets()
	now := openSockets{}
	for _, s := range all {
		now[s.Inode] = s
	}
	return now, err
}

// left waits for what is about to close, and returns the sockets that are open now and were not
// before. What cannot be asked any more leaves nothing to say.
func (before openSockets) left(grace time.Duration) Leaks {
	var l Leaks
	poll(grace, func() bool {
		l = Leaks{}
		all, _ := rawsock.Sockets()
		for _, s := range all {
			if _, old := before[s.Inode]; !old {
				l.Sockets = append(l.Sockets, socketText(s))
			}
		}
		return l.Empty()
	})
	slices.Sort(l.Sockets)
	return l
}

func socketText(s rawsock.Socket) string {
	text := s.Family
	if s.Local != "" {
		text += " " + s.Local
	}
	if s.Remote != "" {
		text += " -> " + s.Remote
	}
	if s.State != "" {
		text += ", " + s.State
	}
	return text
}
