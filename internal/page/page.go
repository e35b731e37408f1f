// Package page draws the map of a sweep as one HTML file that asks for nothing else: bytes across,
// faults down, a letter and a colour for each outcome.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
)

// A Page is what one sweep came to. It has neither times nor hosts, so that two runs give the same
// bytes.
type Page struct {
	Title   string   // the test
	About   string   // what was tried
	Notes   []string // what was not, and other doubts
	Repeat  string   // the command without a point: go test -run '^TestFetch$
	Base    string   // the file with the outcomes that are accepted; empty if there is none
	Groups  []Group
	Streams []Stream
}

// A Group is a kind of violation at several bytes.
type Group struct {
	Kind          string
	Where, Faults string
	Before, After string // the bytes around the first of them
	Text          string
	Point         string // the name of the first
}

// A Stream is one direction of one connection, or a connect.
type Stream struct {
	Name   string   // what the names of its points begin with: every/conn_2/answer
	Bytes  []byte   // what passed; none of a connect
	Names  []string // of a list: the whole name of each point, by Point.At
	Writes []int    // where each begins
	Points []Point
}

// A Point is one conversation with a fault.
type Point struct {
	At       int    // the byte
	Fault    string // its line
	Outcomes []string
	Text     string
	Was      string // what it is in Base, where that differs
	Reason   string // why its violations are accepted
}

// Outcomes that are no violations.
const (
	OK     = "succeeded"
	Error  = "returned an error"
	Missed = "never came to the fault"
	Left   = "not tried"
)

// accepted is the name of what has a reason.
const accepted = "accepted, with a reason"

// A Kind is an outcome as it is drawn.
type Kind struct {
	Name, Code  string // Code is its letter and its CSS class
	Bad         bool
	Light, Dark string // its colour, by scheme
	N, Also     int    // points with it as their worst outcome, and beside a worse one
}

// The kinds, the worst first: it gives a point its colour.
func kinds() []*Kind {
	list := []*Kind{
		{Name: "wrong", Code: "W", Light: "#c84e00", Dark: "#f0641e"},
		{Name: "repeated", Code: "R", Light: "#f0e442", Dark: "#fff799"},
		{Name: "crashes", Code: "C", Light: "#7a0019", Dark: "#ff9aa5"},
		{Name: "panics", Code: "P", Light: "#111111", Dark: "#ffffff"},
		{Name: "hangs", Code: "H", Light: "#0068a8", Dark: "#5a9bff"},
		{Name: "floods", Code: "F", Light: "#7a3e12", Dark: "#c98d5f"},
		{Name: "late", Code: "L", Light: "#e69f00", Dark: "#ffbe33"},
		{Name: "fails", Code: "E", Light: "#6fc3f0", Dark: "#a6dcf7"},
		{Name: "does not recover", Code: "N", Light: "#8f3f77", Dark: "#e59ac8"},
		{Name: "leaks", Code: "K", Light: "#00795a", Dark: "#2cc79a"},
		{Name: "kept", Code: "S", Light: "#5b4bb5", Dark: "#a79bff"},
		{Name: "frozen", Code: "Z", Light: "#6a7078", Dark: "#8c939d"},
		{Name: "another violation", Code: "X", Light: "#85898f", Dark: "#7f8690"},
	}
	for _, k := range list {
		k.Bad = true
	}
	return append(list,
		&Kind{Name: accepted, Code: "a", Light: "#e9ecef", Dark: "#252b32"},
		&Kind{Name: Left, Code: "s", Light: "#ffffff", Dark: "#14171b"},
		&Kind{Name: Missed, Code: "o", Light: "#ffffff", Dark: "#14171b"},
		&Kind{Name: Error, Code: "e", Light: "#c4ccd6", Dark: "#424c58"},
		&Kind{Name: OK, Code: "k", Light: "#e9ecef", Dark: "#252b32"})
}

// Letter returns the letter of an outcome, and X for one that has none of its own.
func Letter(outcome string) string { return worst(kinds(), []string{outcome}).Code }

// worst finds the one of the outcomes that comes first. What is not known is another violation.
func worst(list []*Kind, outcomes []string) *Kind {
	for _, k := range list {
		if slices.Contains(outcomes, k.Name) {
			return k
		}
		if k.Code == "X" && slices.ContainsFunc(outcomes, func(o string) bool {
			return !slices.ContainsFunc(list, func(k *Kind) bool { return k.Name == o })
		}) {
			return k
		}
	}
	return list[len(list)-1]
}

// Ink is the colour of letters on a colour: of black and white the one with more contrast, which is
// never under 4.5:1.
func (k *Kind) Ink(fill string) string {
	if luminance(fill) > 0.179 {
		return "#000"
	}
	return "#fff"
}

var (
	//go:embed page.html
	text string
	//go:embed page.css
	css string
	//go:embed page.js
	js string

	tmpl = template.Must(template.New("").Funcs(template.FuncMap{"num": num}).Parse(text))
)

// Write writes the file.
func Write(w io.Writer, p *Page) error {
	d := &drawing{Page: p, Kinds: kinds(), Longest: 1, CSS: template.CSS(css), JS: template.JS(js), Changed: map[string]int{}}
	for i := range p.Streams {
		d.add(&p.Streams[i], i)
	}
	d.Data = d.data()
	return tmpl.Execute(w, d)
}

// num writes 1,234.
func num(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Total is the number of points, and Bad is how many of them are violations.
func (d *drawing) Total() (n int) {
	for _, k := range d.Kinds {
		n += k.N
	}
	return n
}

// Bad counts points with violations.
func (d *drawing) Bad() (n int) {
	for _, k := range d.Kinds {
		if k.Bad {
			n += k.N
		}
	}
	return n
}

// Legend lists what there is.
func (d *drawing) Legend() (list []Chip) {
	for _, k := range d.Kinds {
		if k.N+k.Also > 0 {
			list = append(list, Chip{Kind: k, Letter: k.letter()})
		}
	}
	return list
}

// Kind finds one by its name.
func (d *drawing) Kind(name string) *Kind { return worst(d.Kinds, []string{name}) }

// Accepted counts points with violations that are accepted.
func (d *drawing) Accepted() int { return d.Kind(accepted).N }

// Unseen lists the violations that did not come.
func (d *drawing) Unseen() (list []string) {
	for _, k := range d.Kinds {
		if k.Bad && k.Code != "X" && k.N+k.Also == 0 {
			list = append(list, k.Name)
		}
	}
	return list
}

// Colours is the CSS of the kinds.
func (d *drawing) Colours() template.CSS {
	light, dark, rules := "", "", ""
	for _, k := range d.Kinds {
		light += fmt.Sprintf("--%s:%s;--%[1]st:%[3]s;", k.Code, k.Light, k.Ink(k.Light))
		dark += fmt.Sprintf("--%s:%s;--%[1]st:%[3]s;", k.Code, k.Dark, k.Ink(k.Dark))
		rules += fmt.Sprintf(".%s{fill:var(--%[1]s)}.%[1]s text{fill:var(--%[1]st)}.badge.%[1]s{background:var(--%[1]s);color:var(--%[1]st)}"+
			"[data-only=%[1]s] .%[1]s{opacity:1!important}\n", k.Code)
		if k.Bad {
			rules += fmt.Sprintf("svg.o .%s{stroke:var(--fg);stroke-width:1;vector-effect:non-scaling-stroke}\n", k.Code)
		}
	}
	return template.CSS(":root{" + light + "}\n@media screen and (prefers-color-scheme:dark){:root{" + dark + "}}\n" + rules)
}

// luminance is that of #rrggbb, as WCAG has it.
func luminance(colour string) float64 {
	n, _ := strconv.ParseUint(colour[1:], 16, 32)
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		v := float64(n>>(8*i)&255) / 255
		sum += weight * linear(v)
	}
	return sum
}
