package rawsock

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

func hold(d time.Duration) network.State { return network.State{Answer: network.Listen, Hold: d} }

// eachQueue is for what TCP and unix sockets have in common: an accept queue.
func eachQueue(t *testing.T, f func(t *testing.T, p network.Port, dial func() net.Conn)) {
	t.Helper()
	eachPort(t, func(t *testing.T, p *port) {
		f(t, p, func() net.Conn {
			c, err := dial(t, p, time.Minute)
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return c
		})
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		p := bindFresh(t)
		if err := p.Become(hold(time.Hour)); errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		f(t, p, func() net.Conn {
			c, err := dialUnix(t, p)
			require.NoError(t, err)
			return c
		})
	})
}

func TestHoldCountsFromEachArrival(t *testing.T) {
	t.Parallel()
	manytests.NeedsQueue(t)
	const wait = 100 * time.Millisecond
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		require.NoError(t, p.Become(hold(wait)))
		var due []time.Time
		for range 20 {
			due = append(due, time.Now().Add(wait)) // before the connect, which arrives later
			dial()
		}
		apart, last := time.Hour, time.Now()
		for i, d := range due {
			c, err := p.Accept()
			require.NoError(t, err)
			assert.False(t, time.Now().Before(d), "connection %d came out early", i)
			apart, last = min(apart, time.Since(last)), time.Now()
			_ = c.Close()
		}
		assert.Less(t, apart, wait, "if each waited for all before it, no two would come closer together")
	})
}

// inQueue counts who waits in the kernel's accept queue.
func inQueue(t *testing.T, p network.Port) (n int) {
	t.Helper()
	var ln syscall.Conn
	var q *queue
	switch p := p.(type) {
	case *port:
		ln, q = p.ln, &p.queue
	case *unixPort:
		ln, q = p.ln, &p.queue
	}
	require.NoError(t, control(ln, func(fd int) (err error) { n, err = q.length(fd); return err }))
	return n
}

func TestHoldForeverLeavesTheQueue(t *testing.T) {
	t.Parallel()
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		require.NoError(t, p.Become(hold(network.Forever)))
		got := make(chan network.Conn, 1)
		go func() {
			c, _ := p.Accept()
			got <- c
		}()
		client := dial()
		require.Equal(t, 1, inQueue(t, p))
		require.NoError(t, p.Become(hold(time.Hour)))
		dial()
		require.Equal(t, 2, inQueue(t, p))
		require.NoError(t, p.Become(serve))
		server := <-got
		require.NotNil(t, server)
		requirePasses(t, client, server)
		require.NoError(t, server.Close())
	})
}

func TestHoldEndsWithTheState(t *testing.T) {
	t.Parallel()
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		require.NoError(t, p.Become(hold(time.Hour)))
		client := dial()
		got := make(chan network.Conn, 1)
		go func() {
			c, _ := p.Accept()
			got <- c
		}()
		require.NoError(t, p.Become(serve))
		server := <-got
		require.NotNil(t, server)
		requirePasses(t, client, server)
		require.NoError(t, server.Close())
	})
}

// What is taken or reset between the count and the lock would be noted for who comes next, who then
// came out early.
func TestQueueCountsUnderTheLock(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	q := queue{mu: &mu, length: func(int) (int, error) {
		assert.False(t, mu.TryLock())
		return 1, nil
	}}
	fresh, err := q.arrived(0)
	require.NoError(t, err)
	assert.True(t, fresh)
}

// What cannot be counted ends Accept, which would ask forever.
func TestQueueThatCannotBeCounted(t *testing.T) {
	t.Parallel()
	p := bindFresh(t).(*unixPort)
	require.NoError(t, p.Become(serve))
	broken := errors.New("no descriptors for a question")
	p.queue.length = func(int) (int, error) { return 0, broken }
	p.mu.Lock()
	p.state = hold(time.Hour)
	p.mu.Unlock()
	_, err := p.Accept()
	require.ErrorIs(t, err, broken)
}

// What was reset in the queue does not count for who comes next.
func TestHoldForgetsWhatWasReset(t *testing.T) {
	t.Parallel()
	const wait = 50 * time.Millisecond
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		type taken struct {
			at  time.Time
			err error
		}
		got := make(chan taken, 1)
		go func() {
			c, err := p.Accept()
			at := time.Now()
			if err == nil {
				_ = c.Close()
			}
			got <- taken{at, err}
		}()
		for range 20 {
			require.NoError(t, p.Become(hold(time.Hour)))
			client := dial()
			require.NoError(t, p.Become(refuse))
			require.NoError(t, client.Close())
		}
		require.NoError(t, p.Become(hold(wait)))
		due := time.Now().Add(wait)
		dial()
		first := <-got
		require.NoError(t, first.err)
		assert.False(t, first.at.Before(due), "it came out %v early", due.Sub(first.at))
	})
}

// A connection whose client is gone holds its place until it is due, as in every accept queue.
func TestHoldKeepsThePlaceOfWhoHasGone(t *testing.T) {
	t.Parallel()
	const wait = 50 * time.Millisecond
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		require.NoError(t, p.Become(hold(wait)))
		require.NoError(t, dial().Close())
		due := time.Now().Add(wait)
		client := dial()
		gone, err := p.Accept()
		require.NoError(t, err)
		server, err := p.Accept()
		require.NoError(t, err)
		assert.False(t, time.Now().Before(due))
		requirePasses(t, client, server)
		require.NoError(t, gone.Close())
		require.NoError(t, server.Close())
	})
}

// A Close finds whoever waits, also in the middle of a count.
func TestHoldEndsWithClose(t *testing.T) {
	t.Parallel()
	manytests.NeedsQueue(t)
	eachQueue(t, func(t *testing.T, p network.Port, dial func() net.Conn) {
		require.NoError(t, p.Become(hold(time.Hour)))
		got := make(chan error, 1)
		go func() { _, err := p.Accept(); got <- err }()
		for range 10 {
			dial()
		}
		require.NoError(t, p.Close())
		require.ErrorIs(t, <-got, net.ErrClosed)
	})
}
