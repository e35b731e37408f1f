package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// onBothNetworks runs f on the kernel's network, and on simnet in a bubble.
func onBothNetworks(t *testing.T, f func(t *testing.T, dial dialFunc, opts ...sockettest.Option)) {
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) { f(t, nw.DialContext, sockettest.On(nw)) })
}

// What happens on a connection that was open before is contact, or, if the operation just waits
// there, may be.
func TestReachedByAnOpenConnection(t *testing.T) {
	t.Parallel()
	write := func(c net.Conn, _ *fixtures.Endpoint) { _, _ = c.Write([]byte("x")) }
	read := func(c net.Conn, _ *fixtures.Endpoint) {
		_ = c.SetReadDeadline(time.Now().Add(soon))
		_, _ = c.Read(make([]byte, 1))
	}
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		before  func(c net.Conn, ep *fixtures.Endpoint)
		op      func(c net.Conn, ep *fixtures.Endpoint)
		note    bool
		fails   bool
	}{
		{name: "a write", fixture: fixtures.Discard{}, op: write},
		{name: "a write that nobody reads", fixture: fixtures.NeverRead{}, op: write},
		{name: "a close", fixture: fixtures.Silent{}, op: func(c net.Conn, _ *fixtures.Endpoint) { _ = c.Close() }},
		{name: "a reset", fixture: fixtures.Silent{}, op: func(c net.Conn, _ *fixtures.Endpoint) { _ = linger(c, 0); _ = c.Close() }},
		{name: "a half-close", fixture: fixtures.Silent{}, op: func(c net.Conn, _ *fixtures.Endpoint) { _ = c.(interface{ CloseWrite() error }).CloseWrite() }},
		{name: "a read", fixture: fixtures.Silent{}, op: read, note: true},
		{name: "a read in the queue", fixture: fixtures.NeverAccept{}, op: read, note: true},
		{name: "a read of a reset", fixture: fixtures.Silent{}, op: read, note: true,
			before: func(_ net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Reset() }},
		{name: "a read of EOF", fixture: fixtures.Silent{}, op: read, note: true,
			before: func(_ net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Close() }},
		{name: "a read of what drips", fixture: fixtures.Drip{Every: soon / 3}, op: readFresh},
		{name: "closed before", fixture: fixtures.Silent{}, op: read, fails: true,
			before: func(c net.Conn, _ *fixtures.Endpoint) { _ = c.Close() }},
		{name: "closed before, after a reset", fixture: fixtures.Silent{}, op: read, fails: true,
			before: func(c net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Reset(); _ = c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
				ep := sockettest.Start(t, tt.fixture, opts...)
				c, err := dial(t.Context(), "tcp", ep.Addr())
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				if _, queues := tt.fixture.(fixtures.NeverAccept); !queues {
					require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
				}
				if tt.before != nil {
					tt.before(c, ep)
				}
				var r sockettest.Result
				tb := faketb.Run(t, func(tb *faketb.TB) {
					r = sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), func() error { tt.op(c, ep); return errOwn })
				})
				assert.Equal(t, tt.fails, tb.Failed(), tb.Text())
				assert.Equal(t, tt.note, r.Note != "", r.Note)
			})
		})
	}
}

// readFresh reads until the fixture has sent something more.
func readFresh(c net.Conn, ep *fixtures.Endpoint) {
	sent := func() int64 { _, n := ep.Conns()[0].Bytes(); return n }
	for before := sent(); sent() == before; {
		_, _ = c.Read(make([]byte, 1))
	}
}

func linger(c net.Conn, seconds int) error {
	return c.(interface{ SetLinger(sec int) error }).SetLinger(seconds)
}

func TestReachedByADatagramSocketThatWaits(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		ep := sockettest.Start(t, udp.Silent{}, opts...)
		c, err := dial(t.Context(), "udp", ep.Addr())
		require.NoError(t, err)
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, ep.Await(t.Context(), fixtures.Received, 1))
		wait := func() error {
			_ = c.SetReadDeadline(time.Now().Add(soon))
			_, _ = c.Read(make([]byte, 1))
			return errOwn
		}
		r := sockettest.Expect(t, ep, sockettest.ErrorIs(errOwn), wait)
		assert.Contains(t, r.Note, "contact not visible")
		require.NoError(t, c.Close())
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), wait) })
		assert.Contains(t, tb.Text(), "the fixture was never reached: saw no datagram")
	})
}

// An operation that hangs on a connect which began before it.
func TestReachedByAConnectThatHangs(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); _, _ = ep.DialContext(ctx, "", "") }()
		require.NoError(t, ep.Await(t.Context(), fixtures.SYN, 1))
		r := sockettest.Expect(t, ep, sockettest.Blocked.For(soon), func(ctx context.Context) error {
			defer context.AfterFunc(ctx, cancel)()
			<-over
			return nil
		})
		if nw == sockettest.Kernel && r.Note == "" {
			return // a machine that stalls has seen the next SYN
		}
		assert.Contains(t, r.Note, "contact not visible")
	})
}

func TestReachedByAPartitionedWrite(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		ep := sockettest.Start(t, fixtures.Echo{}, opts...)
		c, err := dial(t.Context(), "tcp", ep.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		t.Cleanup(ep.Partition())
		r := sockettest.Expect(t, ep, sockettest.ErrorIs(errOwn), func() error { _, _ = c.Write([]byte("x")); return errOwn })
		assert.Empty(t, r.Note)
	})
}

// Beside an attack an honest client's operation is judged: the attack has reached the server.
func TestReachedBesideAnAttack(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) {
		server := sockettest.Start(t, fixtures.Silent{}, opts...)
		a := sockettest.Start(t, hostile.ConnectOnly{Target: server.Addr()}, opts...)
		sockettest.Expect(t, a, sockettest.Accepted.Before(time.Minute), func() error { return nil })
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, a, sockettest.Accepted.Unreached(), func() error { return nil })
			sockettest.ExpectEnd(tb, a, sockettest.Disconnected.Unreached())
		})
		assert.Contains(t, tb.Text(), "bad argument: sockettest.Expect: Unreached beside an attack")
		assert.Contains(t, tb.Text(), "bad argument: sockettest.ExpectEnd: Unreached beside an attack")
	})
}

func TestReachedByAccept(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		ln := listenAs(t, opts)
		l := fixtures.AcceptError{}.Listen(ln)
		t.Cleanup(func() { _ = l.Close() })
		sockettest.Expect(t, l, sockettest.Exhausted.Before(time.Minute).In("accept"), func() error { _, err := l.Accept(); return err })
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, l, sockettest.Accepted.Before(time.Minute), func() error { return nil })
		})
		assert.Contains(t, tb.Text(), "the fixture was never reached: saw no call of Accept")
		over := make(chan struct{})
		go func() {
			defer close(over)
			if c, err := l.Accept(); err == nil {
				_ = c.Close()
			}
		}()
		sockettest.Expect(t, l, sockettest.Accepted.Before(time.Minute), func(ctx context.Context) error {
			c, err := dial(ctx, "tcp", l.Addr().String())
			if err == nil {
				err = c.Close()
			}
			return err
		})
		<-over
	})
}

// listenAs listens on the network of the options.
func listenAs(t *testing.T, opts []sockettest.Option) net.Listener {
	var w fixtures.Place
	for _, o := range opts {
		o(&w)
	}
	if nw, ok := w.Stack.(*simnet.Network); ok {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return ln
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return ln
}

// A dialer that sends no packet counts where it is asked to dial.
func TestReachedByADialer(t *testing.T) {
	t.Parallel()
	ep, other := sockettest.Start(t, fixtures.BlackHole{}), sockettest.Start(t, fixtures.Echo{})
	d := sockettest.Dialer(t, fixtures.Refused{})
	dialing := func() error { _, _ = d.Dial("tcp", ep.Addr()); return errOwn }
	r := sockettest.Expect(t, ep, sockettest.ErrorIs(errOwn), dialing)
	assert.Empty(t, r.Note)
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, other, sockettest.ErrorIs(errOwn), dialing) })
	assert.Contains(t, tb.Text(), "the fixture was never reached")
}

// Whoever has mixed up two networks gets a hint.
func TestHintAboutTheWrongNetwork(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fixtures.Fixture{"refused": fixtures.Refused{}, "served": fixtures.Echo{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, f, sockettest.On(simnet.New(t)))
					sockettest.Expect(tb, ep, sockettest.Rejected.At(0), func() error { _, err := net.Dial("tcp", ep.Addr()); return err })
				})
				assert.Contains(t, tb.Text(), "the fixture was never reached: saw no SYN or connection; the error names its address, but on another network")
				assert.Contains(t, tb.Text(), "want code that dials by the DialContext of what Start returns")
				tb = faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, f)
					sockettest.Expect(tb, ep, sockettest.Closed.At(0), func() error { _, err := simnet.New(t).Dial("tcp", ep.Addr()); return err })
				})
				assert.Contains(t, tb.Text(), "want Start(t, f, sockettest.On(simnet.New(t)))")
			})
		})
	}
}

func TestPanicAndGoexitMeetNoWant(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		for _, want := range []sockettest.Window{sockettest.Other.Before(time.Minute), sockettest.Blocked.For(soon),
			sockettest.Accepted.Before(time.Minute)} {
			for said, end := range map[string]func(){"panicked": func() { panic("a bug") }, "called runtime.Goexit": runtime.Goexit} {
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, fixtures.Silent{}, opts...)
					sockettest.Expect(tb, ep, want, func(ctx context.Context) error {
						c, err := dial(t.Context(), "tcp", ep.Addr())
						if err != nil {
							return err
						}
						defer c.Close()
						if want == sockettest.Blocked.For(soon) {
							<-ctx.Done()
						}
						end()
						return nil
					})
				})
				assert.Contains(t, tb.Text(), said+", want", want)
			}
		}
	})
}

func TestNeverUsedIsLogged(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Echo{}, opts...) })
		assert.Contains(t, tb.Logs(), "Echo{} on 127.0.0.1:")
		assert.Contains(t, tb.Logs(), "was never used in an Expect, and never reached: saw no SYN or connection")
		tb = faketb.Run(t, func(tb *faketb.TB) {
			c, err := dial(t.Context(), "tcp", sockettest.Start(tb, fixtures.Echo{}, opts...).Addr())
			require.NoError(t, err)
			require.NoError(t, c.Close())
		})
		assert.Empty(t, tb.Logs())
	})
}

// readingAll reads until the connection ends.
func readingAll(dial dialFunc, addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := dial(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.ReadAll(c)
		return err
	}
}

// A Forward to nowhere proves nothing of what is in front of it, unless that is the test.
func TestForwardToNowhereFailsTheTest(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		down := sockettest.Start(t, fixtures.Refused{}, opts...).Addr()
		to := fixtures.Forward{To: down}
		for name, f := range map[string]fixtures.Fixture{"plain": to, "cut": fixtures.Truncate{AfterWritten: 1, Then: to}, "in a sequence": fixtures.Sequence{to}} {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, f, opts...)
				sockettest.Expect(tb, ep, sockettest.ResetByPeer.Before(time.Minute), readingAll(dial, ep.Addr()))
				require.NoError(t, ep.Await(t.Context(), fixtures.Ended, 1))
			})
			assert.Contains(t, tb.Text(), `#1 Forward.To is "`+down+`", which cannot be reached; want a server that runs there, or MayBeDown: true`, name)
		}
		ep := sockettest.Start(t, fixtures.Forward{To: down, MayBeDown: true}, opts...)
		sockettest.Expect(t, ep, sockettest.ResetByPeer.Before(time.Minute), readingAll(dial, ep.Addr()))
	})
}

// An error's other addresses say that the operation was elsewhere; the fixture's own say that it
// was there.
func TestReachedByWhatTheErrorNames(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Refused{})
	own, other := ep.NetAddr(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	op := func(a net.Addr) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: a, Err: syscall.ECONNREFUSED}
	}
	_, port, _ := net.SplitHostPort(ep.Addr())
	v6 := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), own.(*net.TCPAddr).AddrPort().Port()))
	var typedNil *net.TCPAddr
	for name, tt := range map[string]struct {
		err     error
		reached bool
		said    string
	}{
		"its own":           {op(own), true, ""},
		"joined":            {errors.Join(op(other), op(own)), true, ""},
		"as a source":       {&net.OpError{Op: "read", Net: "tcp", Source: own, Addr: other, Err: io.EOF}, true, ""},
		"another":           {op(other), false, "the error names 127.0.0.1:1"},
		"a name":            {&net.DNSError{Err: "no such host", Name: "db.test", IsNotFound: true}, false, "the error names db.test"},
		"no address at all": {&net.AddrError{Err: "missing port in address", Addr: "db"}, false, "the error names db"},
		"its other family":  {op(v6), true, ""},
		"localhost":         {op(named("localhost:" + port)), true, ""},
		"another host":      {op(named("10.0.0.1:" + port)), false, "the error names 10.0.0.1:" + port},
		"nil":               {op(nil), true, ""},
		"typed nil":         {op(typedNil), true, ""},
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), func() error { return errors.Join(errOwn, tt.err) })
		})
		assert.Equal(t, tt.reached, !tb.Failed(), name)
		assert.Contains(t, tb.Text(), tt.said, name)
	}
}

// named is an address as a client may write it.
type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }

// A unix socket is the same by every path to it.
func TestReachedByAnotherPath(t *testing.T) {
	t.Parallel()
	for _, f := range []fixtures.Fixture{fixtures.Refused{}, fixtures.NoSocket{}} {
		ep := sockettest.Start(t, f, sockettest.Family("unix"))
		wd, err := os.Getwd()
		require.NoError(t, err)
		relative, err := filepath.Rel(wd, ep.Addr())
		require.NoError(t, err)
		dir := filepath.Join(t.TempDir(), "dir")
		require.NoError(t, os.Symlink(filepath.Dir(ep.Addr()), dir))
		link := filepath.Join(t.TempDir(), filepath.Base(ep.Addr()))
		require.NoError(t, os.Symlink(ep.Addr(), link))
		paths := []string{relative, filepath.Join(dir, filepath.Base(ep.Addr()))}
		if f != (fixtures.NoSocket{}) { // whose link leads nowhere
			paths = append(paths, link)
		}
		for _, path := range paths {
			r := sockettest.Expect(t, ep, sockettest.ErrorIs(fs.ErrNotExist), func() error {
				_, err := net.Dial("unix", path)
				return errors.Join(fs.ErrNotExist, err)
			})
			assert.Empty(t, r.Note, "%T by %s", f, path)
		}
	}
}

// An error that is returned again proves nothing where the network shows what comes. That of a dial
// on the kernel may be new: one whose time is over before it begins sends no SYN.
func TestErrorOfAnEarlierOperationIsNoContact(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		for _, f := range []fixtures.Fixture{fixtures.BlackHole{}, fixtures.Silent{}} {
			var r sockettest.Result
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, f, opts...)
				ctx, cancel := context.WithTimeout(t.Context(), soon)
				defer cancel()
				last := visit(dial, "tcp", ep.Addr())(ctx)
				require.Error(t, last)
				r = sockettest.Expect(tb, ep, sockettest.Outcome(sockettest.TimedOut), func() error {
					return fmt.Errorf("breaker open: %w", last)
				})
			})
			if r.Phase == "connect" && r.Note != "" {
				assert.Equal(t, "contact not visible: the error is that of a dial that timed out, and no SYN was seen", r.Note)
				assert.Equal(t, "TestErrorOfAnEarlierOperationIsNoContact/kernel", t.Name())
				continue
			}
			assert.Contains(t, tb.Text(), "the fixture was never reached", "%T", f)
		}
	})
}

// A dial whose time was over before it began is not held against the code.
func TestDialWithoutTimeIsNotBlamed(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.BlackHole{})
	r := sockettest.Expect(t, ep, sockettest.TimedOut.In("connect"), func() error {
		_, err := (&net.Dialer{Deadline: time.Now().Add(-time.Second)}).Dial("tcp", ep.Addr())
		return err
	})
	assert.Contains(t, r.Note, "no SYN was seen")
}

// What is over TLS is reached by the bytes below it.
func TestReachedBelowTLS(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		ep := sockettest.Start(t, tlsfault.OverTLS{Then: fixtures.Silent{}}, opts...)
		r := sockettest.Expect(t, ep, sockettest.ErrorIs(errOwn), hidesIt(visit(dial, "tcp", ep.Addr()), nil))
		assert.Empty(t, r.Note)
	})
}

// That an attack's connections stay open says nothing of a server that has not accepted any.
func TestExpectEndOfWhatNobodyAccepted(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) {
		ln := listenAs(t, opts)
		t.Cleanup(func() { _ = ln.Close() })
		flood := hostile.Flood{Target: ln.Addr().String(), Count: 2}
		judge := func() *faketb.TB {
			return faketb.Run(t, func(tb *faketb.TB) {
				sockettest.ExpectEnd(tb, sockettest.Start(tb, flood, opts...), sockettest.Blocked.For(soon))
			})
		}
		assert.Contains(t, judge().Text(), "the server has accepted none of the attack's connections")
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for range 4 { // the two of the attack that is over, and its successor's
				c, err := ln.Accept()
				if assert.NoError(t, err) {
					t.Cleanup(func() { _ = c.Close() })
				}
			}
		})
		assert.Empty(t, judge().Text())
		accepting.Wait()
	})
}

// When a listener is closed, the kernel resets what nobody has accepted: that is no verdict of the
// server's.
func TestExpectEndOfWhatTheKernelReset(t *testing.T) {
	t.Parallel()
	for _, accepted := range []int{0, 1} {
		onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) {
			ln := listenAs(t, opts)
			text := faketb.Run(t, func(tb *faketb.TB) {
				a := sockettest.Start(tb, hostile.Flood{Target: ln.Addr().String(), Count: 3}, opts...)
				var conns []net.Conn
				for range accepted {
					c, err := ln.Accept()
					require.NoError(t, err)
					conns = append(conns, c)
				}
				endSoon := sync.OnceFunc(func() {
					time.AfterFunc(soon, func() {
						for _, c := range conns {
							_ = c.Close()
						}
						_ = ln.Close()
					})
				})
				if a.Stack() != sockettest.Kernel { // in a bubble, where nobody asks for a deadline
					endSoon()
				}
				sockettest.ExpectEnd(onDeadline{tb, endSoon}, a, sockettest.Disconnected.After(soon).Before(time.Minute))
			}).Text()
			assert.Contains(t, text, []string{
				"the server has accepted none of the attack's connections: they waited in its accept queue until",
				"the server has accepted 1 of the attack's 3 connections: the others waited in its accept queue until",
			}[accepted])
		})
	}
}

// An onDeadline TB calls do when ExpectEnd asks for the test's deadline: by then that has looked
// at the connections that are open.
type onDeadline struct {
	*faketb.TB
	do func()
}

func (o onDeadline) Deadline() (time.Time, bool) { o.do(); return time.Time{}, false }

// A server may accept and reset at once, before anybody could see it accept.
func TestExpectEndOfAcceptedLate(t *testing.T) {
	t.Parallel()
	onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) {
		ln := listenAs(t, opts)
		t.Cleanup(func() { _ = ln.Close() })
		a := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()}, opts...)
		time.AfterFunc(soon, func() {
			if c, err := ln.Accept(); assert.NoError(t, err) {
				_ = c.(interface{ SetLinger(int) error }).SetLinger(0)
				_ = c.Close()
			}
		})
		sockettest.ExpectEnd(t, a, sockettest.ResetByPeer.After(soon).Before(time.Minute))
	})
}
