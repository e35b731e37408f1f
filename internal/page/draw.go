package page

import (
	"fmt"
	"html"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
)

// A drawing is a page as the template sees it.
type drawing struct {
	*Page
	Kinds   []*Kind
	Views   []*view
	Longest int // bytes of a stream
	Changed map[string]int
	CSS     template.CSS
	JS      template.JS
	Data    *facts
}

// A cell is how a point is drawn.
type cell struct {
	kind    *Kind
	letter  string
	changed bool
	what    int // the number of its point, and then of what the script tells
	there   bool
}

// A view is a stream as it is drawn.
type view struct {
	*Stream
	ID     string
	Faults []string // lines
	Bad    int      // points
	Marked bool     // there is a violation, accepted or not
	lines  []bool   // which have one
	cols   []int    // the bytes that were tried
	cells  [][]cell // by line and column
}

const (
	side, top = 11, 30 // of a cell, and what is above the lines: 12 px of numbers and 16 px of bytes
	across    = 32     // columns of a piece: 352 px, so that one fits on a telephone
	strip     = 9      // a line of the overview
)

// add makes a view of a stream, and counts its points.
func (d *drawing) add(s *Stream, n int) {
	v := &view{Stream: s, ID: fmt.Sprint("s", n)}
	for _, p := range s.Points {
		v.cols = append(v.cols, p.At)
		if !slices.Contains(v.Faults, p.Fault) {
			v.Faults = append(v.Faults, p.Fault)
		}
	}
	slices.Sort(v.cols)
	v.cols = slices.Compact(v.cols)
	v.lines = make([]bool, len(v.Faults))
	for range v.Faults {
		v.cells = append(v.cells, make([]cell, len(v.cols)))
	}
	for i, p := range s.Points {
		at, _ := slices.BinarySearch(v.cols, p.At)
		line := slices.Index(v.Faults, p.Fault)
		c := d.cell(p)
		if c.what = i; c.kind.Bad {
			v.Bad++
		}
		if c.kind.Bad || c.kind.Name == accepted {
			v.Marked, v.lines[line] = true, true
		}
		v.cells[line][at] = c
	}
	d.Longest = max(d.Longest, len(s.Bytes)+1)
	d.Views = append(d.Views, v)
}

// length is that of its strip: the end of the bytes is a column as well.
func (v *view) length() int { return max(len(v.Bytes)+1, len(v.Names)) }

// cell says how a point is drawn, and counts it.
func (d *drawing) cell(p Point) cell {
	k := worst(d.Kinds, p.Outcomes)
	c := cell{kind: k, letter: k.letter(), changed: p.Was != "", there: true}
	if p.Reason != "" && k.Bad {
		c.kind, c.letter = d.Kind(accepted), strings.ToLower(k.Code)
	}
	c.kind.N++
	if c.kind == k {
		for _, o := range p.Outcomes {
			if other := worst(d.Kinds, []string{o}); other != k {
				other.Also++
			}
		}
	}
	if c.changed {
		d.Changed[p.Was+" → "+strings.Join(p.Outcomes, " + ")]++
	}
	return c
}

// letter is what is drawn in a cell.
func (k *Kind) letter() string {
	switch k.Name {
	case OK, Error: // of the latter, a line
		return ""
	case Missed:
		return "○"
	case Left:
		return "·"
	}
	return k.Code
}

// Top is where the lines begin: a connect has no bytes above them.
func (v *view) Top() int {
	if v.Bytes == nil {
		return 2
	}
	return top
}

// Height is that of a piece.
func (v *view) Height() int { return v.Top() + len(v.Faults)*side + 2 }

// OverHeight is that of the overview.
func (v *view) OverHeight() int { return len(v.Faults) * strip }

// Labels are the names of the faults, once a stream: each line of pieces uses them.
func (v *view) Labels() template.HTML { return v.labels(84, v.Top(), side, 9) }

// OverLabels are those of the overview.
func (v *view) OverLabels() template.HTML { return v.labels(76, 0, strip, 8) }

func (v *view) labels(x, y0, step, off int) template.HTML {
	var b strings.Builder
	for i, f := range v.Faults {
		class := "lb"
		if v.lines[i] {
			class = "lb lbb"
		}
		if len(f) > 14 {
			f = f[:13] + "…"
		}
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%d">%s</text>`, class, x, y0+i*step+off, html.EscapeString(f))
	}
	return template.HTML(b.String())
}

// runs calls draw for each row of columns that are drawn alike.
func runs(cells []cell, same func(a, b cell) bool, draw func(from, to int, c cell)) {
	for i, j := 0, 0; i < len(cells); i = j {
		for j = i + 1; j < len(cells) && same(cells[i], cells[j]); j++ {
		}
		if cells[i].there {
			draw(i, j, cells[i])
		}
	}
}

func alike(a, b cell) bool { return a.kind == b.kind && a.letter == b.letter && a.there == b.there }

// Pieces draws 32 columns each.
func (v *view) Pieces() (out []template.HTML) {
	for from := 0; from < len(v.cols); from += across {
		to := min(from+across, len(v.cols))
		var b strings.Builder
		fmt.Fprintf(&b, `<svg class="p" data-c="%d" width="%d" height="%d" viewBox="0 0 %[2]d %[3]d" aria-hidden="true">`, from, across*side, v.Height())
		v.piece(&b, from, to)
		fmt.Fprintf(&b, `<rect class="net" y="%d" width="%d" height="%d"/>`, v.Top(), (to-from)*side, len(v.Faults)*side)
		if v.Bytes != nil {
			v.ruler(&b, from, to)
		}
		out = append(out, template.HTML(b.String()+"</svg>"))
	}
	return out
}

// piece draws cells. What is of one kind is one path and one text.
func (v *view) piece(b *strings.Builder, from, to int) {
	inks := map[*Kind]*ink{}
	var order []*Kind
	var bars strings.Builder
	for line := range v.Faults {
		y := v.Top() + line*side
		runs(v.cells[line][from:to], alike, func(i, j int, c cell) {
			if inks[c.kind] == nil {
				inks[c.kind] = &ink{}
				order = append(order, c.kind)
			}
			inks[c.kind].run(i, j, y, c)
		})
		for i, c := range v.cells[line][from:to] {
			if c.changed { // a bar under the letter
				fmt.Fprintf(&bars, "M%d %dh%d", i*side, y+side-1, side)
			}
		}
	}
	for _, k := range order {
		b.WriteString(inks[k].group(k))
	}
	if bars.Len() > 0 {
		fmt.Fprintf(b, `<path class="chg" d="%s"/>`, bars.String())
	}
}

// An ink is what a piece has of one kind.
type ink struct{ path, middle, x, y, letters strings.Builder }

func (k *ink) run(i, j, y int, c cell) {
	w := (j - i) * side
	fmt.Fprintf(&k.path, "M%d %dh%dv%dh-%[3]dz", i*side, y, w, side)
	if c.kind.Name == Error {
		fmt.Fprintf(&k.middle, "M%d %d.5h%d", i*side+2, y+side/2, w-4)
	}
	for ; i < j && c.letter != ""; i++ {
		fmt.Fprint(&k.x, i*side+5, " ")
		fmt.Fprint(&k.y, y+9, " ")
		k.letters.WriteString(c.letter)
	}
}

func (k *ink) group(kind *Kind) string {
	s := fmt.Sprintf(`<g class="%s"><path d="%s"/>`, kind.Code, k.path.String())
	if k.middle.Len() > 0 {
		s += fmt.Sprintf(`<path class="l" d="%s"/>`, k.middle.String())
	}
	if k.letters.Len() > 0 {
		s += fmt.Sprintf(`<text x="%s" y="%s">%s</text>`, strings.TrimSpace(k.x.String()), strings.TrimSpace(k.y.String()), k.letters.String())
	}
	return s + "</g>"
}

// Overview is the stream in one strip, where a violation is never narrower than 1/300.
func (v *view) Overview(longest int) template.HTML {
	if v.Names != nil {
		longest = v.length() // on a scale of its own
	}
	paths, bad := map[*Kind]string{}, map[*Kind]string{}
	most := float64(longest)
	for line := range v.Faults {
		runs(v.cells[line], func(a, b cell) bool { return a.kind == b.kind && a.there == b.there }, func(i, j int, c cell) {
			from, to, into := v.cols[i], append(v.cols[:len(v.cols):len(v.cols)], v.length())[j], paths
			w := float64(to - from)
			if c.kind.Bad || c.kind.Name == accepted {
				w, into = max(w, most/300), bad
			}
			into[c.kind] += fmt.Sprintf("M%.4g %dh%.4gv.9h-%.4[3]gz", min(float64(from), most-w), line, w)
		})
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="o" viewBox="0 0 %d %d" preserveAspectRatio="none" height="%d" aria-hidden="true">`, longest, len(v.Faults), v.OverHeight())
	for _, m := range []map[*Kind]string{paths, bad} {
		for _, k := range slices.SortedFunc(maps.Keys(m), func(a, b *Kind) int { return strings.Compare(a.Code, b.Code) }) {
			fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, k.Code, m[k])
		}
	}
	for _, w := range v.Writes {
		fmt.Fprintf(&b, `<path class="w" d="M%d 0v%d"/>`, w, len(v.Faults))
	}
	return template.HTML(b.String() + "</svg>")
}

// Chips are the points of a connect in the overview.
func (v *view) Chips() (list []Chip) {
	for i, f := range v.Faults {
		list = append(list, Chip{f, v.Name + "/" + f, v.cells[i][0].kind, v.cells[i][0].letter})
	}
	return list
}

// A Chip is a cell beside its name.
type Chip struct {
	Fault, Point string
	Kind         *Kind
	Letter       string
}

// linear is a part of a colour, in proportion to its light.
func linear(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}
