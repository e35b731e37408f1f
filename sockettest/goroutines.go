package sockettest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/shared"
)

// A stuck is one or more goroutines with the same stack.
type stuck struct {
	count   int
	forever int      // how many of them nothing can wake any more, where Go tells
	at      string   // the program counters of the stack
	frames  []string // "function  file:line", innermost first, without the runtime's
	creator string   // in the same form; empty if it is not known
}

// short shows where the stack waits, in whose function, and what was started.
func (s stuck) short() []string {
	f := slices.Clone(ends(s.frames))
	if what := s.numbers(); what != "" && len(f) > 0 {
		f[0] += "  (" + what + ")"
	}
	if s.creator != "" {
		f = append(f, "created by "+s.creator)
	}
	return f
}

// tellCreators notes who started them, which only the dump of all stacks tells. Goroutines that
// root has started, directly or not, come before others with the same stack.
func tellCreators(all []stuck, root string) {
	dump := strings.Split(everyStack.now(), "\n\n")
	parents := map[string]string{}
	for _, g := range dump {
		id, _, _ := strings.Cut(g, " [")
		_, parents[id] = creatorOf(g)
	}
	for _, g := range dump {
		frames := framesOf(g)
		creator, parent := creatorOf(g)
		own := false
		for steps := 0; parent != "" && steps < maxDepth && !own; steps++ {
			own, parent = parent == root, parents[parent]
		}
		for i := range all {
			if s := &all[i]; s.looksLike(frames) && (own || s.creator == "") {
				s.creator = creator
			}
		}
	}
}

func (s *stuck) looksLike(frames []string) bool {
	n := len(s.frames)
	return n > 0 && n == len(frames) && s.frames[0] == frames[0] && s.frames[n-1] == frames[n-1]
}

// creatorOf reads who started a goroutine, and which goroutine that was, from its part of a dump.
func creatorOf(g string) (creator, parent string) {
	_, rest, ok := strings.Cut(g, "\ncreated by ")
	if !ok {
		return "", ""
	}
	name, at, _ := strings.Cut(rest, "\n")
	name, parent, _ = strings.Cut(name, " in ")
	at, _, _ = strings.Cut(strings.TrimSpace(at), " ")
	return name + "  " + at[strings.LastIndexByte(at, '/')+1:], parent
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

// labelled returns the goroutines that carry one of the labels, less those to ignore with it. The
// goroutine profile is the one place where labels can be read; its text form (debug=1) groups equal
// stacks.
func labelled(labels map[string][]string) []stuck {
	return inProfile(goroutines.Now(goroutineProfile), labels)
}

// leakedForever returns those that carry one of the labels and wait for what nobody can give them,
// in the same form: Go 1.27 and later have a profile of these, which costs a garbage collection;
// before, there are none. A goroutine that is not among them may still never end: what it waits for
// can be reached, or is a socket.
func leakedForever(labels map[string][]string) []stuck {
	p := pprof.Lookup(foreverProfile)
	if p == nil {
		return nil
	}
	var buf bytes.Buffer
	_ = p.WriteTo(&buf, 1) // a buffer takes it all
	return inProfile(buf.Bytes(), labels)
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

func inProfile(text []byte, labels map[string][]string) []stuck {
	var found []stuck
	for _, value := range slices.Sorted(maps.Keys(labels)) {
		if want := []byte(strconv.Quote(labelKey) + ":" + strconv.Quote(value)); bytes.Contains(text, want) {
			found = append(found, parseProfile(text, want, labels[value])...)
		}
	}
	return found
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

// profLabels returns the labels of the calling goroutine, as [pprof.SetGoroutineLabels] left them
// there; nil for none. Package pprof has no function for it; the runtime promises to keep this one
// (runtime/proflabel.go).
//
//go:linkname profLabels runtime/pprof.runtime_getProfLabel
func profLabels() unsafe.Pointer

// A labelSpy is a context that notes by what key package pprof looks for labels in it.
type labelSpy struct {
	context.Context
	key any
}

func (s *labelSpy) Value(key any) any {
	s.key = key
	return nil
}

// pprofKey is the key by which a context has labels, and someLabels a value of the type that it has
// them in.
var pprofKey, someLabels = func() (key, some any) {
	spy := &labelSpy{Context: context.Background()}
	pprof.Label(spy, "")
	return spy.key, pprof.WithLabels(context.Background(), pprof.Labels("some", "labels")).Value(spy.key)
}()

// withOwnLabels returns a context that has the labels of the calling goroutine: pprof.Do and its
// like keep them for whoever goes by it.
func withOwnLabels(ctx context.Context) context.Context {
	labels := someLabels // a pointer of package pprof's own type, in an interface
	(*[2]unsafe.Pointer)(unsafe.Pointer(&labels))[1] = profLabels()
	return context.WithValue(ctx, pprofKey, labels)
}

// ownLabel returns the label of the watch that the calling goroutine belongs to; empty for none.
func ownLabel() string { return labelOf(labelKey) }

// labelOf returns the calling goroutine's label of that key; empty for none.
func labelOf(key string) string {
	if profLabels() == nil {
		return ""
	}
	value, _ := pprof.Label(withOwnLabels(context.Background()), key)
	return value
}
