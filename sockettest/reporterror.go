package sockettest

import (
	"fmt"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"example.com/go-sockettest/internal/rawsock"
)

const (
	// keepErrors is how many errors a report shows.
	keepErrors = 32
	// keepText is how much it shows of the text of the first, and keepInner of each that it wraps.
	keepText, keepInner = 4096, 512
	// keepShort is how much of an error's text a headline shows.
	keepShort = 120
)

// chain writes an error and what it wraps, one line each, with types, and ends after keepErrors.
func chain(err error) []string {
	var lines []string
	cut := false
	says := errorText
	if !wrapsItself(err) { // so what it wraps does not either
		says = textOfEnding
	}
	var add func(err error, depth int, above string)
	add = func(err error, depth int, above string) {
		if cut = cut || len(lines) == keepErrors; err == nil || cut || depth > maxDepth {
			return
		}
		own, inner := says(err), unwrap(err)
		text := textOfError(err, own, inner, depth, says)
		if own == above { // some clients wrap several times without a word of their own
			text = "(the same)"
		}
		lines = append(lines, fmt.Sprintf("%s%T  %s", strings.Repeat("  ", depth), err, text))
		for _, e := range inner {
			if cut {
				break
			}
			add(e, depth+1, own)
		}
	}
	add(err, 0, "")
	if cut {
		lines = append(lines, "... and more")
	}
	return lines
}

// textOfError is what a line says of one error. Of one that joins others it is only what they do
// not say themselves.
func textOfError(err error, own string, inner []error, depth int, says func(error) string) string {
	room := keepText
	if depth > 0 {
		room = keepInner
	}
	if e, ok := err.(syscall.Errno); ok {
		return fmt.Sprintf("%s (%s)", printable(own, room), rawsock.ErrnoName(e))
	}
	if len(inner) > 1 && len(inner) <= keepErrors { // all of them are shown
		rest := own
		for _, e := range inner {
			if e != nil {
				rest = strings.Replace(rest, says(e), "", 1)
			}
		}
		if strings.TrimSpace(rest) == "" {
			return fmt.Sprintf("(%d errors)", len(inner))
		}
	}
	return strings.ReplaceAll(printable(own, room), "\n", "\n"+strings.Repeat(" ", 11+2*depth))
}

// inShort quotes the beginning of an error's text, on one line.
func inShort(err error) string {
	text := errorText(err)
	if len(text) > keepShort {
		text = strings.ToValidUTF8(text[:keepShort], "") + "..."
	}
	return fmt.Sprintf("%q", text)
}

// printable keeps the beginning of a text, and writes what is not to be printed as an escape: a
// report may go to a terminal.
func printable(s string, room int) string {
	cut := ""
	if len(s) > room {
		s, cut = s[:room], fmt.Sprintf("... (%d bytes in all)", len(s))
		for range utf8.UTFMax - 1 { // not in the middle of a letter
			if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
				s = s[:len(s)-1]
			}
		}
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := fmt.Sprintf("%q", r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String() + cut
}
