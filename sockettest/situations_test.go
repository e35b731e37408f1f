package sockettest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
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
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// The tests of this file make situations that people have reported of well-known programs. The
// function below each, which is named like it, is what somebody who tests such a program writes.
// The others are the program: once with the bug, where that test must fail, and once without it.

// brief is what a program under test has patience for.
const brief = 100 * time.Millisecond

// both runs a user's test on both networks, with code that is right, where it passes, and with code
// that has the bug, where it fails and says this.
func both[C any](t *testing.T, test func(t testing.TB, nw network.Stack, code C), right, wrong C, says string) {
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) { differ(t, nw, test, right, wrong, says) })
}

// differ is both on one network.
func differ[C any](t *testing.T, nw network.Stack, test func(t testing.TB, nw network.Stack, code C), right, wrong C, says string) {
	t.Helper()
	var passes, fails *faketb.TB
	var beside sync.WaitGroup
	beside.Go(func() { passes = faketb.Run(t, func(tb *faketb.TB) { test(tb, nw, right) }) })
	beside.Go(func() { fails = faketb.Run(t, func(tb *faketb.TB) { test(tb, nw, wrong) }) })
	beside.Wait()
	if why := passes.Reason() + fails.Reason(); why != "" {
		t.Skip(why)
	}
	assert.Empty(t, passes.Text())
	assert.Contains(t, fails.Text(), says)
}

// needsBlocked skips where a write that cannot go on is not told.
func needsBlocked(t testing.TB, nw network.Stack) {
	t.Helper()
	if nw == sockettest.Kernel {
		manytests.NeedsPlainTCP(t)
		if runtime.GOOS != "linux" {
			t.Skip("what the other side has buffered is told on Linux only")
		}
	}
}

// A test of a situation takes its user at most 25 lines.
func TestSituationsAreShort(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "situations_test.go", nil, 0)
	require.NoError(t, err)
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.Contains(strings.ToLower(f.Name.Name), "situation") {
			assert.Less(t, files.Position(f.End()).Line-files.Position(f.Pos()).Line, 25, f.Name.Name)
		}
	}
}

// An accept loop goes on after an error that passes (fclairamb/ftpserverlib#210).
func TestSituationAcceptFailsForAWhile(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			both(t, func(t testing.TB, nw network.Stack, serve func(net.Listener)) {
				situationAcceptFailsForAWhile(t, nw, serve, errno)
			},
				serveOn, serveUntilError, "still blocked")
		})
	}
}

func situationAcceptFailsForAWhile(t testing.TB, nw network.Stack, serve func(net.Listener), errno error) {
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	failing := fixtures.AcceptError{Err: errno, Times: 3}.Listen(ln)
	t.Cleanup(func() { _ = failing.Close() })
	go serve(failing)
	sockettest.Expect(t, failing, sockettest.Accepted.Before(brief), func(ctx context.Context) error {
		c, err := nw.DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		return errors.Join(read(c, true)(ctx), c.Close())
	})
}

// serveUntilError takes each error for the end.
func serveUntilError(ln net.Listener) {
	for greet(ln) == nil {
	}
}

func serveOn(ln net.Listener) {
	for {
		if err := greet(ln); errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			time.Sleep(5 * time.Millisecond) // rules:allow an accept loop pauses
		}
	}
}

func greet(ln net.Listener) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, "220 ready\r\n")
	return errors.Join(err, c.Close())
}

// A Close waits for a write that cannot go on (go-ldap/ldap#432, jwhited/corebgp#69).
func TestSituationCloseBehindAStuckWrite(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		needsBlocked(t, nw)
		differ(t, nw, situationCloseBehindAStuckWrite, false, true, "still blocked")
	})
}

func situationCloseBehindAStuckWrite(t testing.TB, nw network.Stack, waits bool) {
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, fixtures.NeverRead{}, sockettest.On(nw))
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	l := &locked{Conn: c, waits: waits, lock: make(chan struct{}, 1)}
	wrote := make(chan error, 1)
	go func() { _, err := l.Write(make([]byte, 16<<20)); wrote <- err }()
	require.NoError(t, ep.Await(t.Context(), fixtures.PeerBlocked, 1))
	sockettest.Expect(t, ep, sockettest.Accepted.AtOnce(), l.Close)
	require.Error(t, <-wrote)
}

// A locked connection has one write at a time. If waits is set, its Close takes part in that.
type locked struct {
	net.Conn
	waits bool
	lock  chan struct{} // where others have a mutex: one would hold up the clock of a bubble
}

func (l *locked) Write(b []byte) (int, error) {
	l.lock <- struct{}{}
	defer func() { <-l.lock }()
	return l.Conn.Write(b)
}

func (l *locked) Close() error {
	if l.waits {
		l.lock <- struct{}{}
		defer func() { <-l.lock }()
	}
	return l.Conn.Close()
}

// A PING waits for a write that cannot go on, and its time begins after it (golang/go#48810). What
// net/http has instead works on the kernel; in a bubble its mutex holds up the clock.
func TestSituationPingBehindAStuckWrite(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		needsBlocked(t, nw)
		differ(t, nw, situationPingBehindAStuckWrite, pinging(false), pinging(true), "still blocked")
	})
	t.Run("net/http", func(t *testing.T) {
		needsBlocked(t, sockettest.Kernel)
		differ(t, sockettest.Kernel, situationPingBehindAStuckWrite, postPinging(brief), postPinging(0), "still blocked")
	})
}

func situationPingBehindAStuckWrite(t testing.TB, nw network.Stack, post func(context.Context, *fixtures.Endpoint) error) {
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, httpfault.H2NeverRead{}, sockettest.On(nw))
	sockettest.Expect(t, ep, sockettest.Other.After(2*brief), func(ctx context.Context) error { return post(ctx, ep) })
}

// pinging posts, and sends a PING when it has heard nothing for a while. It waits for the answer
// from then on, or, if late is set, from when the PING was written.
func pinging(late bool) func(context.Context, *fixtures.Endpoint) error {
	return func(ctx context.Context, ep *fixtures.Endpoint) error {
		c, err := ep.DialContext(ctx, "", "")
		if err != nil {
			return err
		}
		l := &locked{Conn: c, lock: make(chan struct{}, 1)}
		var body, ping sync.WaitGroup
		l.lock <- struct{}{} // before the PING, however late the goroutine begins
		body.Go(func() { _, _ = c.Write(make([]byte, 16<<20)); <-l.lock })
		time.Sleep(brief)
		ping.Go(func() { _, _ = io.WriteString(l, "PING") })
		if late {
			ping.Wait()
		}
		time.Sleep(brief)
		err = c.Close()
		body.Wait()
		ping.Wait()
		return errors.Join(errors.New("connection lost"), err)
	}
}

// postPinging posts over HTTP/2, with a PING when nothing was heard for this long, 0 for none.
func postPinging(idle time.Duration) func(context.Context, *fixtures.Endpoint) error {
	return func(_ context.Context, ep *fixtures.Endpoint) error {
		c := ep.Client()
		c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{SendPingTimeout: idle, PingTimeout: brief}
		res, err := c.Post(ep.URL(), "", bytes.NewReader(make([]byte, 16<<20)))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
}

// A server takes no more than its client has begun a handshake of TLS (XTLS/Xray-core#6591).
func TestSituationServerOfAStalledHandshake(t *testing.T) {
	t.Parallel()
	both(t, situationServerOfAStalledHandshake, secure(brief), secure(0), "still open")
}

func situationServerOfAStalledHandshake(t testing.TB, nw network.Stack, serve func(net.Conn)) {
	sockettest.NoLeaks(t)
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			serve(c)
		}
	}()
	a := sockettest.Start(t, hostile.StalledTLS{Target: ln.Addr().String()}, sockettest.On(nw))
	sockettest.ExpectEnd(t, a, sockettest.Disconnected.After(brief))
}

// secure serves a connection over TLS whose handshake has a limit, 0 for none.
func secure(limit time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		if limit > 0 {
			_ = c.SetDeadline(time.Now().Add(limit))
		}
		_ = tls.Server(c, tlsfault.ServerConfig()).Handshake()
	}
}

// A client gives up a handshake of TLS, and leaves it where it is (XTLS/Xray-core#6591 again).
func TestSituationHandshakeLeftBehind(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		differ(t, nw, situationHandshakeLeftBehind, giveUp(nil), giveUp(t), "left behind")
	})
}

func situationHandshakeLeftBehind(t testing.TB, nw network.Stack, handshake func(net.Conn) error) {
	sockettest.NoLeaks(t)
	for _, at := range []tlsfault.Point{tlsfault.BeforeServerHello, tlsfault.MidRecord, tlsfault.AfterServerHello} {
		ep := sockettest.Start(t, tlsfault.Stall{At: at}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.TimedOut.After(brief), func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "", "")
			if err != nil {
				return err
			}
			return handshake(c)
		})
	}
}

// giveUp makes a handshake beside its caller, who waits for a while and then ends it or, if there
// is a test, leaves it until the end of that.
func giveUp(leaves testing.TB) func(net.Conn) error {
	return func(c net.Conn) error {
		done := make(chan error, 1)
		go func() { done <- tls.Client(c, tlsfault.ClientConfig()).Handshake() }()
		end := func() { _ = c.Close(); <-done }
		select {
		case err := <-done:
			return errors.Join(err, c.Close())
		case <-time.After(brief):
		}
		if leaves != nil {
			leaves.Cleanup(end)
		} else {
			end()
		}
		return os.ErrDeadlineExceeded
	}
}

// The limit of one name server was taken for that of the whole lookup (golang/go#16885).
func TestSituationFirstNameServerIsDead(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		differ(t, simnet.New(t), situationFirstNameServerIsDead, lookUp(time.Minute), lookUp(brief), "timed out")
	})
}

func situationFirstNameServerIsDead(t testing.TB, nw network.Stack, lookUp func(context.Context, *net.Resolver) error) {
	dead := sockettest.Start(t, dnsfault.Silent{}, sockettest.On(nw))
	good := sockettest.Start(t, dnsfault.Zone{"db.example": {"127.0.0.1"}}, sockettest.On(nw))
	r := dnsfault.Resolver(dead, good)
	sockettest.Expect(t, dead, sockettest.Accepted.Before(time.Minute), func(ctx context.Context) error { return lookUp(ctx, r) })
}

func lookUp(limit time.Duration) func(context.Context, *net.Resolver) error {
	return func(ctx context.Context, r *net.Resolver) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		_, err := r.LookupHost(ctx, "db.example")
		return err
	}
}

// A ClientHello is larger than what the path lets through (golang/go#80573).
func TestSituationLargeHelloVanishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		differ(t, simnet.New(t), situationLargeHelloVanishes, hello(nil, []tls.CurveID{tls.X25519}), hello(nil), "timed out")
	})
}

func situationLargeHelloVanishes(t testing.TB, nw network.Stack, dial func(context.Context, *fixtures.Endpoint) error) {
	ep := sockettest.Start(t, tlsfault.OverTLS{}, sockettest.On(nw))
	t.Cleanup(nw.(*simnet.Network).MTU(1400))
	sockettest.Expect(t, ep, sockettest.Accepted.Before(3*s), func(ctx context.Context) error { return dial(ctx, ep) })
}

// hello makes a handshake with each of these curves, nil for all, until one succeeds.
func hello(curves ...[]tls.CurveID) func(context.Context, *fixtures.Endpoint) error {
	return func(ctx context.Context, ep *fixtures.Endpoint) (err error) {
		for _, curve := range curves {
			cfg := tlsfault.ClientConfig()
			cfg.CurvePreferences = curve
			c, dialErr := ep.DialContext(ctx, "", "")
			if dialErr != nil {
				return dialErr
			}
			limited, cancel := context.WithTimeout(ctx, s)
			err = tls.Client(c, cfg).HandshakeContext(limited)
			cancel()
			if _ = c.Close(); err == nil {
				break
			}
		}
		return err
	}
}

// A port that was free is somebody else's before the server binds it (zalando/skipper#2718). Here
// the program under test is the test's own helper.
func TestSituationPortIsTakenBeforeServer(t *testing.T) {
	t.Parallel()
	reserve := func(t testing.TB, nw network.Stack) string { return sockettest.Reserve(t, sockettest.On(nw)) }
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		if nw == sockettest.Kernel { // where a port that was closed is free only once no child being forked has it
			situationPortIsTakenBeforeServer(t, nw, reserve)
			return
		}
		differ(t, nw, situationPortIsTakenBeforeServer, reserve, freePort, "address already in use")
	})
}

func situationPortIsTakenBeforeServer(t testing.TB, nw network.Stack, port func(testing.TB, network.Stack) string) {
	addr := port(t, nw)
	if other, err := nw.Bind(t.Context(), "tcp4", addr); err == nil {
		t.Cleanup(func() { _ = other.Close() })
	}
	ln, err := nw.Listen(t.Context(), "tcp", addr)
	require.NoError(t, err)
	require.NoError(t, ln.Close())
}

// freePort closes a port and hopes.
func freePort(t testing.TB, nw network.Stack) string {
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

// A connection with keep-alive and TCP_USER_TIMEOUT is ended by one probe that is lost
// (grpc/grpc-go#6250).
func TestSituationOneProbeIsLost(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		if nw == sockettest.Kernel {
			manytests.KernelTimer(t)
			manytests.NeedsMinTTL(t)
		}
		differ(t, nw, situationOneProbeIsLost, time.Minute, 1500*time.Millisecond, "timed out")
	})
}

func situationOneProbeIsLost(t testing.TB, nw network.Stack, userTimeout time.Duration) {
	ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
	c := probed(t, ep, userTimeout)
	sockettest.Expect(t, ep, sockettest.Accepted, func() error {
		heal := ep.Partition()
		time.Sleep(1500 * time.Millisecond) // the probe of the first second is lost
		heal()
		time.Sleep(1500 * time.Millisecond) // that of the next one arrives
		_, err := io.WriteString(c, "x")
		return errors.Join(err, read(c, false)(t.Context()))
	})
}

// probed connects with a probe for each second, and this user timeout.
func probed(t testing.TB, ep *fixtures.Endpoint, userTimeout time.Duration) net.Conn {
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}).SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: s, Interval: s}))
	if c, ok := c.(*simnet.Conn); ok {
		require.NoError(t, c.SetUserTimeout(userTimeout))
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	set := func(fd uintptr) { err = sockpair.SetUserTimeout(int(fd), userTimeout) }
	require.NoError(t, raw.Control(set))
	require.NoError(t, err)
	return c
}

// An MQTT client tries a second version of its protocol: its limit for the connect counts twice.
func TestSituationLimitCountsForEachVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(simnet.New(t)))
		twice := sockettest.Backoff{Attempts: 2, First: s}
		sockettest.Expect(t, ep, sockettest.TimedOut.At(2*s).Retrying(twice), failover(ep, ep))
		sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.AtOnce())
		sockettest.ExpectConnEnd(t, ep, 2, sockettest.Closed.AtOnce())
	})
}

// A write without a limit waits until RST, and returns then.
func TestSituationWriteReturnsAfterReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.NeverRead{}, sockettest.On(simnet.New(t)))
		want := sockettest.Blocked.For(time.Hour).LetGo(sockettest.ByRST)
		r := sockettest.Expect(t, ep, want, func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "", "")
			if err != nil {
				return err
			}
			_, err = c.Write(make([]byte, 64<<20))
			return errors.Join(err, c.Close())
		})
		require.NotNil(t, r.Then)
		assert.NoError(t, sockettest.ResetByPeer.AtOnce().Check(*r.Then))
	})
}

// A client goes on trying while a daemon is not there yet, and finds it at the third attempt.
func TestSituationDaemonIsNotThereYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(simnet.New(t)))
		time.AfterFunc(4*s, func() { assert.NoError(t, ep.Become(fixtures.Echo{})) })
		steady := sockettest.Backoff{Attempts: 3, First: 3 * s, Grows: 1}
		sockettest.Expect(t, ep, sockettest.Accepted.At(6*s).Retrying(steady), retry(ep.DialContext, ep.Addr(), 3*s, 3*s, 3*s))
	})
}
