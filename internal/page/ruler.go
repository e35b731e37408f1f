package page

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// A band is text above the lines: x and characters.
type band struct{ x, text strings.Builder }

func (b *band) put(i int, s string) {
	fmt.Fprint(&b.x, i*side+5, " ")
	b.text.WriteString(html.EscapeString(s))
}

// ruler draws numbers, where writes begin, and the bytes: printable ones as they are, others as two
// digits, one over the other.
func (v *view) ruler(b *strings.Builder, from, to int) {
	var middle, upper, lower band
	last := -9
	for i, at := range v.cols[from:to] {
		lone := !v.near(from+i-1) && !v.near(from+i)
		mark := slices.Contains(v.Writes, at) || v.gap(from+i)
		soon := slices.ContainsFunc(v.Writes, func(w int) bool { return w > at && w < at+3 })
		if (i == 0 && !soon || mark || lone && i-last > 5) && i-last > 2 && i < across-2 {
			fmt.Fprintf(b, `<text class="r" x="%d" y="10">%d</text>`, i*side+3, at)
			last = i
		}
		if mark {
			v.mark(b, from+i, i)
		}
		switch {
		case at >= len(v.Bytes):
			middle.put(i, "■")
		case lone:
			middle.put(i, "·")
		default:
			glyph(v.Bytes[at], i, &middle, &upper, &lower)
		}
	}
	middle.draw(b, "c", 24)
	upper.draw(b, "x", 20)
	lower.draw(b, "x", 28)
}

// mark draws the line before a column where a write begins, and the dashed one of a gap.
func (v *view) mark(b *strings.Builder, col, i int) {
	class := "gap"
	if slices.Contains(v.Writes, v.cols[col]) {
		class = "w"
	}
	fmt.Fprintf(b, `<path class="%s" d="M%d.5 2V%d"/>`, class, i*side, top+len(v.Faults)*side)
}

func (b *band) draw(to *strings.Builder, class string, y int) {
	if b.text.Len() > 0 {
		fmt.Fprintf(to, `<text class="%s" x="%s" y="%d">%s</text>`, class, strings.TrimSpace(b.x.String()), y, b.text.String())
	}
}

// glyph puts a byte.
func glyph(c byte, i int, middle, upper, lower *band) {
	switch {
	case c == ' ':
		middle.put(i, "␣")
	case c == '\n':
		middle.put(i, "↵")
	case c == '\r':
		upper.put(i, `\`)
		lower.put(i, "r")
	case c > ' ' && c < 127:
		middle.put(i, string(rune(c)))
	default:
		hex := fmt.Sprintf("%02x", c)
		upper.put(i, hex[:1])
		lower.put(i, hex[1:])
	}
}

// near reports whether a column and the next are bytes side by side.
func (v *view) near(i int) bool { return i >= 0 && i+1 < len(v.cols) && v.cols[i]+1 == v.cols[i+1] }

// gap reports whether the end, or where bytes begin or cease to be left out, is before a column.
func (v *view) gap(i int) bool {
	return v.cols[i] == len(v.Bytes) || !v.near(i-1) && (i > 0 && v.near(i) || v.near(i-2))
}
