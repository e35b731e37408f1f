package sockettest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/network"
)

// The end of a fixture ends a background reader, which is found before.
func TestFindSeesABackgroundReader(t *testing.T) {
	t.Parallel()
	needSockets(t)
	EachNetwork(t, func(t *testing.T, nw network.Stack) {
		w := WatchLeaks()
		defer w.Close()
		ep := Start(t, fixtures.Echo{}, On(nw))
		ended := make(chan struct{})
		c := connect(t, ep)
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
		l := w.Find(10 * time.Millisecond) // the fixture's own goroutines have had a turn
		assert.Len(t, l.Conns, 1)
		assert.Len(t, l.Goroutines, 1)
		require.NoError(t, ep.Close())
		<-ended
		assert.Empty(t, w.Find(settle).String())
	})
}

// A half-close meets ExpectEnd as a close does; that the server has kept its socket, Find tells.
func TestFindSeesAHalfClosedServer(t *testing.T) {
	t.Parallel()
	needSockets(t)
	EachNetwork(t, func(t *testing.T, nw network.Stack) {
		w := WatchLeaks()
		defer w.Close()
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		a := Start(t, hostile.ConnectOnly{Target: ln.Addr().String()}, On(nw))
		c, err := ln.Accept()
		require.NoError(t, err)
		require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
		ExpectEnd(t, a, Disconnected.Before(time.Minute))
		assert.Len(t, w.Find(0).Conns, 1)
		require.NoError(t, c.Close())
		assert.Empty(t, w.Find(settle).String())
	})
}

// What the fixture has answered may lead elsewhere: once it was reached, an error of another
// address is as good as any; before, it is a mistake.
func TestReachedThenElsewhere(t *testing.T) {
	t.Parallel()
	EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep, elsewhere := Start(t, fixtures.Close{}, On(nw)), Start(t, fixtures.Refused{}, On(nw))
		for _, touches := range []bool{false, true} {
			op := func(ctx context.Context) error {
				if touches {
					assert.NoError(t, connect(t, ep).Close())
				}
				c, err := nw.DialContext(ctx, "tcp", elsewhere.Addr())
				if err == nil {
					_ = c.Close()
				}
				return err
			}
			if touches {
				Expect(t, ep, Rejected, op)
				continue
			}
			err := Try(func(t testing.TB) { Expect(t, ep, Rejected, op) })
			assert.ErrorContains(t, err, "the fixture was never reached")
			assert.ErrorContains(t, err, "the error names "+elsewhere.Addr())
		}
	})
}
