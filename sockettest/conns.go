package sockettest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/story"
	"example.com/go-sockettest/network"
)

// A sight is a fixture that was started, seen by whoever watches it.
type sight struct {
	f     connected
	stack network.Stack
	addr  string          // that clients connect to; empty of an Attack
	old   map[uint64]bool // sockets that were connected to it before the fixture was there
	by    []*Watch
	at    [8]uintptr // where it was started
	key   any        // of a test that nobody watches

	let atomic.Pointer[connectedThen] // when Expect closed it
}

// connectedThen are the sockets that were connected to a fixture at one moment, or why that is not
// known.
type connectedThen struct {
	sockets []network.Socket
	err     error
}

// unlisted returns why nobody knows of connections that the fixture has not accepted. Where sockets
// are never listed, NoLeaks says that it misses those.
func (s *sight) unlisted() error {
	if let := s.let.Load(); let != nil && !errors.Is(let.err, errors.ErrUnsupported) {
		return let.err
	}
	return nil
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
	s := &sight{f: f, stack: stackOf(f), addr: addressOf(f), old: map[uint64]bool{}}
	if s.addr != "" {
		now := openNow(s.stack)
		for _, o := range now.toward[s.addr] { // somebody else's was there, and its clients have not closed
			s.old[o.Number] = true
		}
		if now.err != nil {
			s.let.Store(&connectedThen{err: now.err}) // whose they are cannot be told later
		}
	}
	runtime.Callers(2, s.at[:])
	for ; w != nil; w = w.outer {
		if s.stack == Kernel {
			w.holdFinalizers()
		}
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
	var then []fixtures.Event
	for i := range found {
		found[i].text = found[i].describe()
		if i == 0 {
			for n := 0; n < 5 && s.stack == Kernel; n++ {
				pauseForSigns(true) // it may have yet to note what the client has just received
			}
			then = timelineOf(s.f)
		}
		found[i].then = then
	}
	for _, w := range s.by {
		w.mu.Lock()
		delete(w.running, s)
		w.unlisted = cmp.Or(w.unlisted, s.unlisted())
		w.suspects = append(w.suspects, found...)
		w.mu.Unlock()
	}
}

// A suspect is a connection whose other end the code under test had not closed when it was looked
// at.
type suspect struct {
	conn   *fixtures.Conn   // nil if the fixture has not accepted it, or nobody knows which it is
	oneOf  []*fixtures.Conn // that it may be
	of     *sight
	socket socketOf
	text   string
	then   []fixtures.Event // what had happened when it was looked at; nil if that is now
}

// A socketOf is the other end's socket; the zero one is not known.
type socketOf struct {
	stack  network.Stack
	number uint64
	state  string
	ends   string // both addresses
}

// key is the same for two looks at one connection.
func (s suspect) key() any {
	if s.socket.number == 0 {
		return s.conn
	}
	return socketOf{stack: s.socket.stack, number: s.socket.number}
}

// dials reports whether the connection is not made yet: what is left behind is whoever dials.
func (s suspect) dials() bool { return s.conn == nil && s.socket.state == "SYN-SENT" }

// describe says in one line how the socket stands that was not closed: bytes left unread say what
// was forgotten.
func (s suspect) describe() string {
	if s.text != "" {
		return s.text
	}
	if s.conn == nil {
		text := fmt.Sprintf("%s, %s still on the client's side, ", s.socket.ends, cmp.Or(s.socket.state, "open"))
		switch n := len(s.oneOf); {
		case n == 1:
			text += fmt.Sprintf("#%d, or ", s.oneOf[0].ID())
		case n > 1:
			text += fmt.Sprintf("one of %d from #%d to #%d, or ", n, s.oneOf[0].ID(), s.oneOf[n-1].ID())
		}
		text += "not accepted by the fixture"
		if e := s.of.endpoint(); e != nil && e.Omitted().Conns > 0 {
			text += fmt.Sprintf(", or one of %s that it does not keep", plural(e.Omitted().Conns, "connection"))
		}
		return text
	}
	other := s.conn.RemoteAddr()
	if s.of.tested() == "server" {
		other = s.conn.LocalAddr()
	}
	text := fmt.Sprintf("#%d from %v, ", s.conn.ID(), other)
	if end, _ := s.conn.PeerEnd(); end != fixtures.Open {
		return text + fmt.Sprintf("%s came from the %s, but its socket was never closed", end, s.of.tested())
	}
	info, err := s.conn.Info()
	switch {
	case err == nil && info.Other != nil && info.Other.Unread > 0:
		return text + fmt.Sprintf("%s still on the %s's side, %s unread by it", info.Other.State, s.of.tested(), amount(int64(info.Other.Unread)))
	case err == nil && info.Other != nil:
		return text + fmt.Sprintf("%s still on the %s's side, which has read all that came", info.Other.State, s.of.tested())
	case s.socket.state != "":
		return text + s.socket.state + " still on the " + s.of.tested() + "'s side"
	}
	return text + "never closed by the " + s.of.tested()
}

func (s suspect) tested() string { return s.of.tested() }

// tested names what a fixture is there to test; nobody knows of a nil sight.
func (s *sight) tested() string {
	if s == nil || s.f == nil {
		return "client"
	}
	return testedBy(s.f)
}

// endpoint returns what has clients; nil of an Attack, and if nobody knows.
func (s *sight) endpoint() *fixtures.Endpoint {
	if s == nil || s.f == nil {
		return nil
	}
	return endpointOf(s.f)
}

// storiesShown is for how many connections the report of a leak shows what happened on them.
const storiesShown = 3

// story tells what happened on the connection until it was looked at, after its fixture and where
// that was started.
func (s suspect) story() string {
	if s.of == nil || s.of.f == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nfixture %s%s", story.Printable(s.of.f.String(), keepInner), s.of.startedAt())
	f := failure{tested: s.of.tested()}
	var own []fixtures.Event
	events := s.then
	if events == nil {
		events = timelineOf(s.of.f)
	}
	for _, e := range events {
		if s.conn != nil && e.Conn == s.conn.ID() {
			own = append(own, e)
		}
	}
	for i, e := range own {
		if i >= story.Ends && i < len(own)-story.Ends {
			if i == story.Ends {
				fmt.Fprintf(&b, "\n  ... %d more ...", len(own)-2*story.Ends)
			}
			continue
		}
		b.WriteString("\n  " + strings.TrimLeft(f.teller().Event(e), " "))
	}
	if len(own) > 0 {
		fmt.Fprintf(&b, "   <- the last that happened on #%d", s.conn.ID())
	}
	return b.String()
}

// startedAt says where Start was called.
func (s *sight) startedAt() string {
	frames := runtime.CallersFrames(s.at[:])
	for {
		f, more := frames.Next()
		if name := f.Function; name != "" && !strings.HasPrefix(name, startPath+"Start[") && name != startPath+"see" {
			return fmt.Sprintf(", started at %s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}

// startPath begins the names of this package's functions.
var startPath = reflect.TypeFor[Watch]().PkgPath() + "."

// suspects returns the connections whose other ends are open, whoever ended the connection and
// whether or not the fixture has accepted it. A socket is known by both its addresses: the same
// port may be in use for another connection by now.
func (s *sight) suspects() []suspect {
	conns := s.f.Conns()
	if len(conns) == 0 && s.addr == "" {
		return nil
	}
	now := openNow(s.stack)
	if now.err != nil {
		return s.unended(conns)
	}
	number, unsure := s.byAddress(now), []*fixtures.Conn(nil)
	if len(conns) > 0 && conns[0].LocalAddr().Network() == "unix" {
		number, unsure = s.byPeer(now, conns)
	}
	var found []suspect
	taken := map[uint64]bool{}
	for i := len(conns) - 1; i >= 0; i-- { // the latest first: it has the address, if it was used before
		if n := number(conns[i]); n != 0 {
			taken[n] = true
			found = append(found, suspect{conn: conns[i], of: s, socket: s.socketOf(now.numbers[n])})
			if slices.Contains(unsure, conns[i]) {
				found[len(found)-1].conn, found[len(found)-1].oneOf = nil, unsure
			}
		}
	}
	slices.Reverse(found)
	toward := now.toward[s.addr]
	if let := s.let.Load(); let != nil {
		toward = now.these(let.sockets)
	} else if len(toward) > 0 && s.closed() {
		toward = nil
	}
	for _, o := range toward {
		if !taken[o.Number] && !s.old[o.Number] {
			found = append(found, suspect{of: s, socket: s.socketOf(o)})
		}
	}
	return found
}

// letGo notes what is connected to a fixture before Expect closes it: later its address may be
// somebody else's.
func letGo(ep Running) {
	for _, part := range partsOf(ep) {
		e := endpointOf(part)
		if e == nil || e.NetAddr() == nil {
			continue
		}
		s := unseen(e)
		if s.closed() {
			continue
		}
		now := openNow(s.stack)
		let := &connectedThen{now.toward[s.addr], now.err}
		for _, s := range sightsOf(e) {
			s.let.CompareAndSwap(nil, let)
		}
		if p := partUsed(e); p != nil {
			p.let.CompareAndSwap(nil, let)
		}
	}
}

// unseen is the sight of a fixture whose start nobody has seen.
func unseen(f connected) *sight {
	s := &sight{f: f, stack: stackOf(f), addr: addressOf(f)}
	if e := endpointOf(f); e != nil {
		if p := partUsed(e); p != nil {
			s.let.Store(p.let.Load())
		}
	}
	return s
}

func (s *sight) socketOf(o network.Socket) socketOf {
	return socketOf{s.stack, o.Number, o.State, strings.TrimSpace(o.Local + " -> " + o.Remote)}
}

// unended returns those that were not seen to end, where sockets are not listed: nobody can be
// asked later. A server need not end what its client is about to.
func (s *sight) unended(conns []*fixtures.Conn) []suspect {
	if _, attack := s.f.(*hostile.Attack); attack {
		return nil
	}
	var found []suspect
	for _, c := range awaitEnds(openConns(conns)) {
		found = append(found, suspect{conn: c, of: s})
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
// path that a client is connected to, which says which connection it was only if it was each.
func (s *sight) byPeer(now *openTable, conns []*fixtures.Conn) (number func(c *fixtures.Conn) uint64, unsure []*fixtures.Conn) {
	known := map[*fixtures.Conn]uint64{}
	taken := map[uint64]bool{}
	for _, c := range conns {
		info, err := c.Info()
		if err != nil { // our end is closed
			unsure = append(unsure, c)
			continue
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
	if len(unsure) == len(rest) {
		unsure = nil
	}
	return func(c *fixtures.Conn) uint64 {
		if n, ok := known[c]; ok || len(rest) == 0 {
			return n
		}
		n := rest[len(rest)-1].Number
		rest = rest[:len(rest)-1]
		return n
	}, unsure
}

// addressOf returns the address that a fixture's clients connect to; empty if it has none.
func addressOf(f connected) string {
	e := endpointOf(f)
	if e == nil || e.NetAddr() == nil {
		return ""
	}
	return e.Addr()
}

// stackOf returns a fixture's network in a form that a map can have as a key.
func stackOf(f connected) network.Stack {
	if s := f.Stack(); !reflect.ValueOf(s).Comparable() {
		return &struct{ network.Stack }{s}
	}
	return f.Stack()
}

// endpointOf returns what has clients in a fixture; nil of an Attack.
func endpointOf(f connected) *fixtures.Endpoint {
	switch f := f.(type) {
	case *fixtures.Endpoint:
		return f
	case *dnsfault.Endpoint:
		return f.TCP
	}
	return nil
}

// closed reports whether the address may be somebody else's by now.
func (s *sight) closed() bool {
	return slices.ContainsFunc(s.endpoint().Events(), func(e fixtures.Event) bool { return e.Kind == fixtures.Stopped })
}

// openConns returns the connections that neither side has ended: once our end is closed nobody
// tells of the other. The other's FIN may wait behind bytes for which the fixture has no room; its
// socket is nobody's then.
func openConns(conns []*fixtures.Conn) []*fixtures.Conn {
	return slices.DeleteFunc(conns, func(c *fixtures.Conn) bool {
		end, _ := c.PeerEnd()
		info, err := c.Info()
		closed := err == nil && info.Other != nil && info.Other.Inode == 0
		return end != fixtures.Open || closed || errors.Is(err, net.ErrClosed)
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
