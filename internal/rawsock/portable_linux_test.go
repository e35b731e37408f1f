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

	"example.com/go-sockettest/network"
)

func TestPortableCyclesBesideALiveConnection(t *testing.T) {
	t.Parallel()
	eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
		addr := p.Addr().String()
		requireRefused(t, p)
		require.NoError(t, p.Become(serve))
		a, b := requireServed(t, p)
		for i, s := range allChanges(p) {
			require.NoError(t, p.Become(s), "step %d", i)
			requireState(t, p, s)
			requirePasses(t, a, b)
			require.Equal(t, addr, p.Addr().String())
		}
	})
}

func TestPortableCyclesWithoutReuse(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		for i, s := range allChanges(p) {
			require.NoError(t, p.Become(s), "step %d", i)
			if client, server := requireState(t, p, s); server != nil {
				abort(server) // leaves nothing on the port
				_ = client.Close()
			}
		}
	})
}

func TestPortableManyCycles(t *testing.T) {
	t.Parallel()
	eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
		for range 50 {
			require.NoError(t, p.Become(serve))
			c, s := requireServed(t, p)
			require.NoError(t, p.Become(refuse))
			requireRefused(t, p)
			_ = s.Close() // the fixture's side first: TIME_WAIT stays on our port
			_ = c.Close()
		}
	})
}

func TestPortableRefusesEveryTime(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		require.NoError(t, p.Become(refuse))
		var dialers sync.WaitGroup
		for range 4 {
			dialers.Go(func() {
				for range 25 {
					c, err := dial(t, p, 10*time.Second)
					if err == nil {
						_ = c.Close()
					}
					assert.ErrorIs(t, err, syscall.ECONNREFUSED)
				}
			})
		}
		dialers.Wait()
	})
}

// On Linux nobody can take the port between two changes, in any way; so SO_REUSEADDR goes in time.
func TestPortableIsHeld(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		requireHeld(t, p)
		for _, s := range allChanges(p) {
			require.NoError(t, p.Become(s))
			requireHeld(t, p)
		}
	})
}

func requireHeld(t *testing.T, p *portable) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", p.addr.String())
	if err == nil {
		_ = ln.Close()
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE, "%q, way %d", p.state.Answer, p.now.way)
	c, err := (&net.Dialer{LocalAddr: p.addr}).DialContext(t.Context(), "tcp", p.addr.String())
	if err == nil {
		_ = c.Close()
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE, "%q, way %d", p.state.Answer, p.now.way)
}

func TestPortableHoldIsNeverEarly(t *testing.T) {
	t.Parallel()
	const hold = 100 * time.Millisecond
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: hold}))
		var due []time.Time
		for range 5 {
			due = append(due, time.Now().Add(hold)) // before the connect, which arrives later
			c, err := dial(t, p, 10*time.Second)
			require.NoError(t, err)
			defer c.Close()
		}
		for i, d := range due {
			c, err := p.Accept()
			require.NoError(t, err)
			assert.False(t, time.Now().Before(d), "connection %d came out early", i)
			_ = c.Close()
		}
	})
}

// Accept waits through every other state.
func TestPortableAcceptOutlivesChanges(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		type accepted struct {
			net.Conn
			err error
		}
		got := make(chan accepted, 1)
		go func() { c, err := p.Accept(); got <- accepted{c, err} }()
		for _, s := range allChanges(p) {
			require.NoError(t, p.Become(s))
		}
		require.NoError(t, p.Become(serve))
		c, err := dial(t, p, 10*time.Second)
		require.NoError(t, err)
		defer c.Close()
		a := <-got
		require.NoError(t, a.err)
		defer a.Close()
		requirePasses(t, c, a)
	})
}

// What nobody has accepted is reset by a change, whether the kernel had it or the port. (Without SO_REUSEADDR, the last
// segment of a handshake, processed late, could bar Linux from the port.)
func TestPortableChangeResetsWhatIsQueued(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Hour} {
		t.Run(hold.String(), func(t *testing.T) {
			t.Parallel()
			eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
				require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: hold}))
				c, err := dial(t, p, 10*time.Second)
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, p.Become(refuse))
				_, err = c.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ECONNRESET)
			})
		})
	}
}

func TestPortableCloseEndsEverything(t *testing.T) {
	t.Parallel()
	for _, s := range []network.State{{}, refuse, serve, drop, {Answer: network.Listen, Hold: time.Hour}} {
		t.Run(s.Answer.String()+s.Hold.String(), func(t *testing.T) {
			t.Parallel()
			eachPortable(t, allTables, func(t *testing.T, p *portable) {
				if err := p.Become(s); err != nil {
					require.ErrorIs(t, err, errors.ErrUnsupported)
				}
				got := make(chan error, 1)
				go func() { _, err := p.Accept(); got <- err }()
				require.NoError(t, p.Close())
				require.ErrorIs(t, <-got, net.ErrClosed)
				require.NoError(t, p.Close())
				require.ErrorIs(t, p.Become(serve), net.ErrClosed)
				requireNobody(t, p)
			})
		})
	}
}
