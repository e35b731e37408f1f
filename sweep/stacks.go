package sweep

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
)

// stacks returns those of all goroutines, the caller's first.
func stacks() []string {
	for all := make([]byte, 64<<10); ; all = make([]byte, 2*len(all)) {
		if n := runtime.Stack(all, true); n < len(all) {
			return strings.Split(string(all[:n]), "\n\n")
		}
	}
}

// bubbleStacks returns the stacks of the goroutines in the caller's bubble that have a frame in
// them, but not its own.
func bubbleStacks(frame string) string {
	all := stacks()
	own := bubbleOf(all[0])
	return strings.Join(slices.DeleteFunc(all[1:], func(g string) bool {
		return bubbleOf(g) != own || plumbing(g) || !strings.Contains(g, frame)
	}), "\n\n")
}

// frames writes stacks with one line for each frame, and without arguments.
func frames(stacks string) []string {
	var list []string
	for line := range strings.Lines(stacks) {
		line = strings.TrimRight(line, "\n")
		file, isFile := strings.CutPrefix(line, "\t")
		switch {
		case isFile && len(list) > 0:
			file, _, _ = strings.Cut(file, " +0x")
			list[len(list)-1] += "  " + file
		case strings.HasPrefix(line, "goroutine "):
			line, _, _ = strings.Cut(line, ", synctest bubble")
			line, _, _ = strings.Cut(line, " labels:{") // "] {" since Go 1.27
			line, _, _ = strings.Cut(line, "]")
			list = append(list, line+"]:")
		case line == "":
			list = append(list, line)
		default:
			if i := strings.LastIndex(line, "("); i > 0 && !strings.HasPrefix(line, "created by ") {
				line = line[:i]
			}
			list = append(list, "    "+line[strings.LastIndex(line, "/")+1:])
		}
	}
	return list
}

// plumbing reports whether a goroutine is the bubble's root, or that of its test.
func plumbing(g string) bool {
	return strings.Contains(g, "testing/synctest.") || strings.Contains(g, "sweep.(*run).converse(")
}

// lookInto returns the stacks of the bubble that a goroutine runs: of those that hold up its clock,
// because they wait for something outside, and of the others. While one of them goes on, or the
// clock does, nobody holds it up.
func lookInto(goroutine string) (holding, others string) {
	all := stacks()
	i := slices.IndexFunc(all, func(g string) bool { return strings.HasPrefix(g, goroutine+" [") })
	if i < 0 || bubbleOf(all[i]) == "" {
		return "", ""
	}
	bubble, root := bubbleOf(all[i]), all[i]
	var held, rest []string
	goesOn := false
	for _, g := range all {
		header, _, _ := strings.Cut(g, "\n")
		switch {
		case bubbleOf(g) != bubble || g == root || plumbing(g):
		case strings.Contains(header, "[runn"): // running, runnable
			goesOn, rest = true, slices.Insert(rest, 0, g)
		case strings.Contains(header, "(durable)"):
			if !strings.Contains(g, "/fixtures.") { // the relay
				rest = append(rest, g)
			}
		default:
			held = append(held, g)
		}
	}
	if goesOn {
		held = nil
	}
	return strings.Join(held, "\n\n"), strings.Join(rest, "\n\n")
}

// ownName is the beginning of the caller's own stack: "goroutine 9".
func ownName() string {
	var b [64]byte
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), " [")
	return name
}

// bubbleOf reads "goroutine 9 [running, synctest bubble 1 labels:{}]:".
func bubbleOf(stack string) string {
	header, _, _ := strings.Cut(stack, "\n")
	_, number, ok := strings.Cut(header, "synctest bubble ")
	if !ok {
		return ""
	}
	return number[:len(number)-len(strings.TrimLeft(number, "0123456789"))]
}

// showLabels has the runtime print the labels of all goroutines when one ends the process, and with
// them the point: see run.label. That of a time.AfterFunc has none, but others in its bubble do.
var showLabels = sync.OnceFunc(func() {
	env := "tracebacklabels=1"
	if was := os.Getenv("GODEBUG"); was != "" {
		env = was + "," + env
	}
	_ = os.Setenv("GODEBUG", env)
	debug.SetTraceback("all")
})

// label gives the goroutines of the bubble the command that repeats the point.
func (r *run) label(ctx context.Context) {
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels("sweep", "go test -run '"+r.pattern(r.point)+"'")))
}
