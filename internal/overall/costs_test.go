package overall_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

// Not parallel: it is about the whole process.
func TestNothingLeftFindsWhatIsLeft(t *testing.T) {
	manytests.NeedsProc(t)
	quit := make(chan struct{})
	defer close(quit)
	var file *os.File
	for _, tt := range []struct {
		name   string
		leave  func()
		failed bool
	}{
		{"nothing", func() {}, false},
		{"a descriptor", func() { file, _ = os.Open(os.DevNull) }, true},
		{"a goroutine", func() { go func() { <-quit }() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.name == "a goroutine" {
				t.Skip("not with -short: goleak waits 450 ms for it to end")
			}
			tb := faketb.Run(t, func(tb *faketb.TB) {
				check := costs.NothingLeft(tb)
				tt.leave()
				check()
			})
			assert.Equal(t, tt.failed, tb.Failed(), tb.Text())
		})
	}
	require.NoError(t, file.Close())
}
