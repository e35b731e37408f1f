package sockettest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
)

// A test that fails says with what, how, and how to have it again; one that passes says nothing.
func TestAttributes(t *testing.T) {
	t.Parallel()
	t.Run("(a)+", func(t *testing.T) {
		for want, attrs := range map[Outcome]string{
			Rejected: "",
			TimedOut: "sockettest.fixture Refused{}\n" +
				"sockettest.outcome connect: rejected, want timed out\n" +
				`sockettest.again go test -run '^TestAttributes$/^\(a\)\+$'`,
		} {
			tb := faketb.Here(t, func(tb *faketb.TB) {
				ep := Start(tb, fixtures.Refused{})
				Expect(tb, ep, want, dialing(ep, time.Minute))
			})
			assert.Equal(t, attrs, tb.Attrs())
		}
	})
}
