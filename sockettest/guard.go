package sockettest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"go.uber.org/goleak"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/dnsanswer"
	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/internal/warm"
)

// OnlyLoopback keeps the test on this machine. From now until the test ends, a dial to an address
// beyond loopback, or the lookup of a name that only a name server could know, gets an error, and
// fails the test with the address and the line of the code that called. Nothing is sent. To connect
// a UDP socket is a dial too.
//
//	func TestSignUp(t *testing.T) {
//		sockettest.OnlyLoopback(t)
//		...
//	}
//
// Loopback is 127.0.0.0/8, ::1, and what leads there: 0.0.0.0, ::, localhost and the names of the
// hosts file. Unix sockets and simulated networks are allowed, too.
//
// # What it sees
//
// With the overlay of package net (see [simnet.Network.Intercept]) it sees whatever the process
// dials, looks up or sends by UDP through package net. Without it, it sees what goes through
//
//   - [http.DefaultTransport], and what was cloned from it since, if its DialContext is that of a
//     [net.Dialer], as package net/http has made it;
//   - [net.DefaultResolver], which any [net.Dialer] without a Resolver uses: so it sees the name of a
//     dial, but not a dial to an IP address. A resolver with a Dial of its own, such as
//     [DefaultResolver] may set, is left alone;
//   - what [Dialer] returns, in a disarmed run.
//
// It never sees raw IP sockets, sockets made by system calls or in C, and other processes.
//
// # Parallel tests
//
// A dial belongs to the test on whose goroutine, or one that this has started, directly or not, it
// is made: as for [NoLeaks], by a profiler label. One that belongs to no test with OnlyLoopback,
// such as that of a pool which another test has filled, fails all tests that have it;
// with [OnlyLoopbackAlways] it fails the package instead.
//
// Without the overlay, OnlyLoopback changes variables of the whole process. It is then fatal in a
// parallel test, unless [Main] was given OnlyLoopbackAlways, or a test around it has OnlyLoopback.
func OnlyLoopback(t testing.TB) {
	if argument.IsNil(t) {
		_ = errNilTB("OnlyLoopback")
		return
	}
	t.Helper()
	if intercept.Ready() != nil && !guards.around() && !argument.Exclusive(t, "SOCKETTEST_ONLY_LOOPBACK", "1") {
		t.Fatalf("sockettest.OnlyLoopback: t is parallel, and package net is Go's own, so that the guard changes variables of the whole process;" +
			" want sockettest.Main(m, sockettest.OnlyLoopbackAlways()) in TestMain, a test that is not parallel, or the overlay: " +
			intercept.Remedy)
		return
	}
	t.Cleanup(guards.begin(t))
}

// OnlyLoopbackAlways has [Main] keep all tests of a package on this machine, as [OnlyLoopback]
// does for one. Main prints what was dialled or looked up, and fails the package.
//
//	func TestMain(m *testing.M) { sockettest.Main(m, sockettest.OnlyLoopbackAlways()) }
//
// A test that calls OnlyLoopback as well fails itself instead, parallel or not.
func OnlyLoopbackAlways() goleak.Option { return guardOption{goleak.IgnoreTopFunction("")} }

// A guardOption is one that goleak takes, too.
type guardOption struct{ goleak.Option }

// guardPackage begins what the options ask for. The function that it returns ends that, and turns
// what was found into a failing exit code.
func guardPackage(options []goleak.Option) (end func(code int) int) {
	is := func(o goleak.Option) bool { _, is := o.(guardOption); return is }
	if !slices.ContainsFunc(options, is) {
		return func(code int) int { return code }
	}
	undo := guards.begin(nil)
	return func(code int) int {
		undo()
		guards.mu.Lock()
		defer guards.mu.Unlock()
		for _, found := range guards.found {
			fmt.Fprintln(os.Stderr, found)
			code = cmp.Or(code, 1)
		}
		return code
	}
}

// guardKey is the profiler label by which the goroutines of a test are known. Its value has the
// number of the guard after those of the guards around it.
const guardKey = "sockettest.OnlyLoopback"

// guards are those in force.
var guards guardSet

type guardSet struct {
	n     atomic.Int32 // without any, nobody need look
	mu    sync.Mutex
	tests map[string]*guard // by number; Main's by ""
	found []string          // what is Main's
	undo  func()
}

// A guard is a test's.
type guard struct {
	t    testing.TB // nil for Main's
	said map[string]bool
}

// around reports whether a guard is in force already that outlives the calling test.
func (s *guardSet) around() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.innermost(labelOf(guardKey)) != nil
}

// innermost returns the guard with a label that goes on; Main's if none does, or nil.
func (s *guardSet) innermost(label string) *guard {
	for _, number := range slices.Backward(strings.Split(label, "/")) {
		if g := s.tests[number]; g != nil {
			return g
		}
	}
	return s.tests[""]
}

// begin adds a guard. t is nil for Main's.
func (s *guardSet) begin(t testing.TB) (end func()) {
	number, outer := "", labelOf(guardKey)
	if t != nil {
		number = strconv.FormatInt(serial.Add(1), 10)
		label(guardKey, outer+"/"+number)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n.Add(1) == 1 {
		s.tests, s.undo = map[string]*guard{}, guardHooks()
	}
	s.tests[number] = &guard{t: t, said: map[string]bool{}}
	return func() {
		if t != nil && labelOf(guardKey) == outer+"/"+number {
			label(guardKey, outer)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tests, number)
		if s.n.Add(-1) == 0 {
			s.undo()
		}
	}
}

// label labels the calling goroutine beside the labels that it has.
func label(key, value string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(withOwnLabels(context.Background()), pprof.Labels(key, value)))
}

// of returns the guards that what the calling goroutine does belongs to.
func (s *guardSet) of() []*guard {
	own := labelOf(guardKey)
	if g := s.innermost(own); g != nil {
		return []*guard{g}
	}
	if own != "" { // that of a test which is over: it is nobody else's
		return nil
	}
	var all []*guard
	for _, g := range s.tests {
		all = append(all, g)
	}
	return all
}

// errBeyond is what the caller gets.
type errBeyond string

// beyondRule is why.
const beyondRule = "it is beyond loopback, and sockettest.OnlyLoopback is in force"

// Error names the address.
func (e errBeyond) Error() string { return string(e) + ": " + beyondRule }

// refuse fails the tests that what belongs to. It returns nil if no guard is in force.
func (s *guardSet) refuse(what string) error {
	if s.n.Load() == 0 {
		return nil
	}
	caller := callerBeyond()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.of() {
		text := fmt.Sprintf("sockettest.OnlyLoopback: %s: it is beyond loopback\n  caller   %s\n"+
			"  remedy   a fixture (sockettest.Start) or a simulated network (package simnet) in its place", what, caller)
		again := g.said[text]
		g.said[text] = true
		switch {
		case again:
		case g.t == nil:
			s.found = append(s.found, text)
		default:
			g.t.Errorf("%s", text)
		}
	}
	return errBeyond(what)
}

// check refuses an address that a socket is about to be connected to.
func (s *guardSet) check(network string, to netip.AddrPort) error {
	switch {
	case isBeyond(to):
		return s.refuse("dial " + strings.TrimRight(network, "46") + " " + netip.AddrPortFrom(to.Addr().Unmap(), to.Port()).String())
	case to.Port() == 53 && isForResolver(): // one that forwards what it is asked
		return s.refuse("lookup at the name server " + to.String())
	}
	return nil
}

// isBeyond reports whether an address is one of another machine, or of this one's other interfaces.
func isBeyond(to netip.AddrPort) bool {
	a := to.Addr().Unmap()
	return to.IsValid() && !a.IsLoopback() && !a.IsUnspecified()
}

// control is for [net.Dialer].ControlContext.
func (s *guardSet) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if s.n.Load() == 0 || err != nil { // that of a unix socket
		return nil
	}
	return s.check(network, to)
}

// guardHooks has the guards asked: by package net if the overlay is there, and otherwise by the
// default transport and the default resolver.
func guardHooks() (undo func()) {
	if intercept.Ready() == nil {
		return intercept.Guard(guardStack{})
	}
	resolver := net.DefaultResolver
	if resolver.Dial == nil {
		net.DefaultResolver = &net.Resolver{PreferGo: true, StrictErrors: resolver.StrictErrors, Dial: dialNoServer(guards.refuse)}
	}
	undo = func() { net.DefaultResolver = resolver }
	if tr, ok := http.DefaultTransport.(*http.Transport); ok && tr != nil {
		if d := dialerOf(tr.DialContext); d != nil {
			before := tr.DialContext
			tr.DialContext = guarded(*d).DialContext
			undo = func() { net.DefaultResolver, tr.DialContext = resolver, before }
		}
	}
	return undo
}

// dialerOf returns the dialer whose method a function is, such as that of [http.DefaultTransport];
// nil if it is another function, which may lead anywhere. The dialer's own hook comes first, and
// may send nothing: only a copy of the dialer can ask the guards after it. Package reflect does not
// show what a method value is bound to.
func dialerOf(dial func(ctx context.Context, network, address string) (net.Conn, error)) *net.Dialer {
	if dial == nil || runtime.FuncForPC(reflect.ValueOf(dial).Pointer()).Name() != "net.(*Dialer).DialContext-fm" {
		return nil
	}
	// A method value points to the code, and behind that to what the method is called on.
	return (*(**struct {
		code   uintptr
		dialer *net.Dialer
	})(unsafe.Pointer(&dial))).dialer
}

// guarded returns a dialer that asks the guards once its own hook has let an address pass.
func guarded(d net.Dialer) *net.Dialer {
	plain, hook := d.Control, d.ControlContext
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		var err error
		if hook != nil {
			err = hook(ctx, network, address, c)
		} else if plain != nil {
			err = plain(network, address, c)
		}
		if err != nil {
			return err
		}
		return guards.control(ctx, network, address, c)
	}
	return &d
}

// dialNoServer fits [net.Resolver.Dial]. It knows localhost, and refuses other names.
func dialNoServer(refuse func(what string) error) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		q := &guardedQuery{}
		c, err := dnsanswer.Dial(func(name string) dnsanswer.Reply {
			if isLocalhost(name) {
				return dnsanswer.Reply{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}
			}
			q.refused = refuse("lookup " + name)
			return dnsanswer.NoSuchName
		})(ctx, network, address)
		q.Conn = c
		return q, err
	}
}

func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// A guardedQuery fails the write of a query that was refused.
type guardedQuery struct {
	net.Conn
	refused error
}

// Write takes a query.
func (q *guardedQuery) Write(b []byte) (int, error) {
	n, err := q.Conn.Write(b)
	if q.refused != nil {
		return 0, q.refused
	}
	return n, err
}

// A guardStack leaves to the kernel what does not lead beyond loopback.
type guardStack struct{}

// Socket lets the dialer's own hook go first: one that returns an error sends nothing.
func (guardStack) Socket(_ context.Context, network string, _, remote netip.AddrPort, control func(syscall.RawConn) error) (any, error) {
	if control != nil && isBeyond(remote) {
		if err := control(noRaw{}); err != nil && !errors.Is(err, errNoRaw) {
			return nil, err
		}
	}
	return nil, guards.check(network, remote)
}

// MaySend refuses a datagram beyond loopback.
func (guardStack) MaySend(to netip.AddrPort) error {
	if isBeyond(to) {
		return guards.refuse("send udp " + netip.AddrPortFrom(to.Addr().Unmap(), to.Port()).String())
	}
	return nil
}

// LookupNetIP refuses the names that only a name server can know.
func (guardStack) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, bool, error) {
	if isLocalhost(name) {
		return nil, false, nil
	}
	warm.Resolver()
	silent := net.Resolver{PreferGo: true, Dial: dialNoServer(func(string) error { return errNoServer })}
	if _, err := silent.LookupNetIP(untraced{ctx}, "ip", name); err == nil {
		return nil, false, nil // of the hosts file
	}
	name = strings.TrimSuffix(name, ".")
	if err := guards.refuse("lookup " + name); err != nil {
		return nil, true, &net.DNSError{Err: beyondRule, Name: name, UnwrapErr: err}
	}
	return nil, false, nil
}

// An untraced context has no values, such as a trace of lookups.
type untraced struct{ context.Context }

// Value returns nil.
func (untraced) Value(any) any { return nil }

var errNoServer = errors.New("there is no name server")

// A noRaw is the descriptor of a socket that is not made.
type noRaw struct{}

var errNoRaw = errors.New("sockettest.OnlyLoopback: no socket is made for an address beyond loopback")

// Control fails.
func (noRaw) Control(func(uintptr)) error { return errNoRaw }

// Read fails.
func (noRaw) Read(func(uintptr) bool) error { return errNoRaw }

// Write fails.
func (noRaw) Write(func(uintptr) bool) error { return errNoRaw }

// isForResolver reports whether the calling goroutine dials for a resolver without a Dial.
func isForResolver() bool {
	frames := framesOf(goroutinesByID()[goroutineID()])
	for _, f := range frames {
		switch {
		case strings.HasPrefix(f, "net.(*Resolver).dial  "):
			return true
		case !strings.HasPrefix(f, "net.") && !isOurs(f):
			return false
		}
	}
	return false
}

// callerBeyond returns the innermost frame, on the calling goroutine's stack and above it on those
// of the goroutines that it comes from, that is neither the standard library's nor ours.
func callerBeyond() string {
	all := goroutinesByID()
	creator, id := "", goroutineID()
	for steps := 0; id != "" && steps < maxDepth; steps++ {
		frames := framesOf(all[id])
		creator, id = creatorOf(all[id])
		for _, f := range append(slices.Clip(frames), creator) {
			if f != "" && isClients(f) && !isOurs(f) {
				return f
			}
		}
	}
	return "not known: the goroutine that began it is gone"
}

// goroutinesByID returns the stacks of all goroutines.
func goroutinesByID() map[string]string {
	all := map[string]string{}
	for g := range strings.SplitSeq(everyStack.now(), "\n\n") {
		id, _, _ := strings.Cut(g, " [")
		all[id] = g
	}
	return all
}

// isOurs reports whether a frame is of the packages through which a guard is asked, or of those
// that dial on behalf of a test.
func isOurs(frame string) bool {
	rest, ours := strings.CutPrefix(frame, strings.TrimSuffix(startPath, "sockettest."))
	return ours && !strings.Contains(frame, "_test.go:") && hasPrefix(rest, []string{"sockettest.", "fixtures.", "fixtures/", "simnet.", "network.",
		"internal/intercept.", "internal/dnsanswer.", "internal/shared.", "internal/rawsock", "internal/patience."})
}
