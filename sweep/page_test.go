package sweep

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/page"
)

// hostilePage has every kind of outcome, each with markup in it, on a map that has changed.
func hostilePage() (p *page.Page, counts map[string]int) {
	p = &page.Page{Title: "TestX</title>", About: "a & b <i>", Notes: []string{"</script>"}, Repeat: "go test -run '^TestX$", Base: "x.map"}
	outcomes := []string{page.OK, page.Error, page.Missed, page.Left, "no kind <b>"}
	for _, k := range kinds {
		outcomes = append(outcomes, string(k))
	}
	bytes := []byte(strings.Repeat("</script><img src=x onerror=alert(1)>\r\n\x00\xff&", 8))
	connects := page.Stream{Name: "connect"}
	answer := page.Stream{Name: "every/conn_2/answer", Bytes: bytes, Writes: []int{0, 40, 300}}
	counts = map[string]int{}
	for i := range 2000 {
		o := outcomes[i/3%len(outcomes)]
		pt := page.Point{At: i / 8, Fault: []string{"a<u>", "b", "c", "d", "e", "f", "g", "h"}[i%8], Outcomes: []string{o, page.OK},
			Text: fmt.Sprintf("<img src=x onerror=alert(%d)>", i)}
		switch i % 50 {
		case 0:
			pt.Was = "</td>"
		case 7:
			pt.Reason = "<b>"
		}
		if code := page.Letter(o); pt.Reason != "" && strings.ToUpper(code) == code {
			counts["a"]++
		} else {
			counts[code]++
		}
		if answer.Points = append(answer.Points, pt); i < 8 {
			connects.Points = append(connects.Points, page.Point{Fault: pt.Fault, Outcomes: []string{page.OK}})
			counts["k"]++
		}
	}
	pairs := page.Stream{Name: "pairs", Names: []string{"a/then/b", "c/then/d"}, Points: []page.Point{
		{Fault: "pair", Outcomes: []string{page.OK}}, {At: 1, Fault: "pair", Outcomes: []string{page.OK}}}}
	counts["k"] += 2
	p.Streams = []page.Stream{connects, answer, pairs}
	p.Groups = []page.Group{{Kind: "late", Where: "<i>", Faults: "a<u>", Before: "<", After: "<", Text: "<img src=x>", Point: "every/conn_2/answer/byte_1/b"}}
	return p, counts
}

func TestEachKindHasItsLetter(t *testing.T) {
	t.Parallel()
	seen := map[string]kind{"X": "what has none of its own"}
	for _, k := range kinds {
		letter := page.Letter(string(k))
		assert.Empty(t, seen[letter], "%s and another have the letter %s in internal/page", k, letter)
		seen[letter] = k
	}
}

// A page of 2,000 points that all differ has 300 KB at most, asks for nothing, and markup in it is
// text.
func TestPageIsSmallAndInert(t *testing.T) {
	t.Parallel()
	p, _ := hostilePage()
	var b, again bytes.Buffer
	require.NoError(t, page.Write(&b, p))
	require.NoError(t, page.Write(&again, p))
	assert.Equal(t, b.String(), again.String())
	assert.Less(t, b.Len(), 300_000)
	for _, s := range []string{"<img", "<i>", "<u>", "http:", "https:", "url(//", "@import", "ZgotmplZ"} {
		assert.False(t, strings.Contains(strings.Replace(b.String(), "http://www.w3.org/2000/svg", "", 1), s), s)
	}
	assert.Equal(t, 2, strings.Count(b.String(), "</script>"))
}

// The page of a sweep has each point once, with all its outcomes.
func TestPageHasAllPoints(t *testing.T) {
	t.Parallel()
	s := &sweep{t: t, cfg: Config{Limit: time.Second, Map: "x.map"}}
	s.good.Conns = []stream{{ID: connID{N: 1}, Answer: part{Bytes: []byte("hello"), Writes: []int{0, 3}}}}
	at := func(n int) point {
		return point{conn: connID{N: 1}, place: answering, at: n, fault: Fault{Name: "fin"}}
	}
	pair, then := at(5), at(1)
	pair.then = &then
	odd := []violation{{wrong, "got \x00"}, {leaks, "one"}}
	p := s.page([]result{
		{point: connects(connID{N: 1})[0], err: os.ErrClosed, Fired: true},
		{point: at(0), Fired: true, Found: odd, was: "ok"},
		{point: at(1), Fired: true, accepted: odd, reason: "by design"},
		{point: at(2)},
		{point: at(3), skipped: stuck},
		{point: at(4), Fired: true},
		{point: pair, Fired: true},
		{point: pair, Fired: true, err: os.ErrClosed},
	}, 7)
	assert.Equal(t, []page.Stream{
		{Name: "connect", Points: []page.Point{{Fault: "refused", Outcomes: []string{page.Error}, Text: "unclassified in call"}}},
		{Name: "answer", Bytes: []byte("hello"), Writes: []int{0, 3}, Points: []page.Point{
			{Fault: "fin", Outcomes: []string{"wrong", "leaks"}, Text: "wrong: got \x00\nleaks: one", Was: "ok"},
			{At: 1, Fault: "fin", Outcomes: []string{"wrong", "leaks"}, Text: "wrong: got \x00\nleaks: one", Reason: "by design"},
			{At: 2, Fault: "fin", Outcomes: []string{page.Missed}},
			{At: 3, Fault: "fin", Outcomes: []string{page.Left}, Text: string(stuck)},
			{At: 4, Fault: "fin", Outcomes: []string{page.OK}},
		}},
		{Name: "pairs", Names: []string{pair.name(), pair.name()}, Points: []page.Point{
			{Fault: "pair", Outcomes: []string{page.OK}},
			{At: 1, Fault: "pair", Outcomes: []string{page.Error}, Text: "unclassified in call"},
		}},
	}, p.Streams)
	assert.Equal(t, page.Group{Kind: "wrong", Where: "answer, bytes 0 of 5", Faults: "fin", After: "hello", Text: "got \x00", Point: "answer/byte_0/fin"}, p.Groups[0])
	assert.Equal(t, "go test -run '^TestPageHasAllPoints$", p.Repeat)
	assert.Contains(t, p.Notes[len(p.Notes)-1], "7 conversations not tried")
}

func TestWhereThePageGoes(t *testing.T) { // not parallel: it sets the flag
	s := &sweep{t: t, cfg: Config{Limit: time.Second}}
	defer func(was string) { *pages = was }(*pages)
	*pages = filepath.Join(t.TempDir(), "maps")
	for _, name := range []string{"TestWhereThePageGoes.html", "TestWhereThePageGoes-2.html"} {
		file, err := s.writePage(nil, 0)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(*pages, name), file)
		assert.FileExists(t, file)
	}
	*pages = filepath.Join(*pages, "TestWhereThePageGoes.html")
	_, err := s.writePage(nil, 0)
	assert.Error(t, err)
	*pages = ""
	file, err := s.writePage(nil, 0)
	require.NoError(t, err)
	assert.Equal(t, slices.Contains(os.Args, "-test.artifacts"), file != "")
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	fin := point{conn: connID{N: 1}, place: answering, at: 7, fault: Fault{Name: "fin"}}
	tb := faketb.Here(t, func(tb *faketb.TB) {
		s := &sweep{t: t, cfg: Config{Fixture: &tap{}}}
		s.attributes(tb, []result{{point: fin, Found: []violation{{leaks, ""}, {late, ""}, {leaks, ""}}}})
		(&sweep{t: t, cfg: Config{Server: serveHello}}).attributes(tb, nil)
	})
	assert.Equal(t, "sockettest.fixture *sweep.tap\nsockettest.outcome late, leaks\n"+
		"sockettest.again go test -run '^TestAttributes$/^answer$/^byte_7$/^fin$'\n"+
		"sockettest.fixture Config.Server\nsockettest.outcome changed", tb.Attrs())
}
