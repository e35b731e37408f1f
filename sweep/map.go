package sweep

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.com/go-sockettest/sockettest"
)

var update = flag.Bool("sweep.update", false, "write the maps that Config.Map names, with what the sweeps find")

// An atlas is what is known of each point: spans of one write, by place, write and fault.
type atlas map[string][]span

// A span is a row of bytes that came to the same.
type span struct {
	from, to int // in the write
	outcome  string
	reason   string // of an accepted violation
}

// outcome says in short how a conversation ended. It has neither times nor addresses.
func (r result) outcome() string {
	switch {
	case len(r.Found) > 0:
		var list []string
		for _, v := range r.Found {
			list = append(list, string(v.Kind))
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), " + ")
	case !r.Fired:
		return "never came to the fault"
	case r.err == nil:
		return "ok"
	}
	return outcomeOf(r.err)
}

// outcomeOf says in short what an error is.
func outcomeOf(err error) string {
	if e, ok := errors.AsType[*toldError](err); ok {
		return e.Outcome
	}
	c := sockettest.Classify(err)[0]
	return fmt.Sprintf("%v in %s", c.Outcome, c.Phase)
}

// chart says where a point is on the map: its row, and the byte in its write.
func (s *sweep) chart(p point) (row string, offset int) {
	if !p.atByte() || p.then != nil {
		return p.name(), 0
	}
	of, writes := "write", s.good.part(p).Writes
	if r := s.good.part(p).Records; len(r) > 0 && p.at >= r[0] {
		of, writes = "record", r
	}
	n, found := slices.BinarySearch(writes, p.at)
	if found {
		n++
	}
	return fmt.Sprintf("%s %s, %s %d", p.stream(), p.fault.Name, of, n), p.at - writes[n-1]
}

// know compares the results with the map, and takes the violations out that it accepts. What it
// returns belongs into the report.
func (s *sweep) know(results []result, left int) (lines []string, bad bool) {
	known, err := s.atlas(results, left)
	if err != nil {
		return []string{err.Error()}, true
	}
	accepted, changed := 0, atlas{}
	var rows []string
	for i := range results {
		r := &results[i]
		if r.skipped != "" {
			continue
		}
		row, offset := s.chart(r.point)
		was, is := known.at(row, offset), r.outcome()
		switch {
		case was.outcome == "" && r.point.then != nil: // it is there with a violation alone
		case was.outcome != is:
			r.was = cmp.Or(was.outcome, "not on the map")
			rows = changed.add(rows, row, span{offset, offset, fmt.Sprintf("%s, and was %q", is, was.outcome), ""})
		case len(r.Found) > 0 && was.reason != "":
			r.Found, r.accepted, r.reason = nil, r.Found, was.reason
			accepted++
		}
	}
	for _, row := range rows {
		for _, c := range changed[row] {
			lines = append(lines, "changed          "+c.line(row))
		}
	}
	if len(lines) > 0 {
		lines = append(lines, "changed          see "+s.cfg.Map+"; to accept outcomes, go test -run '^"+s.t.Name()+"$' -sweep.update")
	}
	if accepted > 0 {
		lines = append(lines, fmt.Sprintf("%s accepted for the reasons in %s", count(accepted, "violation"), s.cfg.Map))
	}
	return lines, len(rows) > 0
}

// atlas reads the map, and writes it first if that is wanted.
func (s *sweep) atlas(results []result, left int) (atlas, error) {
	text, err := os.ReadFile(s.cfg.Map)
	if *update && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		if left > 0 && s.most() < s.cfg.Max || slices.ContainsFunc(results, func(r result) bool { return r.skipped != "" }) {
			return nil, fmt.Errorf("Config.Map is %q, which was not written: not all points were tried; want a run without -short that has more time", s.cfg.Map)
		}
		old, err := readAtlas(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s:%w", s.cfg.Map, err)
		}
		text = []byte(s.draw(results, old))
		if err := errors.Join(os.MkdirAll(filepath.Dir(s.cfg.Map), 0o777), os.WriteFile(s.cfg.Map, text, 0o666)); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("Config.Map is %q: %w; go test -run '^%s$' -sweep.update makes it", s.cfg.Map, err, s.t.Name())
	}
	a, err := readAtlas(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", s.cfg.Map, err)
	}
	return a, nil
}

// draw writes the map. Reasons stay where the outcome does.
func (s *sweep) draw(results []result, old atlas) string {
	a := atlas{}
	var rows []string
	for _, r := range results {
		if r.point.then != nil && len(r.Found) == 0 {
			continue
		}
		row, offset := s.chart(r.point)
		is, was := r.outcome(), old.at(row, offset)
		if was.outcome != is {
			was.reason = ""
		}
		if len(r.Found) > 0 && was.reason == "" {
			was.reason = noReason
		}
		rows = a.add(rows, row, span{offset, offset, is, was.reason})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What a sweep of %s comes to: go test -run '^%s$' -sweep.update writes this file.\n", s.t.Name(), s.t.Name())
	b.WriteString("# A violation needs a reason behind it, after #. Without one the test fails.\n")
	fmt.Fprintf(&b, "# %s: %s.\n\n", count(len(results), "point"), tally(results))
	for _, row := range rows {
		for _, l := range a[row] {
			b.WriteString(l.line(row) + "\n")
		}
	}
	return b.String()
}

// tally counts outcomes.
func tally(results []result) string {
	n := map[string]int{}
	for _, r := range results {
		o := r.outcome()
		if len(r.Found) == 0 && r.Fired && r.err != nil {
			o = "with an error"
		}
		n[o]++
	}
	var list []string
	for _, o := range slices.Sorted(maps.Keys(n)) {
		list = append(list, fmt.Sprintf("%d %s", n[o], o))
	}
	return strings.Join(list, ", ")
}

// noReason is what an update writes where a reason is to be given.
const noReason = "?"

// add puts a span at the end of its row, or makes the last one longer. It returns the rows in the
// order in which they came.
func (a atlas) add(rows []string, row string, s span) []string {
	list, ok := a[row]
	if !ok {
		rows = append(rows, row)
	}
	if n := len(list); n > 0 && list[n-1].outcome == s.outcome && list[n-1].reason == s.reason {
		list[n-1].to = s.to
	} else {
		a[row] = append(list, s)
	}
	return rows
}

// at finds what is known of a byte.
func (a atlas) at(row string, offset int) span {
	for _, s := range a[row] {
		if s.from <= offset && offset <= s.to {
			return s
		}
	}
	return span{}
}

// line is one of the file.
func (s span) line(row string) string {
	text := row
	if strings.Contains(row, ", write ") || strings.Contains(row, ", record ") {
		text += fmt.Sprintf(", bytes %d-%d", s.from, s.to)
	}
	text += ": " + s.outcome
	if s.reason != "" {
		text += " # " + s.reason
	}
	return text
}

// readAtlas reads a file.
func readAtlas(text string) (atlas, error) {
	a, n := atlas{}, 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		where, rest, ok := strings.Cut(line, ": ")
		outcome, reason, _ := strings.Cut(rest, " # ")
		row, bytes, _ := strings.Cut(where, ", bytes ")
		from, to, _ := strings.Cut(bytes, "-")
		s := span{outcome: strings.TrimSpace(outcome), reason: strings.TrimSpace(reason)}
		var err, err2 error
		if bytes != "" {
			s.from, err = strconv.Atoi(from)
			s.to, err2 = strconv.Atoi(to)
		}
		if !ok || err != nil || err2 != nil {
			return nil, fmt.Errorf("%d: %q is no line of a map; want one such as \"answer reset, write 1, bytes 0-9: ok\"", n, line)
		}
		if s.reason == noReason {
			s.reason = ""
		}
		a[row] = append(a[row], s)
	}
	return a, nil
}
