package sockettest

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// leftBehind holds the identifiers of operations' goroutines that could not be made to return.
var leftBehind sync.Map

// stack returns where the operation's goroutine is: one "function file:line" per frame, innermost
// first, without the runtime's frames and our own; and the goroutine's identifier. It must be
// called by the goroutine that called start: that is how it is found, since to note the identifier
// beforehand would cost each operation more than all the rest.
func (r *run) stack() (frames []string, id string) {
	own := make([]byte, 64)
	own = own[:runtime.Stack(own, false)]
	me, _, _ := strings.Cut(string(own), " [")
	for buf := make([]byte, 1<<16); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			g, id := startedBy(me, string(buf[:n]))
			return framesOf(g), id
		}
	}
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
		if strings.HasPrefix(f, "created by") || strings.Contains(f, "sockettest.(*run).call(") {
			break
		}
		if cut := strings.LastIndexByte(f, '('); cut > 0 {
			f = f[:cut]
		}
		if strings.HasPrefix(f, "runtime.") || strings.HasPrefix(f, "internal/") {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " ")
		frames = append(frames, f+"  "+at[strings.LastIndexByte(at, '/')+1:])
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
			{"simnet.(*Network).dial", "connect"}, {"simnet.(*Listener).Accept", "accept"},
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
	mu   sync.Mutex
	text string
	at   time.Time
	room int
}

// recent returns stacks that are no older than that, and when they were taken.
func (s *stacks) recent(age time.Duration) (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= age {
		s.text, s.at = s.dump(), time.Now()
	}
	return s.text, s.at
}

// dump begins with the room that was enough the last time.
func (s *stacks) dump() string {
	for s.room = max(s.room, 1<<16); ; s.room *= 2 {
		b := make([]byte, s.room)
		if n := runtime.Stack(b, true); n < len(b) {
			return string(b[:n])
		}
	}
}

// elided stands for frames that are left out.
const elided = "..."

// plumbing are the packages through which code waits for the network: that it does is told by the
// innermost frame.
var plumbing = []string{"net.", "bufio.", "io.", "sync.", "crypto/tls.", "os.", "example.com/go-sockettest/simnet.",
	"example.com/go-sockettest/fixtures."}

// ends shows a long stack by where it waits, whose function does so, and who called first.
func ends(frames []string) []string {
	frames = withoutLocks(frames)
	last := len(frames) - 1
	if last < 4 {
		return frames
	}
	own := slices.IndexFunc(frames, func(f string) bool { return !hasPrefix(f, plumbing) })
	short := []string{frames[0]}
	switch {
	case own <= 1 || own == last:
		return append(short, frames[1], elided, frames[last])
	case own == last-1:
		return append(short, elided, frames[own], frames[last])
	}
	return append(short, elided, frames[own], elided, frames[last])
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
