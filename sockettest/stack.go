package sockettest

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/go-sockettest/internal/shared"
)

// leftBehind holds the identifiers of operations' goroutines that could not be made to return.
var leftBehind sync.Map

// stack returns where the operation's goroutine is: one "function file:line" per frame, innermost
// first, without the runtime's frames and our own; its state; and its identifier. It must be
// called by the goroutine that called begin: that is how it is found, since to note the identifier
// beforehand would cost each operation more than all the rest.
func (r *run) stack() (frames []string, state, id string) {
	g, id := startedBy(goroutineID(), everyStack.now())
	return framesOf(g), stateOf(g), id
}

// serverStack returns where a server under test waits for its connections to read or to write: of
// the goroutines that the calling one, or one that it comes from, has started, directly or not. It
// shows the commonest stack and the next, and leaves out fixtures and tests beside this one.
func serverStack() (lines []string) {
	for looks := 0; looks < 3 && len(lines) == 0; looks++ { // between two reads it is not seen to wait
		lines = serversIn(everyStack.now(), goroutineID())
	}
	return lines
}

// serversIn finds that in the dump of all goroutines.
func serversIn(dump, own string) (lines []string) {
	goroutines := map[string]string{}
	for g := range strings.SplitSeq(dump, "\n\n") {
		id, _, _ := strings.Cut(g, " [")
		goroutines[id] = g
	}
	tests := map[string]bool{} // this test's goroutine, and those of the tests around it
	for id := own; id != "" && len(tests) < maxDepth; _, id = creatorOf(goroutines[id]) {
		tests[id] = true
	}
	count := map[string]int{}
	for id, g := range goroutines {
		frames := framesOf(g)
		if phase := phaseOfStack(frames); phase != "read" && phase != "write" && phase != "handshake" {
			continue
		}
		for steps := 0; id != "" && !tests[id] && !strings.Contains(goroutines[id], "\ntesting.tRunner(") && steps < maxDepth; steps++ {
			_, id = creatorOf(goroutines[id])
		}
		if tests[id] && !slices.ContainsFunc(frames, func(f string) bool { return strings.HasPrefix(f, fixturesPath) }) {
			count[strings.Join(ends(frames), "\n")]++
		}
	}
	stacks := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	for i, s := range stacks[:min(len(stacks), 2)] {
		if i > 0 {
			s = "and in " + s
		}
		lines = append(lines, strings.Split(s, "\n")...)
	}
	return lines
}

// stateOf reads what a goroutine is about from the header of its part of a dump: "IO wait",
// "select", "running" or such.
func stateOf(g string) string {
	_, state, _ := strings.Cut(g, " [")
	state, _, _ = strings.Cut(state, "]")
	state, _, _ = strings.Cut(state, ",")
	return state
}

// startedBy finds, in the dump of all goroutines, the operation's that another has started.
func startedBy(parent, dump string) (g, id string) {
	for g := range strings.SplitSeq(dump, "\n\n") {
		id, _, _ := strings.Cut(g, " [")
		if _, old := leftBehind.Load(id); old {
			continue
		}
		if strings.Contains(g, "sockettest.(*run).call(") && strings.Contains(g, " in "+parent+"\n") {
			return g, id
		}
	}
	return "", ""
}

// framesOf reads a goroutine's part of a dump: a header, then two lines for each frame.
func framesOf(g string) []string {
	lines := strings.Split(g, "\n")
	var frames []string
	for i := 1; i+1 < len(lines); i += 2 {
		f := lines[i]
		if strings.HasPrefix(f, "...") { // "...101 frames elided...", in one line
			i--
			continue
		}
		if strings.HasPrefix(f, "created by") || strings.Contains(f, "sockettest.(*run).call(") {
			break
		}
		if cut := strings.LastIndexByte(f, '('); cut > 0 {
			f = f[:cut]
		}
		at, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " ")
		if f = shortFrame(f, at); f != "" {
			frames = append(frames, f)
		}
	}
	return frames
}

// phaseOfStack tells from its innermost frames what a blocked operation waits for.
func phaseOfStack(frames []string) string {
	names := make([]string, len(frames))
	for i, f := range frames {
		name, _, _ := strings.Cut(f, "  ")
		names[i] = name[strings.LastIndexByte(name, '/')+1:] // net, tls and simnet, wherever they are
		if strings.HasPrefix(names[i], "tls.(*Conn).handshake") {
			return "handshake" // whatever it reads or writes
		}
	}
	for _, f := range names {
		for _, p := range []struct{ in, phase string }{
			{"net.(*netFD).connect", "connect"}, {"net.(*sysDialer)", "connect"}, {"net.(*Dialer)", "connect"},
			{"net.(*Resolver)", "resolve"},
			{"simnet.(*Network).dial", "connect"}, {"simnet.(*Host).connect", "connect"},
			{"simnet.(*Listener).Accept", "accept"},
			{"simnet.(*Conn).Read", "read"}, {"simnet.(*Conn).Write", "write"},
			{"net.(*netFD).Read", "read"}, {"net.(*netFD).Write", "write"}, {"net.(*netFD).accept", "accept"},
		} {
			if strings.HasPrefix(f, p.in) {
				return p.phase
			}
		}
	}
	return unknownPhase
}

// everyStack is shared by all who look now and then: to dump the stacks of all goroutines stops
// them all, and a hundred parallel bubbles that each do so each second would do little else.
var everyStack stacks

// stacks are those of all goroutines, as they were at a time.
type stacks struct {
	mu    sync.Mutex
	text  string
	at    time.Time
	looks shared.Look[string]
	room  []byte // that was enough the last time; a new one costs more than the dump
}

// recent returns stacks that are no older than that, and when they were taken.
func (s *stacks) recent(age time.Duration) (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= age {
		s.text, s.at = s.now(), time.Now()
	}
	return s.text, s.at
}

// now returns stacks as they are.
func (s *stacks) now() string { return s.looks.Now(s.dump) }

func (s *stacks) dump() string {
	for {
		if n := runtime.Stack(s.room, true); n < len(s.room) {
			return string(s.room[:n])
		}
		s.room = make([]byte, max(1<<16, 2*len(s.room)))
	}
}

// plumbing are the packages through which code waits for the network, besides the standard library:
// that it does is told by the innermost frame.
var plumbing = []string{"example.com/go-sockettest/simnet.", "example.com/go-sockettest/fixtures."}

// ownCalls are what we put around an operation.
var ownCalls = []string{startPath + "Expect[", startPath + "Measure[", startPath + "Value[", startPath + "operation["}

// standardLibrary has the first elements of the standard library's import paths.
var standardLibrary = strings.Fields("archive bufio bytes cmp compress container context crypto database debug embed encoding errors" +
	" expvar flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime slices sort" +
	" strconv strings structs sync syscall testing text time unicode unique unsafe vendor weak")

// isClients reports whether a frame is neither the standard library's nor one that we put below it.
func isClients(frame string) bool {
	name, _, _ := strings.Cut(frame, "  ")
	if cut := strings.IndexAny(name, "(["); cut >= 0 {
		name = name[:cut]
	}
	first, _, path := strings.Cut(name, "/")
	if !path {
		first, _, _ = strings.Cut(name, ".")
	}
	return !slices.Contains(standardLibrary, first) && !hasPrefix(frame, plumbing) && !hasPrefix(frame, ownCalls)
}

// ends shows a stack by the client's own frames: the innermost three, whoever called them first,
// and what they wait in. One without any, such as that of a goroutine of net/http, is shown by both
// its ends.
func ends(frames []string) []string {
	frames = withoutLocks(frames)
	own := slices.IndexFunc(frames, isClients)
	if own < 0 {
		return bothEndsOf(frames)
	}
	var lines []string
	last := own
	for i := own; i < len(frames); i++ {
		if isClients(frames[i]) {
			if last = i; len(lines) < 3 {
				lines = append(lines, frames[i])
			}
		}
	}
	if lines[len(lines)-1] != frames[last] {
		lines = append(lines, "called from "+frames[last])
	}
	if own > 0 {
		lines = append(lines, "(it waits in "+within(frames[:own])+")")
	}
	return lines
}

// within names what the client's innermost frame has called, and where that waits. Package net
// looks by a system call whether it must wait, and may be seen there.
func within(below []string) string {
	if i := slices.IndexFunc(below, func(f string) bool { return !strings.HasPrefix(f, "syscall.") }); i > 0 {
		below = below[i:]
	}
	name := func(f string) string {
		f, _, _ = strings.Cut(f, "  ")
		return f[strings.LastIndexByte(f, '/')+1:]
	}
	called, waits := name(below[len(below)-1]), name(below[0])
	if called == waits {
		return called
	}
	return called + ", there in " + waits
}

// bothEndsOf shows a stack by where it waits, the first frame that is not about sockets, and the
// outermost.
func bothEndsOf(frames []string) []string {
	if len(frames) < 5 {
		return frames
	}
	short := []string{frames[0], frames[1]}
	sockets := []string{"net.", "bufio.", "io.", "sync.", "crypto/tls.", "os.", "syscall."}
	if own := slices.IndexFunc(frames, func(f string) bool { return !hasPrefix(f, append(sockets, plumbing...)) }); own > 1 && own < len(frames)-1 {
		short = []string{frames[0], "...", frames[own]}
	}
	return append(short, "...", frames[len(frames)-1])
}

// withoutLocks leaves out how package sync waits, and in simnet that it is package sync that does:
// what is waited for is above.
func withoutLocks(frames []string) []string {
	for len(frames) > 1 && strings.HasPrefix(frames[0], "sync.runtime_") {
		frames = frames[1:]
	}
	if len(frames) > 1 && strings.HasPrefix(frames[0], "sync.(*Cond).Wait  ") &&
		strings.HasPrefix(frames[1], "example.com/go-sockettest/simnet.") {
		frames = frames[1:]
	}
	return frames
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// madeByADial reports whether the child is of package net, which makes some for each dial or lookup
// and ends them with it: that asks nothing of the client. A connect has one if the kernel takes
// time for it, as on a busy machine.
func madeByADial() bool {
	var at [6]uintptr
	n := runtime.Callers(3, at[:])
	dialsAt.Lock()
	defer dialsAt.Unlock()
	is, known := dialsAt.of[at]
	if known {
		return is
	}
	frames := runtime.CallersFrames(at[:n])
	for more := true; more && !is; {
		var f runtime.Frame
		f, more = frames.Next()
		is = strings.HasPrefix(f.Function, "net.")
	}
	if len(dialsAt.of) < keepDialsAt {
		dialsAt.of[at] = is
	}
	return is
}

// dialsAt remembers which callers are of package net: to find their names takes 2 µs.
var dialsAt = struct {
	sync.Mutex
	of map[[6]uintptr]bool
}{of: map[[6]uintptr]bool{}}

// keepDialsAt is how many it remembers.
const keepDialsAt = 1000
