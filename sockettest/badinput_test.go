package sockettest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

// A failed report is worse than a short one: each of these is bounded, and says what it leaves out.

// manyEvents is a fixture with a timeline of its own.
type manyEvents struct {
	*fixtures.Endpoint
	all []fixtures.Event
}

func (m manyEvents) Timeline() []fixtures.Event { return m.all }

// An artifacts TB says where artifacts go.
type artifacts struct {
	*faketb.TB
	dir func() string
}

func (a artifacts) ArtifactDir() string { return a.dir() }

func reportOfMany(t *testing.T, n int, dir func() string) string {
	t.Helper()
	ep := manyEvents{Start(t, fixtures.Refused{}), make([]fixtures.Event, n)}
	for i := range ep.all {
		ep.all[i] = fixtures.Event{At: time.Duration(i), Kind: fixtures.ConnAccepted, Conn: i + 1, Note: "from 127.0.0.1:1"}
	}
	tb := faketb.Run(t, func(tb *faketb.TB) {
		Expect(artifacts{tb, dir}, ep, Accepted, func() error { return refusedError() })
	})
	return tb.Text()
}

func TestReportOfAMillionEvents(t *testing.T) {
	manytests.Long(t, "the input is huge")
	t.Parallel()
	dir := t.TempDir()
	text := reportOfMany(t, 1_000_000, func() string { return dir })
	assert.Less(t, len(text), 10_000)
	assert.Regexp(t, `\.\.\. \d{6} more \(timeline\.txt, with go test -artifacts\) \.\.\.`, text)
	saved, err := os.ReadFile(filepath.Join(dir, "timeline.txt"))
	require.NoError(t, err)
	assert.Less(t, len(saved), 2_000_000)
	assert.Contains(t, string(saved), "... 980000 more: the first and the last 10000 are kept ...")
}

func TestReportWithoutAnArtifactDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, tt := range []struct {
		name string
		dir  func() string
		want string
	}{
		{"cannot be written", func() string { return file }, "timeline.txt could not be written: open " + file + "/timeline.txt: not a directory"},
		{"Fatal", func() string { (&faketb.TB{}).FailNow(); return "" }, "timeline.txt could not be written: t.ArtifactDir has failed"},
		{"panics", func() string { panic("no directory") }, "timeline.txt could not be written: t.ArtifactDir has failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := reportOfMany(t, 100, tt.dir)
			assert.Contains(t, text, "connect: rejected, want accepted")
			assert.Contains(t, filepath.ToSlash(text), filepath.ToSlash(tt.want[:40]))
		})
	}
}

// A report goes to a terminal, and to tools that read UTF-8.
func TestReportIsPrintable(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Echo{})
	tb := faketb.Run(t, func(tb *faketb.TB) {
		Expect(tb, ep, Accepted, func() error {
			c, err := ep.DialContext(t.Context(), "", "")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("\xff\xfe\x1b[31m\r\n")); err != nil {
				return err
			}
			if _, err := c.Read(make([]byte, 16)); err != nil {
				return err
			}
			return errors.New("db: said \xff and \x1b[31mred")
		})
	})
	text := tb.Text()
	assert.True(t, utf8.ValidString(text))
	assert.NotContains(t, text, "\x1b")
	assert.Contains(t, text, `db: said \xff and \x1b[31mred`)
	assert.Contains(t, text, `received  #1 "\xff\xfe\x1b[31m\r\n" (9 B)`)
	assert.Contains(t, text, `sent      #1 "\xff\xfe\x1b[31m\r\n" (9 B)`)
}

func TestReportOfAMegabyteOfErrors(t *testing.T) {
	t.Parallel()
	mega := errors.New(strings.Repeat("\xffµ", 1<<19))
	for _, err := range []error{mega, errors.Join(mega, mega, mega), fmt.Errorf("get: %w", mega)} {
		r := ended(err, time.Millisecond)
		want := ErrorIs(errors.New(strings.Repeat("w", 1<<20))).Before(limit)
		f := failure{headline: want.Check(r).Error(), want: want, slack: defaultSlack, result: r, tested: "client"}
		text := f.String()
		assert.Less(t, len(text), 40_000)
		headline, _, _ := strings.Cut(text, "\n")
		assert.Less(t, len(headline), 1000)
		assert.Contains(t, text, "bytes in all)")
		assert.True(t, utf8.ValidString(text))
	}
}
