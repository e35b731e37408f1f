package simnet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If each landing moved the segments behind it, the cost of n small writes in the air would grow
// with n squared.
func TestLandingMovesNoSegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		nc, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		c := nc.(*Conn)
		nw.Latency(time.Second)
		for range 3 {
			_, err := c.Write([]byte("x"))
			require.NoError(t, err)
			time.Sleep(time.Millisecond)
		}
		inAir := func() []segment {
			nw.mu.Lock()
			defer nw.mu.Unlock()
			return c.flight.segments
		}
		before := inAir()
		time.Sleep(time.Second - 3*time.Millisecond)
		synctest.Wait()
		after := inAir()
		require.Len(t, after, 2)
		assert.Same(t, &before[1], &after[0])
		time.Sleep(time.Second)
		assert.Empty(t, inAir())
		assert.Positive(t, cap(inAir()), "room is used again")
		_, _ = c.Close(), ln.Close()
	})
}
