package sockettest

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/internal/shared"
	"example.com/go-sockettest/network"
)

// NoLeakedSockets fails the test if at its end the process has sockets open that it did not have at
// the call: TCP, UDP and unix sockets, listeners too, whoever opened them. Call it first in the
// test, so that it looks last. It waits up to 2 s for what is about to close: a dial whose caller
// has given up notices that only when its SYN is retransmitted, after about 1 s.
//
// It looks at the whole process. In a parallel test, or under one, it is fatal, and so is a later
// t.Parallel. Other parallel tests wait until this one has ended. As with [NoLeaks] the process's
// finalizers wait until the test is over. Only Linux with /proc lists a process's sockets:
// elsewhere NoLeakedSockets logs that it checks nothing, and why.
//
// A failure reads:
//
//	leak: 1 socket left open
//	  socket     tcp4 127.0.0.1:33724 -> 127.0.0.1:42357, ESTABLISHED; its peer Echo{} on 127.0.0.1:42357 is closed
func NoLeakedSockets(t testing.TB) {
	if argument.IsNil(t) {
		_ = errNilTB("NoLeakedSockets")
		return
	}
	t.Helper()
	noLeakedSockets(t, settle)
}

// exclusiveEnv is an environment variable that is set so that package testing keeps the test from
// being parallel.
const exclusiveEnv = "SOCKETTEST_NO_LEAKED_SOCKETS"

// noLeakedSockets is NoLeakedSockets with another time for what is about to close.
func noLeakedSockets(t testing.TB, grace time.Duration) {
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
	failIfFound(t, w, grace)
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
// before.
func (before openSockets) left(grace time.Duration) Leaks {
	var l Leaks
	var all, left []rawsock.Socket
	poll(grace, func() bool {
		var err error
		all, err = rawsock.Sockets()
		left, l.Unseen = nil, ""
		if err != nil { // as when all descriptors are in use
			l.Unseen = "the process's sockets are not listed: " + err.Error()
		}
		for _, s := range all {
			if _, old := before[s.Inode]; !old {
				left = append(left, s)
			}
		}
		return len(left) == 0 && err == nil
	})
	peers := socketsByEnds(all)
	for _, s := range left {
		l.Sockets = append(l.Sockets, socketText(s)+peerText(s, peers))
	}
	slices.Sort(l.Sockets)
	return l
}

// A socketEnds is what a socket's peer is found by.
type socketEnds struct {
	protocol string
	bothEnds
}

func endsOf(s rawsock.Socket, local, remote string) socketEnds {
	return socketEnds{strings.TrimRight(s.Family, "46"), bothEnds{local, remote}}
}

// socketsByEnds makes one search for the peers of all: a process may have leaked thousands.
func socketsByEnds(all []rawsock.Socket) map[socketEnds]rawsock.Socket {
	at := make(map[socketEnds]rawsock.Socket, len(all))
	for _, s := range all {
		at[endsOf(s, s.Local, s.Remote)] = s
	}
	return at
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

// peerText says what is at the other end of a socket: a fixture, if one was started since a watch
// began, and whether this process has it open.
func peerText(s rawsock.Socket, at map[socketEnds]rawsock.Socket) string {
	if s.Remote == "" {
		return ""
	}
	what := "its peer"
	if f := recentFixtures.at(s.Remote); f != "" {
		what += " " + f
	}
	peer, open := at[endsOf(s, s.Remote, s.Local)]
	if !open && strings.HasPrefix(s.Family, "udp") { // whose other end need not be connected
		peer, open = at[endsOf(s, s.Remote, "")]
	}
	if open {
		return strings.TrimSuffix("; "+what+" is open in this process, too ("+peer.State+")", " ()")
	}
	return "; " + what + " is closed, or in another process"
}

// recentFixtures are those that were started while a watch for sockets went on: at its end they are
// closed.
var recentFixtures recent

// A recent list has the latest fixtures with an address, while somebody wants to know.
type recent struct {
	wanted atomic.Int32
	mu     sync.Mutex
	list   []Running
}

// keepRecent is how many are remembered.
const keepRecent = 64

func (r *recent) add(e Running) {
	if r.wanted.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == keepRecent {
		r.list = r.list[1:]
	}
	r.list = append(r.list, e)
}

// want begins or ends (-1) that somebody wants to know.
func (r *recent) want(n int32) {
	if r.wanted.Add(n) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.list = nil
	}
}

// at returns the fixture at an address.
func (r *recent) at(addr string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(r.list) {
		if a, ok := e.(interface{ Addr() string }); ok && a.Addr() == addr {
			return e.String()
		}
	}
	return ""
}

// An openTable is what a network had at one moment.
type openTable struct {
	err       error
	numbers   map[uint64]network.Socket
	connected map[bothEnds][]network.Socket
	toward    map[string][]network.Socket // by remote address, those of streams
}

// these returns those of the sockets that are open still, as they are now.
func (o *openTable) these(sockets []network.Socket) (open []network.Socket) {
	for _, before := range sockets {
		if s := o.numbers[before.Number]; s.Number != 0 {
			open = append(open, s)
		}
	}
	return open
}

// A bothEnds has the two addresses of a connection, seen from one end.
type bothEnds struct{ local, remote string }

// kernelSockets are all looks at the kernel's: a thousand parallel tests with a descriptor or two
// each would otherwise read a million.
var kernelSockets shared.Look[*openTable]

// openNow asks the network. What it returns is shared, and not to be changed.
func openNow(t network.Stack) *openTable {
	if t == Kernel {
		return kernelSockets.Now(func() *openTable { return indexed(t) })
	}
	return indexed(t)
}

func indexed(t network.Stack) *openTable {
	all, err := t.Connected()
	o := &openTable{err: err, numbers: make(map[uint64]network.Socket, len(all)), connected: make(map[bothEnds][]network.Socket, len(all)),
		toward: make(map[string][]network.Socket, len(all))}
	for _, s := range all {
		o.numbers[s.Number] = s
		at := bothEnds{s.Local, s.Remote}
		o.connected[at] = append(o.connected[at], s)
		if _, _, ip := net.SplitHostPort(s.Remote); s.Remote != "" && (s.State != "" || ip != nil) { // else a UDP socket
			o.toward[s.Remote] = append(o.toward[s.Remote], s)
		}
	}
	return o
}
