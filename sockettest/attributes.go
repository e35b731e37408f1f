package sockettest

import (
	"regexp"
	"strings"
	"testing"
)

// attributes tell those that read go test -json what failed, and how to have it again.
func (f failure) attributes(t testing.TB) {
	outcome, _, _ := strings.Cut(f.headline, "\n")
	fixture, _, _ := strings.Cut(f.fixture, " on ")
	t.Attr("sockettest.fixture", fixture)
	t.Attr("sockettest.outcome", outcome)
	t.Attr("sockettest.again", "go test -run '"+pattern(t.Name())+"'")
}

// pattern is what -run takes for one test.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
