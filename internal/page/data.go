package page

import (
	"fmt"
	"strings"
)

// mostText is how many bytes a page has of what was said of its points.
const mostText = 40_000

// Facts are what the script knows.
type facts struct {
	Repeat  string       `json:"repeat"`
	Ends    []end        `json:"ends"`
	Whats   []what       `json:"whats"`
	Streams []streamFact `json:"streams"`

	endIndex  map[string]int
	whatIndex map[what]int
	texts     int
}

// An end is a list of outcomes, and their letters.
type end struct {
	Outcomes []string `json:"o"`
	Codes    string   `json:"c"`
}

// A what is all that is told of a point, once for those of which the same is told.
type what struct {
	End    int    `json:"e"`
	Text   string `json:"t,omitempty"`
	Was    string `json:"w,omitempty"`
	Reason string `json:"r,omitempty"`
}

type streamFact struct {
	Name   string   `json:"n"`
	Bytes  []byte   `json:"b"`
	Names  []string `json:"p,omitempty"`
	Writes []int    `json:"w"`
	Cols   [][2]int `json:"c"` // a byte, and how many stand side by side
	Faults []string `json:"f"`
	Rows   [][]int  `json:"r"` // of each line: a column, how many, what; and so on
}

// data collects the facts.
func (d *drawing) data() *facts {
	f := &facts{Repeat: d.Repeat, endIndex: map[string]int{}, whatIndex: map[what]int{}}
	for _, v := range d.Views {
		s := streamFact{Name: v.Name, Bytes: v.Bytes, Names: v.Names, Writes: v.Writes, Faults: v.Faults}
		for i, at := range v.cols {
			if v.near(i - 1) {
				s.Cols[len(s.Cols)-1][1]++
			} else {
				s.Cols = append(s.Cols, [2]int{at, 1})
			}
		}
		for _, line := range v.cells {
			row := []int{}
			for i, c := range line {
				if c.there {
					line[i].what = f.number(v.Points[c.what])
				}
			}
			runs(line, func(a, b cell) bool { return a.there == b.there && a.what == b.what }, func(i, j int, c cell) { row = append(row, i, j-i, c.what) })
			s.Rows = append(s.Rows, row)
		}
		f.Streams = append(f.Streams, s)
	}
	return f
}

// number is that of what is told of a point.
func (f *facts) number(p Point) int {
	key := strings.Join(p.Outcomes, "\n")
	e, ok := f.endIndex[key]
	if !ok {
		e = len(f.Ends)
		f.endIndex[key] = e
		var codes strings.Builder
		for _, o := range p.Outcomes {
			codes.WriteString(Letter(o))
		}
		f.Ends = append(f.Ends, end{p.Outcomes, codes.String()})
	}
	w := what{e, p.Text, p.Was, p.Reason}
	n, ok := f.whatIndex[w]
	if !ok {
		if f.texts += len(p.Text); f.texts > mostText && w.Text != "" {
			w.Text = fmt.Sprintf("not told: there is more than %d bytes of text; run it alone", mostText)
			if n, ok = f.whatIndex[w]; ok {
				return n
			}
		}
		n = len(f.Whats)
		f.whatIndex[w] = n
		f.Whats = append(f.Whats, w)
	}
	return n
}
