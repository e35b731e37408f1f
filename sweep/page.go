package sweep

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/go-sockettest/internal/page"
)

var pages = flag.String("sweep.pages", "", "a directory for the map of each sweep as an HTML page")

// pageNames counts the pages of each test, so that each has a file of its own.
var pageNames = struct {
	sync.Mutex
	n map[string]int
}{n: map[string]int{}}

// finish reports, and fails the test if there is a reason.
func (s *sweep) finish(results []result, left int) {
	s.t.Helper()
	text, bad := s.report(results, left)
	switch file, err := s.writePage(results, left); {
	case err != nil:
		text, bad = fmt.Sprintf("%s\n\nthe page was not written: %v", text, err), true
	case file != "":
		text += "\n\nthe map as a page: " + file
	}
	if !bad {
		s.t.Logf("%s", text)
		return
	}
	s.attributes(s.t, results)
	s.t.Errorf("%s", text)
}

// attributes tell those that read go test -json what failed, and how to see the worst again.
func (s *sweep) attributes(t testing.TB, results []result) {
	with := "Config.Server"
	if s.cfg.Server == nil {
		with = fmt.Sprintf("%T", s.cfg.Fixture)
	}
	t.Attr("sockettest.fixture", with)
	groups := grouped(results)
	if len(groups) == 0 {
		t.Attr("sockettest.outcome", "changed")
		return
	}
	var kinds []string
	for _, g := range groups {
		kinds = append(kinds, string(g.kind))
	}
	t.Attr("sockettest.outcome", strings.Join(slices.Compact(kinds), ", "))
	t.Attr("sockettest.again", "go test -run '"+s.pattern(groups[0].first.point)+"'")
}

// writePage writes the map of the sweep as a page, where that is wanted, and returns its file.
func (s *sweep) writePage(results []result, left int) (file string, err error) {
	dir, name := *pages, strings.NewReplacer("/", "_", `\`, "_").Replace(s.t.Name())
	if f := flag.Lookup("test.artifacts"); dir == "" && (f == nil || f.Value.String() != "true") {
		return "", nil
	}
	if dir == "" {
		dir, name = s.t.ArtifactDir(), "sweep"
	}
	file = pageFile(filepath.Join(dir, name))
	var b bytes.Buffer
	err = errors.Join(page.Write(&b, s.page(results, left)), os.MkdirAll(dir, 0o777), os.WriteFile(file, b.Bytes(), 0o666))
	return file, err
}

// pageFile gives each page of a process a file of its own.
func pageFile(name string) string {
	pageNames.Lock()
	defer pageNames.Unlock()
	if pageNames.n[name]++; pageNames.n[name] > 1 {
		name += "-" + strconv.Itoa(pageNames.n[name])
	}
	return name + ".html"
}

// page is what the page shows.
func (s *sweep) page(results []result, left int) *page.Page {
	p := &page.Page{
		Title: s.t.Name(), About: fmt.Sprintf("Limit %v of virtual time; %s.", s.cfg.Limit, s.good), Base: s.cfg.Map,
		Notes: s.doubts(counted(results), left), Repeat: "go test -run '" + exactly(s.t.Name()),
	}
	tried := tried(results)
	for _, g := range grouped(results) {
		p.Groups = append(p.Groups, s.pageGroup(g, tried))
	}
	index := map[string]int{}
	for _, r := range results {
		name, at, fault := pagePlace(r.point)
		i, ok := index[name]
		if !ok {
			i = len(p.Streams)
			index[name] = i
			p.Streams = append(p.Streams, s.pageStream(name, r.point))
		}
		if r.point.then != nil {
			at = len(p.Streams[i].Names)
			p.Streams[i].Names = append(p.Streams[i].Names, r.point.name())
		}
		p.Streams[i].Points = append(p.Streams[i].Points,
			page.Point{At: at, Fault: fault, Outcomes: r.outcomes(), Text: r.said(), Was: r.was, Reason: r.reason})
	}
	return p
}

func (s *sweep) pageStream(name string, p point) page.Stream {
	if !p.atByte() || p.then != nil {
		return page.Stream{Name: name}
	}
	part := s.good.part(p)
	return page.Stream{Name: name, Bytes: part.Bytes, Writes: part.Writes}
}

// pagePlace is the beginning of a point's name, its byte and its line. Pairs are in a list.
func pagePlace(p point) (stream string, at int, fault string) {
	if p.then != nil {
		return "pairs", 0, "pair"
	}
	return p.stream(), p.at, p.fault.Name
}

// violations are those that were found, the accepted ones with them.
func (r result) violations() []violation { return slices.Concat(r.Found, r.accepted) }

// outcomes are those of a point, as the page calls them.
func (r result) outcomes() (list []string) {
	for _, v := range r.violations() {
		list = append(list, string(v.Kind))
	}
	switch {
	case r.skipped != "":
		return []string{page.Left}
	case len(list) > 0:
		return list
	case !r.Fired:
		return []string{page.Missed}
	case r.err != nil:
		return []string{page.Error}
	}
	return []string{page.OK}
}

// said is what the page tells of a point.
func (r result) said() string {
	var list []string
	for _, v := range r.violations() {
		list = append(list, string(v.Kind)+": "+brief(v.Text))
	}
	switch {
	case r.skipped != "":
		return string(r.skipped)
	case len(list) == 0 && r.err != nil:
		return r.outcome()
	}
	return strings.Join(list, "\n")
}

// pageGroup is a line of the report.
func (s *sweep) pageGroup(g group, tried map[string][]int) page.Group {
	name, _, _ := pagePlace(g.first.point)
	out := page.Group{Kind: string(g.kind), Where: name, Faults: strings.Join(g.faults, ", "), Text: brief(g.text), Point: g.first.point.name()}
	if g.pairs > 0 {
		out.Where = count(g.pairs, "pair") + " of faults"
	}
	if g.pairs > 0 || !g.first.point.atByte() {
		return out
	}
	b, at := s.good.part(g.first.point).Bytes, g.bytes[0]
	out.Where += ", bytes " + ranges(g.bytes, tried[g.first.point.part()]) + " of " + strconv.Itoa(len(b))
	out.Before, out.After = quoted(b[max(0, at-8):at]), quoted(b[at:min(len(b), at+16)])
	return out
}

// quoted writes bytes as Go would, without the quotes.
func quoted(b []byte) string {
	s := strconv.Quote(string(b))
	return s[1 : len(s)-1]
}
