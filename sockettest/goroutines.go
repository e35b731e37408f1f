package sockettest

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A stuck is one or more goroutines with the same stack.
type stuck struct {
	count  int
	frames []string // "function  file:line", innermost first, without the runtime's
}

// short shows both ends of the stack: where it waits, and what was started.
func (s stuck) short() []string {
	f := slices.Clone(s.frames)
	if len(f) > 4 {
		f = []string{f[0], f[1], "...", f[len(f)-1]}
	}
	if s.count > 1 && len(f) > 0 {
		f[0] += fmt.Sprintf("  (%d of them)", s.count)
	}
	return f
}

// labelled returns the goroutines that carry the label, less those to ignore. The goroutine profile is the one place
// where labels can be read; its text form (debug=1) groups equal stacks.
func labelled(value string, ignore []string) []stuck {
	text := goroutines.text()
	want := []byte(strconv.Quote(labelKey) + ":" + strconv.Quote(value))
	if !bytes.Contains(text, want) {
		return nil
	}
	return parseProfile(text, want, ignore)
}

// parseProfile reads records that are separated by empty lines: "3 @ 0x...", "# labels: {...}", then a line
// "#	0x...	function+0x1f	file:line" for each frame.
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
			if n, _, ok := strings.Cut(line, " @ "); ok && !strings.HasPrefix(line, "#") {
				s.count, _ = strconv.Atoi(n)
			}
			if f := frame(line); f != "" {
				s.frames = append(s.frames, f)
			}
		}
		if !s.matches(ignore) {
			out = append(out, s)
		}
	}
	return out
}

// frame reads one line of a stack, and leaves out the runtime's own.
func frame(line string) string {
	cols := strings.Split(line, "\t")
	if len(cols) < 4 || cols[0] != "#" {
		return ""
	}
	f, _, _ := strings.Cut(cols[2], "+0x")
	f = strings.TrimSpace(f)
	if strings.HasPrefix(f, "runtime.") || strings.HasPrefix(f, "internal/") {
		return ""
	}
	at := cols[3]
	return f + "  " + at[strings.LastIndexByte(at, '/')+1:]
}

// matches tells whether one of the functions is on the stack.
func (s stuck) matches(functions []string) bool {
	return slices.ContainsFunc(s.frames, func(f string) bool {
		name, _, _ := strings.Cut(f, "  ")
		return slices.Contains(functions, name)
	})
}
