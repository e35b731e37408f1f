package sweep

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/go-sockettest/internal/story"
)

// A group is what went wrong in the same way at several bytes.
type group struct {
	kind   kind
	conn   connID
	every  bool
	place  string
	faults []string
	bytes  []int // in order; none of a connect
	first  result
	text   string // of the first
	pairs  int    // how many, if it is of pairs
}

// report writes all violations in one text, and reports whether the test fails.
func (s *sweep) report(results []result, left int) (text string, bad bool) {
	var notes []string
	if s.cfg.Map != "" {
		notes, bad = s.know(results, left)
	}
	c := counted(results)
	var b strings.Builder
	fmt.Fprintf(&b, "sweep: %s in %v, %d with violations; %s", count(c.ran, "conversation"), time.Since(s.began).Round(time.Millisecond),
		c.failed, s.good)
	for _, l := range append(s.doubts(c, left), notes...) {
		b.WriteString("\n  " + l)
	}
	groups, tried := grouped(results), tried(results)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n  %-16s %s", g.kind, s.line(g, tried))
	}
	for _, r := range s.examples(groups) {
		fmt.Fprintf(&b, "\n\n%s", s.inFull(r))
		if text := s.pasted(r.point); text != "" {
			fmt.Fprintf(&b, "\n  without package sweep\n    %s", strings.ReplaceAll(text, "\n", "\n    "))
		}
	}
	return b.String(), bad || c.failed > 0 || c.tooManyMissed()
}

// counts are of conversations.
type counts struct {
	ran, missed, failed, frozen int
	pairs                       int
	skipped                     map[skip]int
}

func counted(results []result) counts {
	c := counts{skipped: map[skip]int{}}
	for _, r := range results {
		switch {
		case r.skipped != "":
			c.skipped[r.skipped]++
			continue
		case len(r.Found) > 0:
			c.failed++
		case !r.Fired:
			c.missed++
		}
		if c.ran++; r.Frozen {
			c.frozen++
		}
		if r.point.then != nil {
			c.pairs++
		}
	}
	return c
}

// tooManyMissed reports whether the test shows too little to pass.
func (c counts) tooManyMissed() bool { return 3*c.missed >= c.ran }

// doubts are what a sweep has not shown.
func (s *sweep) doubts(c counts, left int) (lines []string) {
	if c.pairs > 0 {
		lines = append(lines, fmt.Sprintf("%s of faults on successive connections, drawn with -sweep.seed=%d", count(c.pairs, "pair"), *seed))
	}
	if c.missed > 0 {
		text := count(c.missed, "conversation") + " never came to the fault, which proves nothing"
		if c.tooManyMissed() {
			text += ": over a third, so the test fails"
		}
		lines = append(lines, text)
	}
	if c.frozen > 0 {
		lines = append(lines, count(c.frozen, "conversation")+" judged in real time, since a goroutine waited for a mutex, which stops the virtual clock")
	}
	if why := s.why.Load(); why != nil {
		lines = append(lines, "each conversation had a process of its own, since one after another came to this: "+brief(*why))
	}
	for _, why := range []skip{stuck, outOfTime} {
		if n := c.skipped[why]; n > 0 {
			lines = append(lines, fmt.Sprintf("%s not tried, since %s", count(n, "conversation"), why))
		}
	}
	if left > 0 {
		why := fmt.Sprintf("Config.Max is %d", s.cfg.Max)
		if s.most() < s.cfg.Max {
			why = fmt.Sprintf("with -short there are %d at most", shortMax)
		}
		lines = append(lines, fmt.Sprintf("%s not tried, since %s: those that were are drawn with -sweep.seed=%d", count(left, "conversation"), why, *seed))
	}
	if s.good.Varies != "" {
		lines = append(lines, "not the same without a fault from run to run, so that a point may be another one each time: "+s.good.Varies)
	}
	return lines
}

// examples are the first conversations of each kind, had once more to be told in full.
func (s *sweep) examples(groups []group) (list []result) {
	told, shown := map[kind]bool{}, map[string]bool{}
	w := &worker{sweep: s}
	defer w.end()
	for _, g := range groups {
		name := g.first.point.name()
		if told[g.kind] || shown[name] {
			continue
		}
		told[g.kind], shown[name] = true, true
		if g.first.Frozen || g.first.Busy || g.first.crashed { // has its stacks, and costs real time
			list = append(list, g.first)
			continue
		}
		r := w.one(g.first.point, true)
		if !r.is(g.kind) {
			r = g.first
			r.Found = append(r.Found, violation{g.kind, "a repetition at once ended otherwise"})
		}
		list = append(list, r)
	}
	return list
}

// grouped puts together what differs in bytes and faults alone.
func grouped(results []result) []group {
	var byFault []group
	index := map[string]int{}
	for _, r := range results {
		for _, v := range r.Found {
			p := r.point
			key := fmt.Sprint(v.Kind, "/", p.conn, "/", p.place, "/", p.every, "/", p.fault.Name)
			if p.then != nil {
				key = fmt.Sprint(v.Kind)
			}
			i, ok := index[key]
			if !ok {
				i = len(byFault)
				index[key] = i
				byFault = append(byFault, group{kind: v.Kind, conn: p.conn, place: p.place, faults: []string{p.fault.Name}, every: p.every, first: r, text: v.Text})
			}
			if p.then != nil {
				byFault[i].pairs++
				continue
			}
			if g := &byFault[i]; len(g.bytes) == 0 || g.bytes[len(g.bytes)-1] != p.at {
				g.bytes = append(g.bytes, p.at)
			}
		}
	}
	var list []group
	for _, g := range byFault {
		i := slices.IndexFunc(list, func(o group) bool {
			return g.pairs+o.pairs == 0 && o.kind == g.kind && o.conn == g.conn && o.every == g.every && o.place == g.place && slices.Equal(o.bytes, g.bytes)
		})
		if i < 0 {
			list = append(list, g)
		} else {
			list[i].faults = append(list[i].faults, g.faults...)
		}
	}
	slices.SortStableFunc(list, func(a, b group) int { return slices.Index(kinds, a.kind) - slices.Index(kinds, b.kind) })
	return list
}

// line says where, with what, and how to see it again.
func (s *sweep) line(g group, tried map[string][]int) string {
	if g.pairs > 0 {
		return fmt.Sprintf("%s, such as %s: %s", count(g.pairs, "pair"), g.first.point.name(), brief(g.text))
	}
	var b strings.Builder
	if g.conn.path() != "" && g.place != lookingUp {
		fmt.Fprintf(&b, "%v, ", g.conn)
	}
	if g.every {
		b.WriteString("every time, ")
	}
	b.WriteString(g.place)
	if g.place == lookingUp && g.conn.N > 1 {
		fmt.Fprintf(&b, " %d", g.conn.N)
	}
	if g.first.point.atByte() {
		part := s.good.part(g.first.point)
		if first, last := g.bytes[0], g.bytes[len(g.bytes)-1]; first == len(part.Bytes) {
			fmt.Fprintf(&b, ", after its %d bytes", first)
		} else {
			fmt.Fprintf(&b, " bytes %s of %d (%s)", ranges(g.bytes, tried[g.first.point.part()]), len(part.Bytes), part.shown(first, last))
		}
	}
	fmt.Fprintf(&b, ", %s: %s", strings.Join(g.faults, ", "), brief(g.text))
	return b.String()
}

// brief puts what testify says, or another text of several lines, on one.
func brief(text string) string {
	text, _, _ = strings.Cut(assertion(text), "Diff:")
	if text = strings.Join(strings.Fields(text), " "); len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "..."
	}
	return text
}

// assertion leaves out of what testify says where it was called, and the name of the test.
func assertion(text string) string {
	if _, rest, ok := strings.Cut(text, "\tError:"); ok {
		text, _, _ = strings.Cut(rest, "\tTest:")
	}
	return strings.TrimSpace(text)
}

// ranges writes bytes 1, 2, 3, 7 as 1-3, 7. Bytes that were not tried end no range.
func ranges(list, tried []int) string {
	var parts []string
	for i := 0; i < len(list); {
		at, _ := slices.BinarySearch(tried, list[i])
		j := i
		for j+1 < len(list) && at+1 < len(tried) && list[j+1] == tried[at+1] {
			j, at = j+1, at+1
		}
		if i == j {
			parts = append(parts, fmt.Sprint(list[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", list[i], list[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

// tried lists the bytes with a conversation, in order, by the part that they are in.
func tried(results []result) map[string][]int {
	m := map[string][]int{}
	for _, r := range results {
		if part := r.point.part(); r.skipped == "" && !slices.Contains(m[part][max(0, len(m[part])-1):], r.point.at) {
			m[part] = append(m[part], r.point.at)
		}
	}
	for part := range m {
		slices.Sort(m[part])
		m[part] = slices.Compact(m[part])
	}
	return m
}

// inFull writes all about one conversation.
func (s *sweep) inFull(r result) string {
	var b strings.Builder
	for i, v := range r.Found {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s: %s: %s", r.point.name(), v.Kind, assertion(v.Text))
	}
	fmt.Fprintf(&b, "\n  ended    %s", s.ended(r))
	if r.point.place != "" {
		fmt.Fprintf(&b, "\n  again    go test -run '%s'", s.pattern(r.point))
	}
	for _, line := range r.lines() {
		b.WriteString("\n" + line)
	}
	if r.Stacks != "" {
		lines := frames(r.Stacks)
		fmt.Fprintf(&b, "\n  %s", strings.Join(lines[:min(len(lines), shown)], "\n  "))
	}
	return b.String()
}

// lines are the timeline, in the words and the form of package sockettest's.
func (r result) lines() []string {
	teller := story.Teller{Tested: "client"}
	if len(r.Marks) > 0 {
		teller.From = r.Marks[0].At
	}
	events := slices.Clone(r.Timeline)
	for i := range events {
		events[i].Note = strings.Replace(events[i].Note, "Call(f)", r.point.fault.Name, 1)
	}
	return teller.Lines(events, r.Marks)
}

// ended says how the operation ended.
func (s *sweep) ended(r result) string {
	text := fmt.Sprintf("after %v, ", r.Took)
	switch {
	case r.GoesOn:
		text = "it had not"
	case r.err != nil:
		text += fmt.Sprintf("with %s: %s", typeOf(r.err), strings.ReplaceAll(r.err.Error(), "\n", "; "))
	default:
		text += "without an error"
	}
	if !r.Fired && r.point.place != "" {
		text += "; the fault never came"
	}
	return text
}

// pattern is what -run takes for one point.
func (s *sweep) pattern(p point) string { return exactly(path.Join(s.t.Name(), p.name())) }

// exactly is what -run takes for a test.
func exactly(name string) string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}

// count writes a number and what it counts.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
