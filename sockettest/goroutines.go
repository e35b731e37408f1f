package sockettest

import (
	"bufio"
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/shared"
)

// A stuck is one or more goroutines with the same stack.
type stuck struct {
	count   int
	forever int      // how many of them nothing can wake any more, where Go tells
	at      string   // the program counters of the stack
	frames  []string // "function  file:line", innermost first, without the runtime's
}

// short shows where the stack waits, in whose function, and what was started.
func (s stuck) short() []string {
	f := slices.Clone(ends(s.frames))
	if what := s.numbers(); what != "" && len(f) > 0 {
		f[0] += "  (" + what + ")"
	}
	return f
}

// numbers says how many there are, if that is more than one, and how many of them are blocked
// forever.
func (s stuck) numbers() string {
	switch {
	case s.count == 1 && s.forever == 1:
		return "blocked forever"
	case s.count == 1:
		return ""
	case s.forever == 0:
		return fmt.Sprintf("%d of them", s.count)
	case s.forever == s.count:
		return fmt.Sprintf("%d of them, blocked forever", s.count)
	}
	return fmt.Sprintf("%d of them, %d blocked forever", s.count, s.forever)
}

// labelled returns the goroutines that carry the label, less those to ignore. The goroutine profile
// is the one place where labels can be read; its text form (debug=1) groups equal stacks.
func labelled(value string, ignore []string) []stuck {
	return inProfile(goroutines.Now(goroutineProfile), value, ignore)
}

// leakedForever returns those that carry the label and wait for what nobody can give them, in the
// same form: Go 1.27 and later have a profile of these, which costs a garbage collection; before,
// there are none. A goroutine that is not among them may still never end: what it waits for can be
// reached, or is a socket.
func leakedForever(value string) []stuck {
	p := pprof.Lookup(foreverProfile)
	if p == nil {
		return nil
	}
	var buf bytes.Buffer
	if err := p.WriteTo(&buf, 1); err != nil {
		return nil
	}
	return inProfile(buf.Bytes(), value, nil)
}

const foreverProfile = "goroutineleak"

// tellForever notes, for each stack in all, how many of its goroutines are blocked forever.
func tellForever(all, forever []stuck) {
	for i := range all {
		for _, f := range forever {
			if f.at == all[i].at {
				all[i].forever = min(f.count, all[i].count)
			}
		}
	}
}

func inProfile(text []byte, value string, ignore []string) []stuck {
	want := []byte(strconv.Quote(labelKey) + ":" + strconv.Quote(value))
	if !bytes.Contains(text, want) {
		return nil
	}
	return parseProfile(text, want, ignore)
}

// parseProfile reads records that are separated by empty lines: "3 @ 0x...", "# labels: {...}",
// then a line "# 0x... function+0x1f file:line" for each frame.
func parseProfile(text, want []byte, ignore []string) []stuck {
	var out []stuck
	for record := range bytes.SplitSeq(text, []byte("\n\n")) {
		if !bytes.Contains(record, want) {
			continue
		}
		s := stuck{count: 1}
		lines := bufio.NewScanner(bytes.NewReader(record))
		for lines.Scan() {
			line := lines.Text()
			if n, at, ok := strings.Cut(line, " @ "); ok && !strings.HasPrefix(line, "#") {
				s.count, _ = strconv.Atoi(n)
				s.at = at
			}
			if f := frame(line); f != "" {
				s.frames = append(s.frames, f)
			}
		}
		if !s.matches(ignore) && !s.matches(ofProcess) {
			out = append(out, s)
		}
	}
	return out
}

// ofProcess are functions of goroutines that package os/signal starts once, for whoever needs it
// first, and that live as long as the process.
var ofProcess = []string{"os/signal.loop"}

// frame reads one line of a stack, and leaves out the runtime's own.
func frame(line string) string {
	cols := strings.Split(line, "\t")
	if len(cols) < 4 || cols[0] != "#" {
		return ""
	}
	f, _, _ := strings.Cut(cols[2], "+0x")
	f = strings.TrimSpace(f)
	return shortFrame(f, cols[3])
}

// shortFrame is "function  file:line", and nothing for the runtime's own.
func shortFrame(function, at string) string {
	if strings.HasPrefix(function, "runtime.") || strings.HasPrefix(function, "internal/") {
		return ""
	}
	return function + "  " + at[strings.LastIndexByte(at, '/')+1:]
}

// matches reports whether one of the functions is on the stack.
func (s stuck) matches(functions []string) bool {
	return slices.ContainsFunc(s.frames, func(f string) bool {
		name, _, _ := strings.Cut(f, "  ")
		return slices.Contains(functions, name)
	})
}

// ofFixture reports whether a fixture has started it for itself.
func (s stuck) ofFixture() bool {
	outer := len(s.frames) - 1
	for outer > 0 && (strings.HasPrefix(s.frames[outer], "sync.(*WaitGroup).Go.") || strings.HasPrefix(s.frames[outer], patiencePath)) {
		outer--
	}
	return outer >= 0 && strings.HasPrefix(s.frames[outer], fixturesPath)
}

// patiencePath begins the names of what fixtures start goroutines by. How far the compiler inlines
// it differs between versions of Go.
var patiencePath = strings.TrimSuffix(fixturesPath, "fixtures") + "internal/patience."

// fixturesPath begins the names of what is in package fixtures, and in the packages under it.
var fixturesPath = reflect.TypeFor[fixtures.Endpoint]().PkgPath()

// goroutines are all looks at the goroutine profile of the process.
var goroutines shared.Look[[]byte]

func goroutineProfile() []byte {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return nil
	}
	return buf.Bytes()
}

// leftBehind holds the identifiers of operations' goroutines that could not be made to return.
var leftBehind sync.Map

// stack returns where the operation's goroutine is: one "function file:line" per frame, innermost
// first, without the runtime's frames and our own; and the goroutine's identifier. It must be
// called by the goroutine that called start: that is how it is found, since to note the identifier
// beforehand would cost each operation more than all the rest.
func (r *run) stack() (frames []string, id string) {
	g, id := startedBy(goroutineID(), everyStack.now())
	return framesOf(g), id
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

// now returns stacks as they are.
func (s *stacks) now() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dump()
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
