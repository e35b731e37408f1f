package sockettest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/shared"
	"example.com/go-sockettest/network"
)

// A sight is a fixture that was started, seen by whoever watches it.
type sight struct {
	f     connected
	stack network.Stack
	old   map[uint64]bool // sockets that were connected to a unix fixture's path before it was there
	by    []*Watch
	key   any // of a test that nobody watches
}

// see notes a fixture that t has started; f is nil if it has no connections.
func see(t testing.TB, f connected) *sight {
	w := watchOf(t)
	if w == nil {
		s := &sight{key: testKey(t)}
		watches.mu.Lock()
		defer watches.mu.Unlock()
		watches.started[s.key]++
		return s
	}
	if f == nil {
		return &sight{}
	}
	s := &sight{f: f, stack: f.Stack()}
	if s.stack == Kernel {
		w.holdFinalizers()
	}
	s.noteOld()
	for ; w != nil; w = w.outer {
		s.by = append(s.by, w)
		w.mu.Lock()
		w.running[s] = true
		w.mu.Unlock()
	}
	return s
}

// end looks at the fixture's connections before it is closed. What is open may still be closed by a
// cleanup that has yet to run, so the verdict asks again.
func (s *sight) end() {
	if s.key != nil {
		watches.mu.Lock()
		defer watches.mu.Unlock()
		if watches.started[s.key]--; watches.started[s.key] == 0 {
			delete(watches.started, s.key)
		}
	}
	if len(s.by) == 0 {
		return
	}
	found := s.suspects()
	for i := range found {
		found[i].text = found[i].describe()
	}
	for _, w := range s.by {
		w.mu.Lock()
		delete(w.running, s)
		w.suspects = append(w.suspects, found...)
		w.mu.Unlock()
	}
}

// A suspect is a connection whose other end the code under test had not closed when it was looked
// at.
type suspect struct {
	conn   *fixtures.Conn
	socket socketOf
	text   string
}

// A socketOf is the other end's socket; the zero one is not known.
type socketOf struct {
	stack  network.Stack
	number uint64
	state  string
}

// describe adds how the socket stands that was not closed: bytes left unread say what was
// forgotten.
func (s suspect) describe() string {
	if s.text != "" {
		return s.text
	}
	text := s.conn.String()
	if end, _ := s.conn.PeerEnd(); end != fixtures.Open {
		text += ", its socket never closed"
	}
	if info, err := s.conn.Info(); err == nil && info.Other != nil {
		return fmt.Sprintf("%s (%s, %d B unread)", text, info.Other.State, info.Other.Unread)
	}
	if s.socket.state != "" {
		text += " (" + s.socket.state + ")"
	}
	return text
}

// suspects returns the connections whose other ends are open, whoever ended the connection. A
// socket is known by both its addresses: the same port may be in use for another connection by now.
func (s *sight) suspects() []suspect {
	conns := s.f.Conns()
	if len(conns) == 0 {
		return nil
	}
	now := openNow(s.stack)
	if now.err != nil {
		return s.unlisted(conns)
	}
	number := s.byAddress(now)
	if conns[0].LocalAddr().Network() == "unix" {
		number = s.byPeer(now, conns)
	}
	var found []suspect
	for i := len(conns) - 1; i >= 0; i-- { // the latest first: it has the address, if it was used before
		if n := number(conns[i]); n != 0 {
			found = append(found, suspect{conn: conns[i], socket: socketOf{s.stack, n, now.numbers[n].State}})
		}
	}
	slices.Reverse(found)
	return found
}

// unlisted returns those that were not seen to end, where sockets are not listed: nobody can be
// asked later. A server need not end what its client is about to.
func (s *sight) unlisted(conns []*fixtures.Conn) []suspect {
	if _, attack := s.f.(*hostile.Attack); attack {
		return nil
	}
	var found []suspect
	for _, c := range awaitEnds(openConns(conns)) {
		found = append(found, suspect{conn: c})
	}
	return found
}

// byAddress finds the other end's socket of a TCP connection, each once.
func (s *sight) byAddress(now *openTable) func(c *fixtures.Conn) uint64 {
	used := map[bothEnds]int{}
	return func(c *fixtures.Conn) uint64 {
		at := bothEnds{c.RemoteAddr().String(), c.LocalAddr().String()}
		left := now.connected[at][:max(0, len(now.connected[at])-used[at])]
		if len(left) == 0 {
			return 0
		}
		used[at]++
		return left[len(left)-1].Number
	}
}

// byPeer finds the other end's socket of a unix connection. The clients of a unix socket have no
// addresses: while our end is open the kernel tells who is at the other; later there is only the
// path that a client is connected to.
func (s *sight) byPeer(now *openTable, conns []*fixtures.Conn) func(c *fixtures.Conn) uint64 {
	known := map[*fixtures.Conn]uint64{}
	taken := map[uint64]bool{}
	for _, c := range conns {
		info, err := c.Info()
		if err != nil {
			continue // our end is closed
		}
		known[c] = 0
		if info.Other != nil && now.numbers[info.Other.Inode].Number != 0 {
			known[c] = info.Other.Inode
			taken[known[c]] = true
		}
	}
	rest := slices.DeleteFunc(slices.Clone(now.connected[bothEnds{"", conns[0].LocalAddr().String()}]), func(o network.Socket) bool {
		return taken[o.Number] || s.old[o.Number]
	})
	return func(c *fixtures.Conn) uint64 {
		if n, ok := known[c]; ok || len(rest) == 0 {
			return n
		}
		n := rest[len(rest)-1].Number
		rest = rest[:len(rest)-1]
		return n
	}
}

// noteOld keeps in mind who is connected to the path already: somebody else's socket was there
// before, and its clients have not closed.
func (s *sight) noteOld() {
	at, ok := s.f.(interface{ NetAddr() net.Addr })
	if !ok || at.NetAddr() == nil || at.NetAddr().Network() != "unix" {
		return
	}
	s.old = map[uint64]bool{}
	for _, o := range openNow(s.stack).connected[bothEnds{"", at.NetAddr().String()}] {
		s.old[o.Number] = true
	}
}

// openConns returns the connections that neither side has ended: once our end is closed nobody
// tells of the other.
func openConns(conns []*fixtures.Conn) []*fixtures.Conn {
	return slices.DeleteFunc(conns, func(c *fixtures.Conn) bool {
		end, _ := c.PeerEnd()
		_, err := c.Info()
		return end != fixtures.Open || errors.Is(err, net.ErrClosed)
	})
}

// awaitEnds gives the other sides time to end, where nothing can be asked later, and returns those
// that have not.
func awaitEnds(open []*fixtures.Conn) []*fixtures.Conn {
	poll(settle, func() bool {
		open = openConns(open)
		return len(open) == 0
	})
	return open
}

// An openTable is what a network had at one moment.
type openTable struct {
	err       error
	numbers   map[uint64]network.Socket
	connected map[bothEnds][]network.Socket
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
	o := &openTable{err: err, numbers: make(map[uint64]network.Socket, len(all)), connected: make(map[bothEnds][]network.Socket, len(all))}
	for _, s := range all {
		o.numbers[s.Number] = s
		at := bothEnds{s.Local, s.Remote}
		o.connected[at] = append(o.connected[at], s)
	}
	return o
}
