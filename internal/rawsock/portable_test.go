package rawsock

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// These tests need no kernel: what binds and listens is made up, so that they run on every system
// and in virtual time.

type closer func() error

func (c closer) Close() error { return c() }

// fakeBind binds nothing.
func fakeBind(a *net.TCPAddr, _ bool) (io.Closer, int, error) {
	return closer(func() error { return nil }), a.Port, nil
}

// fakeListener accepts what the test sends.
type fakeListener struct {
	conns  chan any // a net.Conn or an error
	closed chan struct{}
	once   sync.Once
}

func newFakeListener() *fakeListener {
	return &fakeListener{conns: make(chan any), closed: make(chan struct{})} // closed by Close
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		if err, ok := c.(error); ok {
			return nil, err
		}
		return c.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{} }

func bindFake(t *testing.T, sys platform) *portable {
	t.Helper()
	sys.goos, sys.refuse = "fakeos", bound
	p, err := bindPortable(t.Context(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1717}, sys)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	p.(*portable).alarm.Stop() // in a bubble where all wait forever, it would ring in 292 years, and wake them
	return p.(*portable)
}

// listenFake enters a state that listens.
func listenFake(p *portable, hold time.Duration) *fakeListener {
	ln := newFakeListener()
	p.enter(&opening{Closer: ln, way: listening, ln: ln}, network.State{Answer: network.Listen, Hold: hold})
	return ln
}

// A piped is a connection without a kernel; it can be told apart, and be closed.
type piped struct {
	network.Conn // nil
	end          net.Conn
}

func (p piped) Close() error { return p.end.Close() }

func pipe(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return piped{end: a}
}

// Accept must sleep while it waits, however many wait with it: if not, this bubble never comes to
// rest.
func TestPortableAcceptsWaitAsleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		var accepts sync.WaitGroup
		for range 3 {
			accepts.Go(func() {
				_, err := p.Accept()
				assert.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		listenFake(p, 0)
		synctest.Wait()
		require.NoError(t, p.Close())
		accepts.Wait()
	})
}

func TestPortableHoldIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		ln := listenFake(p, time.Hour)
		var due []time.Time
		for range 3 {
			due = append(due, time.Now().Add(time.Hour))
			ln.conns <- pipe(t)
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		for i, d := range due {
			_, err := p.Accept()
			require.NoError(t, err)
			assert.Zero(t, time.Since(d), "connection %d", i)
		}
	})
}

// The Hold that counts is the one in force, for connections of an earlier one too; so it is on
// Linux.
func TestPortableHoldChangesWithTheState(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Minute, 3 * time.Hour, -time.Hour} {
		t.Run(hold.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := bindFake(t, platform{bind: fakeBind})
				ln := listenFake(p, time.Hour)
				arrived := time.Now()
				ln.conns <- pipe(t)
				synctest.Wait()
				got := make(chan time.Duration, 1)
				go func() {
					_, err := p.Accept()
					assert.NoError(t, err)
					got <- time.Since(arrived)
				}()
				synctest.Wait()
				require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: hold}))
				assert.Equal(t, max(hold, 0), <-got)
			})
		})
	}
}

// Without Hold, what nobody asks for stays in the kernel's queue, so that it can fill.
func TestPortableTakesWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		ln := listenFake(p, 0)
		var accepts sync.WaitGroup
		for range 3 {
			synctest.Wait()
			select {
			case ln.conns <- pipe(t):
				t.Error("a connection was taken that nobody had asked for")
			default:
			}
			for range 2 {
				accepts.Go(func() {
					_, err := p.Accept()
					assert.NoError(t, err)
				})
			}
			ln.conns <- pipe(t)
			ln.conns <- pipe(t)
			accepts.Wait()
		}
	})
}

func TestPortableAcceptGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Hour} {
		t.Run(hold.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := bindFake(t, platform{bind: fakeBind})
				ln := listenFake(p, hold)
				want, failure := pipe(t), errors.New("made up")
				go func() { ln.conns <- failure; ln.conns <- failure; ln.conns <- want }()
				for range 2 {
					_, err := p.Accept()
					require.ErrorIs(t, err, failure)
				}
				got, err := p.Accept()
				require.NoError(t, err)
				assert.Equal(t, want, got)
			})
		})
	}
}

// A failure is for one caller; who waits beside it gets the next connection.
func TestPortableAcceptFailsForOneOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		ln := listenFake(p, 0)
		got, failure := make(chan error, 2), errors.New("made up")
		for range 2 {
			go func() { _, err := p.Accept(); got <- err }()
		}
		synctest.Wait() // both wait
		ln.conns <- failure
		require.ErrorIs(t, <-got, failure)
		ln.conns <- pipe(t)
		require.NoError(t, <-got)
	})
}

// A connection that the kernel hands over during the change is reset, and the change waits for
// that: it is on the port.
func TestPortableChangeEndsWhatComesLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		ln := newFakeListener()
		late := &opening{Closer: closer(func() error { return nil }), way: listening, ln: ln}
		p.enter(late, network.State{Answer: network.Listen, Hold: time.Hour})
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- p.Become(network.State{Answer: network.Refuse}) }()
		synctest.Wait()
		assert.Empty(t, done, "the change is not done")
		a, b := net.Pipe()
		ln.conns <- a
		_, err := b.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, <-done)
	})
}

// What is queued ends with the state, as in a kernel: it is reset, and never handed out.
func TestPortableChangeEndsWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bindFake(t, platform{bind: fakeBind})
		ln := listenFake(p, time.Hour)
		a, b := net.Pipe()
		ln.conns <- a
		synctest.Wait()
		require.NoError(t, p.Become(network.State{Answer: network.Refuse}))
		_, err := b.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		next := listenFake(p, 0)
		want := pipe(t)
		go func() { next.conns <- want }()
		got, err := p.Accept()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	})
}

func TestPortableOnAnUnknownSystem(t *testing.T) {
	t.Parallel()
	sys := platform{goos: "plan9", whyNot: "nobody has tried"}
	_, err := bindPortable(t.Context(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sys)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	for _, a := range []network.Answer{network.Own, network.Refuse, network.Drop} {
		for _, v6 := range []bool{false, true} {
			_, err := sys.way(network.State{Answer: a}, v6)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			assert.EqualError(t, err, "plan9: cannot answer \""+a.String()+"\" over "+ipName(v6)+
				": nobody has tried: unsupported operation")
		}
	}
	w, err := sys.way(network.State{Answer: network.Listen}, false)
	require.NoError(t, err)
	assert.Equal(t, listening, w)
}

func TestPortableSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	p := bindFake(t, platform{bind: fakeBind, whyNot: "made up"})
	err := p.Become(network.State{Answer: network.Listen, Handshake: time.Second})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "fakeos: cannot delay a handshake by 1s")
	err = p.Become(network.State{Answer: network.Drop})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "made up")
	_, _, err = p.Dropped()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "fakeos")
	err = p.Become(network.State{Answer: 9})
	require.EqualError(t, err, "State.Answer is 9; want Own, Refuse, Listen, Drop or Lend")
	assert.Equal(t, network.State{}, p.state, "the state is as it was")
}

func TestPortableBindEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1717}
	_, err := bindPortable(ctx, addr, platform{bind: fakeBind})
	require.ErrorIs(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	p, err := bindPortable(ctx, addr, platform{bind: fakeBind, refuse: bound})
	require.NoError(t, err)
	cancel() // is for binding only
	require.NoError(t, p.Become(network.State{Answer: network.Refuse}))
	require.NoError(t, p.Close())
}

func TestPortableIsClosedForGood(t *testing.T) {
	t.Parallel()
	p := bindFake(t, platform{bind: fakeBind})
	for range 2 {
		require.NoError(t, p.Close())
		require.ErrorIs(t, p.Become(network.State{Answer: network.Refuse}), net.ErrClosed)
		_, err := p.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	}
}
