package sockettest

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// connect returns a client that nobody may have accepted yet.
func connect(t testing.TB, ep *fixtures.Endpoint) net.Conn {
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	return c
}

// A client that is never closed is a leak where its fixture never accepts it, too, on each network;
// one that a cleanup closes after the fixture is none.
func TestNoLeaksUnaccepted(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for name, f := range map[string]fixtures.Fixture{
		"never accepts": fixtures.NeverAccept{}, "accepts late": fixtures.SlowAccept{Delay: time.Hour},
		"full": fixtures.FullBacklog{}, "perhaps accepted": fixtures.Echo{},
	} {
		for _, on := range []string{"tcp4", "tcp6", "unix", "simnet"} {
			t.Run(name+" "+on, func(t *testing.T) {
				t.Parallel()
				needs(t, on)
				where := placed(t, on)
				var c net.Conn
				tb := leaving(t, func(tb *faketb.TB) { c = connect(tb, Start(tb, f, where)) })
				assert.Contains(t, tb.Text(), oneConnection)
				if name == "never accepts" {
					assert.Regexp(t, `conn +\S* ?-> \S+, \S+ still on the client's side, not accepted by the fixture`, tb.Text())
				}
				assert.NoError(t, c.Close())
				tb = leaking(t, func(tb *faketb.TB) {
					tb.Cleanup(func() { _ = c.Close() })
					ep := Start(tb, f, where)
					assert.NoError(t, connect(tb, ep).Close())
					if name != "full" {
						c = connect(tb, ep)
					}
				})
				assert.Empty(t, tb.Text())
			})
		}
	}
}

// Expect closes its fixture to let an operation go: what that leaves open is a leak, and what it
// ends thereby is none.
func TestNoLeaksUnacceptedAndLetGo(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for name, f := range map[string]fixtures.Fixture{
		"never accepts": fixtures.NeverAccept{}, "accepts late": fixtures.SlowAccept{Delay: time.Hour}, "full": fixtures.FullBacklog{},
	} {
		for _, on := range []string{"tcp4", "tcp6", "unix", "simnet"} {
			t.Run(name+" "+on, func(t *testing.T) {
				t.Parallel()
				needs(t, on)
				where := placed(t, on)
				var kept net.Conn
				blocked := func(tb *faketb.TB) {
					ep := Start(tb, f, where)
					kept = connect(tb, ep)
					Expect(tb, ep, Blocked.For(moment), func() error {
						if name != "full" {
							defer connect(tb, ep).Close()
						}
						_, err := kept.Read(make([]byte, 1))
						return err
					})
				}
				tb := leaving(t, blocked)
				assert.Contains(t, tb.Text(), oneConnection)
				assert.Regexp(t, `still on the client's side, not accepted by the fixture`, tb.Text())
				assert.NoError(t, kept.Close())
				tb = leaking(t, func(tb *faketb.TB) {
					blocked(tb)
					assert.NoError(t, kept.Close())
				})
				assert.Empty(t, tb.Text())
			})
		}
	}
}

// A fitfulStack cannot list its sockets now and then, as a process that has no descriptors left.
type fitfulStack struct {
	network.Stack
	now *atomic.Bool
}

func (s fitfulStack) Connected() ([]network.Socket, error) {
	if s.now.Load() {
		return nil, errors.New("no descriptors")
	}
	return s.Stack.Connected()
}

// What nobody could list when it mattered is neither blamed nor passed.
func TestNoLeaksUnacceptedAndUnlisted(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	for name, atStart := range map[string]bool{"at the start": true, "when Expect closes": false} {
		var kept net.Conn
		var unlisted atomic.Bool
		unlisted.Store(atStart)
		tb := leaving(t, func(tb *faketb.TB) {
			ep := Start(tb, fixtures.NeverAccept{}, On(fitfulStack{nw, &unlisted}))
			kept = connect(tb, ep)
			unlisted.Store(!atStart)
			if !atStart {
				Expect(tb, ep, Blocked.For(moment), func() error { _, err := kept.Read(make([]byte, 1)); return err })
			}
			unlisted.Store(false)
		})
		assert.Equal(t, "leak: not all could be seen\n  unseen     which connections a fixture had not accepted: the sockets could not"+
			" be listed when it started, or when Expect closed it; want descriptors left for that (ulimit -n): no descriptors",
			tb.Text(), name)
		assert.NoError(t, kept.Close())
	}
}

// So it is with a fixture that Start has not begun, and that a test around the operation looks at:
// what was left there is found, and a later operation there is not judged.
func TestFindOfWhatExpectClosed(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for _, on := range []string{"tcp4", "unix", "simnet"} {
		for _, f := range []fixtures.Fixture{fixtures.NeverAccept{}, fixtures.Silent{}} {
			w := WatchLeaks()
			ep, err := fixtures.Start(t.Context(), f, where(t, "Start", []Option{placed(t, on)}))
			require.NoError(t, err)
			var kept net.Conn
			blocked := func(tb *faketb.TB) {
				kept = connect(tb, ep)
				Expect(tb, ep, Blocked.For(moment), func() error { _, err := kept.Read(make([]byte, 1)); return err })
			}
			assert.Empty(t, faketb.Here(t, blocked).Text())
			assert.Len(t, w.Find(0, ep).Conns, 1, "%T %s", f, on)
			assert.NoError(t, kept.Close())
			assert.Empty(t, w.Find(settle, ep).String(), "%T %s", f, on)
			later := faketb.Here(t, func(tb *faketb.TB) { Expect(tb, ep, Rejected, func() error { return nil }) })
			assert.Contains(t, later.Text(), "the fixture was closed to let go an operation")
			w.Close()
		}
	}
}

// What has become of the fixture and of the connection since does not matter.
func TestNoLeaksUnacceptedAndReset(t *testing.T) {
	t.Parallel()
	needSockets(t)
	var c net.Conn
	tb := leaving(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.NeverAccept{})
		c = connect(tb, ep)
		assert.NoError(t, ep.Become(fixtures.Refused{}))
	})
	assert.Contains(t, tb.Text(), oneConnection)
	assert.NoError(t, c.Close())
}

// A socket from before belongs to somebody else, who used the address earlier.
func TestNoLeaksUnacceptedFromBefore(t *testing.T) {
	t.Parallel()
	needSockets(t)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", net.JoinHostPort(manytests.OwnLoopback().String(), "0"))
	require.NoError(t, err)
	old, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, ln.Close())
	tb := leaking(t, func(tb *faketb.TB) { Start(tb, fixtures.NeverAccept{}, Address(ln.Addr().String())) })
	assert.Empty(t, tb.Text())
}

// Once a test has closed its fixture the address is the next one's, whose clients are not blamed.
func TestNoLeaksUnacceptedAfterTheFixture(t *testing.T) {
	t.Parallel()
	needSockets(t)
	own := Address(net.JoinHostPort(manytests.OwnLoopback().String(), "0"))
	for _, start := range []func(tb *faketb.TB) *fixtures.Endpoint{
		func(tb *faketb.TB) *fixtures.Endpoint { return Start(tb, fixtures.NeverAccept{}, own) },
		func(tb *faketb.TB) *fixtures.Endpoint { return Start(tb, dnsfault.NXDomain{}, own).TCP },
	} {
		var c net.Conn
		tb := leaking(t, func(tb *faketb.TB) {
			ep := start(tb)
			assert.NoError(t, ep.Close())
			ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp4", ep.Addr())
			assert.NoError(t, err)
			defer ln.Close()
			c, err = (&net.Dialer{}).DialContext(tb.Context(), "tcp4", ep.Addr())
			assert.NoError(t, err)
		})
		assert.Empty(t, tb.Text())
		assert.NoError(t, c.Close())
	}
}

// A half of a name server may be closed alone, to let go an operation.
func TestNoLeaksUnacceptedByAHalfLetGo(t *testing.T) {
	t.Parallel()
	needSockets(t)
	var c net.Conn
	tb := leaving(t, func(tb *faketb.TB) {
		ep := Start(tb, dnsfault.NXDomain{}).TCP
		assert.NoError(t, ep.Become(fixtures.NeverAccept{}))
		c = connect(tb, ep)
		Expect(tb, ep, Blocked.For(moment), func() error { _, err := c.Read(make([]byte, 1)); return err })
	})
	assert.Contains(t, tb.Text(), oneConnection)
	assert.NoError(t, c.Close())
}

// A UDP socket that is connected to the same port is no client. A name server has clients over TCP;
// an attack has none at all.
func TestNoLeaksUnacceptedElsewhere(t *testing.T) {
	t.Parallel()
	needSockets(t)
	dialled := func(nw string, start func(tb *faketb.TB) string) string {
		var c net.Conn
		tb := leaving(t, func(tb *faketb.TB) {
			var err error
			c, err = (&net.Dialer{}).DialContext(tb.Context(), nw, start(tb))
			assert.NoError(t, err)
		})
		assert.NoError(t, c.Close())
		return tb.Text()
	}
	assert.Empty(t, dialled("udp", func(tb *faketb.TB) string { return Start(tb, fixtures.NeverAccept{}).Addr() }))
	assert.Contains(t, dialled("tcp", func(tb *faketb.TB) string { return Start(tb, dnsfault.NXDomain{}).Addr() }), oneConnection)
	tb := leaking(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.NeverAccept{})
		Start(tb, hostile.ConnectOnly{Target: ep.Addr()})
	})
	assert.Empty(t, tb.Text())
}

// While a dial hangs nothing is forgotten: whoever dials is still there, and counts.
func TestNoLeaksOfAHangingDial(t *testing.T) {
	t.Parallel()
	needSockets(t)
	manytests.KernelTimer(t)
	w := WatchLeaks()
	defer w.Close()
	ep := Start(t, fixtures.BlackHole{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ep.Addr()); err == nil {
			_ = c.Close()
		}
	}()
	require.NoError(t, ep.Await(t.Context(), fixtures.SYN, 1))
	assert.Empty(t, w.Find(0).Conns)
	require.NoError(t, ep.Close())
	<-done
	assert.Empty(t, w.Find(settle).String())
}

// A connection is one, however the watch has come to know of its fixture.
func TestWatchCountsOnce(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for _, f := range []fixtures.Fixture{fixtures.Echo{}, fixtures.NeverAccept{}} {
		w := WatchLeaks()
		var ep *fixtures.Endpoint
		var c net.Conn
		tb := faketb.Here(t, func(tb *faketb.TB) {
			ep = Start(tb, f)
			c = connect(tb, ep)
			assert.Len(t, w.Find(0, ep, ep).Conns, 1, "it runs")
		})
		assert.Empty(t, tb.Text())
		assert.Len(t, w.Find(0, ep).Conns, 1, "it has ended")
		assert.NoError(t, c.Close())
		assert.Empty(t, w.Find(settle, ep).String())
		w.Close()
	}
}

// In a bubble it costs no time.
func TestNoLeaksUnacceptedInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := WatchLeaks()
		defer w.Close()
		c := connect(t, Start(t, fixtures.NeverAccept{}, On(simnet.New(t))))
		assert.Len(t, w.Find(0).Conns, 1)
		assert.NoError(t, c.Close())
		begin := time.Now()
		assert.Empty(t, w.Find(settle).String())
		assert.Zero(t, time.Since(begin))
	})
}

// placed is the option for "simnet", or for one of the kernel's families.
func placed(t *testing.T, on string) Option {
	if on == "simnet" {
		return On(simnet.New(t))
	}
	return Family(on)
}
