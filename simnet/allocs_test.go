package simnet_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Not parallel: AllocsPerRun counts for the whole process.
func TestReadAndWriteAllocateNothing(t *testing.T) {
	for name, size := range map[string]int{"a byte": 1, "4 KiB": 4 << 10, "64 KiB": 64 << 10, "100 KiB": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			c, s := ends["simnet"](t)
			b, got := make([]byte, size), make([]byte, size)
			assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Write(b); _, _ = io.ReadFull(s, got) }), "in turn")

			done := make(chan struct{})
			go func() {
				defer close(done)
				for buf := make([]byte, size); ; {
					if _, err := io.ReadFull(s, buf); err != nil {
						return
					}
					_, _ = s.Write(buf[:1])
				}
			}()
			assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Write(b); _, _ = c.Read(got[:1]) }), "with a reader that waits")
			assert.NoError(t, c.Close())
			<-done
		})
	}
}
