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
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// onBothNetworks runs f on the kernel's network, and on simnet in a bubble.
func onBothNetworks(t *testing.T, f func(t *testing.T, dial dialFunc, opts ...sockettest.Option)) {
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) { f(t, nw.DialContext, sockettest.On(nw)) })
}

// An openRow is what an operation does on a connection that was open before, and what Expect says
// of it.
type openRow struct {
	name    string
	fixture fixtures.Fixture
	before  func(c net.Conn, ep *fixtures.Endpoint)
	op      func(c net.Conn, ep *fixtures.Endpoint)
	shown   string // the failure; notVisible for a note; empty for none
	came    bool   // something has come, so that it is not Unreached
	tcp     bool   // it cannot be done on a unix socket
	cut     bool   // the fixture is partitioned
}

var openRows = []openRow{
	{name: "a write", fixture: fixtures.Discard{}, op: writesWhatIsRead, came: true},
	{name: "a write that nobody reads", fixture: fixtures.NeverRead{}, op: writes, came: true, tcp: true}, // has a small window
	{name: "a write and a close", fixture: fixtures.Silent{Unread: true}, op: func(c net.Conn, ep *fixtures.Endpoint) { writes(c, ep); closes(c, ep) }, came: true},
	{name: "a write after a half-close", fixture: fixtures.HalfClose{}, op: writesWhatIsRead, came: true},
	{name: "nothing, after a write", fixture: fixtures.Silent{Unread: true}, before: writes, op: nothing, shown: notVisible},
	{name: "a close", fixture: fixtures.Silent{}, op: isSeen(fixtures.PeerFIN, closes), shown: notVisible + theEnd},
	{name: "a half-close that is answered", fixture: fixtures.Scripted{Steps: script.Script{script.Discard(), script.Send("bye")}},
		op:    func(c net.Conn, ep *fixtures.Endpoint) { halfCloses(c, ep); _, _ = io.Copy(io.Discard, c) },
		shown: notVisible + theEnd},
	{name: "a close of what was half-closed", fixture: fixtures.HalfClose{}, op: isSeen(fixtures.PeerFIN, closes), shown: notVisible + theEnd},
	{name: "a close in the queue", fixture: fixtures.NeverAccept{}, op: closes, shown: notVisible},
	{name: "a reset", fixture: fixtures.Silent{}, op: isSeen(fixtures.PeerRST, resets), shown: notVisible + theEnd, tcp: true},
	{name: "a half-close", fixture: fixtures.Silent{}, op: isSeen(fixtures.PeerFIN, halfCloses), shown: notVisible + theEnd},
	{name: "a read", fixture: fixtures.Silent{}, op: reads, shown: notVisible},
	{name: "a read in the queue", fixture: fixtures.NeverAccept{}, op: reads, shown: notVisible},
	{name: "a read after a half-close in the queue", fixture: fixtures.NeverAccept{}, before: halfCloses, op: reads, shown: notVisible},
	{name: "a read of a reset", fixture: fixtures.Silent{}, op: reads, shown: notVisible, tcp: true,
		before: func(_ net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Reset() }},
	{name: "a read of EOF", fixture: fixtures.Silent{}, op: reads, shown: notVisible,
		before: func(_ net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Close() }},
	{name: "a read of what drips", fixture: fixtures.Drip{Every: soon / 3}, op: readFresh},
	{name: "closed before", fixture: fixtures.Silent{}, before: closes, op: reads, shown: neverReached},
	{name: "closed before in the queue", fixture: fixtures.NeverAccept{}, before: closes, op: reads, shown: neverReached},
	{name: "closed before in the held queue", fixture: fixtures.SlowAccept{Delay: time.Hour}, before: closes, op: reads, shown: neverReached},
	{name: "closed before in the full queue", fixture: fixtures.FullBacklog{Room: 2}, before: closes, op: reads, shown: neverReached},
	{name: "reset before", fixture: fixtures.Silent{}, before: resets, op: reads, shown: neverReached, tcp: true},
	{name: "closed before, after a reset", fixture: fixtures.Silent{}, op: reads, shown: neverReached, tcp: true,
		before: func(c net.Conn, ep *fixtures.Endpoint) { _ = ep.Conns()[0].Reset(); _ = c.Close() }},
}

const (
	neverReached = "the fixture was never reached: saw no "
	theEnd       = "a connection was open before, on which the operation may just have waited; all that was seen is that the client ended it"
)

func nothing(net.Conn, *fixtures.Endpoint)    {}
func writes(c net.Conn, _ *fixtures.Endpoint) { _, _ = c.Write([]byte("x")) }

// writesWhatIsRead returns when it was: a unix socket does not tell of what is being read just now.
func writesWhatIsRead(c net.Conn, ep *fixtures.Endpoint) {
	writes(c, ep)
	_ = ep.Await(context.Background(), fixtures.Received, 1) // rules:allow the row has no test yet
}

// isSeen returns when the fixture has seen what op does.
func isSeen(k fixtures.EventKind, op func(net.Conn, *fixtures.Endpoint)) func(net.Conn, *fixtures.Endpoint) {
	return func(c net.Conn, ep *fixtures.Endpoint) {
		op(c, ep)
		_ = ep.Await(context.Background(), k, 1) // rules:allow the row has no test yet
	}
}

func closes(c net.Conn, _ *fixtures.Endpoint)  { _ = c.Close() }
func resets(c net.Conn, ep *fixtures.Endpoint) { _ = linger(c, 0); closes(c, ep) }
func halfCloses(c net.Conn, _ *fixtures.Endpoint) {
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
}

func reads(c net.Conn, _ *fixtures.Endpoint) {
	_ = c.SetReadDeadline(time.Now().Add(soon))
	_, _ = c.Read(make([]byte, 1))
}

// Bytes on a connection that was open before are contact. An operation that just waits there, or
// ends it, may be.
func TestReachedByAnOpenConnection(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	manytests.NeedsProc(t)
	for _, row := range openRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) { row.check(t, opts...) })
			if !row.tcp {
				t.Run("unix", func(t *testing.T) { row.check(t, sockettest.Family("unix")) })
			}
		})
	}
}

func (row openRow) check(t *testing.T, opts ...sockettest.Option) {
	r, said := row.run(t, sockettest.ErrorIs(errOwn), opts...)
	if row.shown == neverReached {
		assert.Contains(t, said, row.shown)
	} else {
		assert.Empty(t, said)
		assert.Contains(t, r.Note, row.shown)
		assert.Equal(t, row.shown != "", r.Note != "", r.Note)
	}
	switch _, said := row.run(t, sockettest.ErrorIs(errOwn).Unreached(), opts...); {
	case row.came:
		assert.Contains(t, said, "the fixture was reached, want an operation that does not reach it")
	case said != "": // of what comes on a connection in the accept queue the kernel says nothing
		assert.IsType(t, fixtures.NeverAccept{}, row.fixture)
		assert.NotEqual(t, neverReached, row.shown)
		assert.Contains(t, said, cannotTell)
	}
}

func (row openRow) run(t *testing.T, want sockettest.Want, opts ...sockettest.Option) (r sockettest.Result, said string) {
	ep := sockettest.Start(t, row.fixture, opts...)
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	if plan, err := row.fixture.Plan(); assert.NoError(t, err) && plan.State.Hold == 0 {
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
	}
	if row.cut {
		defer ep.Partition()()
	}
	if row.before != nil {
		row.before(c, ep)
	}
	return r, faketb.Run(t, func(tb *faketb.TB) {
		r = sockettest.Expect(tb, ep, want, func() error { row.op(c, ep); return errOwn })
	}).Text()
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
	manytests.NeedsProc(t)
	onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
		ep := sockettest.Start(t, udp.Silent{}, append(opts, apart)...)
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

// An attempt is a connect in the background.
type attempt struct {
	t      *testing.T
	ep     *fixtures.Endpoint
	cancel context.CancelFunc
	over   chan struct{}
	conn   net.Conn
}

// attemptAt begins to connect, and waits until that hangs.
func attemptAt(t *testing.T, ep *fixtures.Endpoint) *attempt {
	ctx, cancel := context.WithCancel(t.Context())
	a := &attempt{t: t, ep: ep, cancel: cancel, over: make(chan struct{})}
	t.Cleanup(a.givesUp)
	before := hanging(ep)
	go func() {
		defer close(a.over)
		a.conn, _ = ep.Stack().DialContext(ctx, "tcp", ep.Addr())
	}()
	for hanging(ep) == before {
		select {
		case <-a.over:
			t.Fatal("the connect does not hang")
		case <-time.After(time.Millisecond):
		}
	}
	return a
}

func hanging(ep *fixtures.Endpoint) (n int) {
	for _, s := range ep.Sockets() {
		if s.Other != nil && s.Other.State == "SYN-SENT" {
			n++
		}
	}
	return n
}

func (a *attempt) sendsAgain() { _ = a.ep.Await(a.t.Context(), fixtures.SYN, 2) }
func (a *attempt) connects()   { <-a.over }

func (a *attempt) givesUp() {
	a.cancel()
	<-a.over
	if a.conn != nil {
		_ = a.conn.Close()
	}
}

// fill takes the room in the accept queue.
func fill(t *testing.T, ep *fixtures.Endpoint) {
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// noRetryYet is before a kernel first sends a SYN again: after 1 s (RFC 6298, 2.1), less what it
// counts in.
const noRetryYet = 950 * time.Millisecond

// What becomes of a connect that hung before is no contact, though the operation may have waited
// for it. Another connect is. Where the kernel does not show whose a SYN was, that is no failure,
// whichever address the error names, except where nothing may come.
func TestReachedByAConnectThatHangs(t *testing.T) {
	t.Parallel()
	hole, full, slow := fixtures.BlackHole{}, fixtures.FullBacklog{}, fixtures.SlowHandshake{Delay: time.Second}
	for name, tt := range map[string]struct {
		fixture fixtures.Fixture
		op      func(a *attempt, another func() *attempt)
		came    bool
		waits   bool // for a timer of the kernel
		unsure  bool // the kernel does not show which of the two
	}{
		"does nothing":                {fixture: hole, op: func(*attempt, func() *attempt) {}},
		"gives up":                    {fixture: hole, op: func(a *attempt, _ func() *attempt) { a.givesUp() }},
		"sends again":                 {fixture: hole, waits: true, op: func(a *attempt, _ func() *attempt) { a.sendsAgain() }},
		"sends again and gives up":    {fixture: hole, waits: true, unsure: true, op: func(a *attempt, _ func() *attempt) { a.sendsAgain(); a.givesUp() }},
		"sends again to a full queue": {fixture: full, waits: true, op: func(a *attempt, _ func() *attempt) { a.sendsAgain() }},
		"connects":                    {fixture: slow, waits: true, op: func(a *attempt, _ func() *attempt) { a.connects() }},
		"connects and closes":         {fixture: slow, waits: true, op: func(a *attempt, _ func() *attempt) { a.connects(); a.givesUp() }},
		"another comes":               {fixture: hole, came: true, op: func(_ *attempt, another func() *attempt) { another().givesUp() }},
		"another hangs":               {fixture: full, came: true, op: func(_ *attempt, another func() *attempt) { another() }},
		"another hangs, it gives up":  {fixture: hole, came: true, op: func(a *attempt, another func() *attempt) { another(); a.givesUp() }},
		"gives up, another comes":     {fixture: hole, came: true, op: func(a *attempt, another func() *attempt) { a.givesUp(); another().givesUp() }},
		"gives up, another, full":     {fixture: full, came: true, op: func(a *attempt, another func() *attempt) { a.givesUp(); another().givesUp() }},
		"sends again, gives up, another comes": {fixture: hole, waits: true, came: true,
			op: func(a *attempt, another func() *attempt) { a.sendsAgain(); a.givesUp(); another().givesUp() }},
		"sends again, another comes": {fixture: hole, waits: true, came: true, op: func(a *attempt, another func() *attempt) { a.sendsAgain(); another().givesUp() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				if tt.waits && nw == sockettest.Kernel && testing.Short() {
					t.Skip("waits for a timer of the kernel")
				}
				if nw == sockettest.Kernel {
					manytests.NeedsPlainTCP(t) // package net dials again without it
				}
				unsure := tt.unsure && nw == sockettest.Kernel
				judge := func(want sockettest.Window, err error) (r sockettest.Result, said string) {
					for begin := time.Now(); ; begin = time.Now() {
						ep := sockettest.Start(t, tt.fixture, sockettest.On(nw))
						if tt.fixture == full {
							fill(t, ep)
						}
						a := attemptAt(t, ep)
						said = faketb.Run(t, func(tb *faketb.TB) {
							r = sockettest.Expect(tb, ep, want, func() error { tt.op(a, func() *attempt { return attemptAt(t, ep) }); return err })
						}).Text()
						if tt.waits || nw != sockettest.Kernel || time.Since(begin) < noRetryYet {
							return r, said
						}
						t.Log("once more: it took so long that the kernel may have sent a SYN again")
					}
				}
				var verdicts sync.WaitGroup // at once, since each waits for the timer
				verdicts.Go(func() {
					r, said := judge(sockettest.ErrorIs(errOwn), errOwn)
					assert.Empty(t, said)
					assert.Equal(t, !tt.came, r.Note != "", r.Note)
				})
				verdicts.Go(func() {
					_, said := judge(sockettest.ErrorIs(errOwn).Unreached(), errOwn)
					assert.Equal(t, tt.came, strings.Contains(said, "the fixture was reached"), said)
					assert.Equal(t, unsure, strings.Contains(said, cannotTell), said)
				})
				if unsure || tt.came {
					other := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: errOwn}
					verdicts.Go(func() {
						r, said := judge(sockettest.ErrorIs(errOwn), other)
						assert.Empty(t, said)
						assert.Equal(t, unsure, strings.Contains(r.Note, "contact not visible: a SYN came"), r.Note)
					})
				}
				verdicts.Wait()
			})
		})
	}
}

// In a partition what is written is contact, once. What the kernel sends again is none, nor is FIN.
func TestReachedInAPartition(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t) // MPTCP cannot be partitioned
	waitForResend := func(_ net.Conn, ep *fixtures.Endpoint) {
		for s, _ := ep.Conns()[0].Sockets(); s.Other == nil || s.Other.Retransmits == 0; s, _ = ep.Conns()[0].Sockets() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, row := range []openRow{
		{name: "a write", op: writes, came: true},
		{name: "a write and a close", op: func(c net.Conn, ep *fixtures.Endpoint) { writes(c, ep); closes(c, ep) }, came: true},
		{name: "a write before", before: writes, op: waitForResend, shown: notVisible},
		{name: "a close", op: closes, shown: notVisible},
		{name: "a reset", op: resets, shown: notVisible},
		{name: "closed before", before: closes, op: nothing, shown: neverReached},
	} {
		row.fixture, row.cut = fixtures.Echo{}, true
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) { row.check(t, opts...) })
		})
	}
}

// A connection that was closed before, and whose FIN came late, is no contact and nothing to wait
// on. The report says what was seen.
func TestReachedByALateFIN(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t) // MPTCP cannot be partitioned
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
		c, err := ep.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		heal := ep.Partition()
		require.NoError(t, c.Close())
		late := func() error { heal(); _ = ep.Await(t.Context(), fixtures.PeerFIN, 1); return errOwn }
		tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), late) })
		assert.Contains(t, tb.Text(), neverReached+"SYN or connection; a connection from before was closed by the client, which is no use of the fixture")
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
	var wg sync.WaitGroup
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
		wg.Go(func() {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn), func() error { return errors.Join(errOwn, tt.err) })
			})
			assert.Equal(t, tt.reached, !tb.Failed(), name)
			assert.Contains(t, tb.Text(), tt.said, name)
		})
	}
	wg.Wait()
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
	manytests.NeedsPlainTCP(t)
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		if nw == sockettest.Kernel {
			manytests.Long(t, "it waits for what does not come")
		}
		for _, f := range []fixtures.Fixture{fixtures.BlackHole{}, fixtures.Silent{}} {
			var r sockettest.Result
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, f, sockettest.On(nw))
				ctx, cancel := context.WithTimeout(t.Context(), soon)
				defer cancel()
				last := visit(nw.DialContext, "tcp", ep.Addr())(ctx)
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
	manytests.NeedsQueue(t)
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
				endSoon := func() {
					time.AfterFunc(soon, func() {
						for _, c := range conns {
							_ = c.Close()
						}
						_ = ln.Close()
					})
				}
				if a.Stack() != sockettest.Kernel { // in a bubble, where nobody asks for a deadline
					endSoon()
				}
				sockettest.ExpectEnd(&onDeadline{tb, endSoon, 0}, a, sockettest.Disconnected.After(soon).Before(time.Minute))
			}).Text()
			assert.Contains(t, text, []string{
				"the server has accepted none of the attack's connections: they waited in its accept queue until",
				"the server has accepted 1 of the attack's 3 connections: the others waited in its accept queue until",
			}[accepted])
		})
	}
}

// An onDeadline TB calls do when ExpectEnd asks for the test's deadline for the second time, which
// is for its wait: the first is for its arguments. By then it has looked at the connections that
// are open.
type onDeadline struct {
	*faketb.TB
	do    func()
	asked int
}

// Deadline is a test's own.
func (o *onDeadline) Deadline() (time.Time, bool) {
	if o.asked++; o.asked == 2 {
		o.do()
	}
	return time.Time{}, false
}

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
