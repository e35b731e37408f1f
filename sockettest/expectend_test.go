package sockettest

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// serving is a server with an accept loop and a goroutine for each connection. It ends with the
// test.
func serving(t testing.TB, handle func(c *net.TCPConn)) (addr string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// resets is a server that resets each client, limit after its first byte: a connect that Go has not
// looked at yet would fail itself.
func resets(c *net.TCPConn) {
	_, _ = c.Read(make([]byte, 1))
	patient(limit)(c)
	_ = c.SetLinger(0)
}

// crowd is that many clients, which send one byte or nothing.
func crowd(target string, n int, talks bool) hostile.Fixture {
	if talks {
		return hostile.Slowloris{Target: target, Count: n, Every: time.Hour}
	}
	return hostile.Flood{Target: target, Count: n}
}

// patient is a server that gives each client that long for all that it has to say, or no limit for
// 0.
func patient(d time.Duration) func(c *net.TCPConn) {
	return func(c *net.TCPConn) {
		if d > 0 {
			_ = c.SetReadDeadline(time.Now().Add(d))
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// web runs an HTTP server until the test ends.
func web(t testing.TB, s *http.Server) (addr string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return ln.Addr().String()
}

// get is an honest client.
func get(addr string) error {
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + addr)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestHTTPServerDropsSlowloris(t *testing.T) {
	t.Parallel()
	NoLeaks(t)
	const limit = 300 * time.Millisecond
	addr := web(t, &http.Server{Handler: http.HandlerFunc(hello), ReadHeaderTimeout: limit})
	loris := Start(t, hostile.Slowloris{Target: addr, Every: 20 * time.Millisecond, Count: 3})

	Expect(t, loris, Accepted.Before(10*time.Second), func() error { return get(addr) })
	r := ExpectEnd(t, loris, Disconnected.After(limit))
	assert.GreaterOrEqual(t, r.Elapsed, limit)
}

// What the limits of net/http do to each client that is hostile in the way that they are for.
func TestHTTPServerEndsHostileClients(t *testing.T) {
	t.Parallel()
	const limit, ages = 100 * time.Millisecond, 20 * time.Second // the limits count from what comes after the connect
	for _, tt := range []struct {
		name   string
		server *http.Server
		client func(target string) hostile.Fixture
		want   Window
	}{
		{"ReadHeaderTimeout and ConnectOnly", &http.Server{ReadHeaderTimeout: limit},
			func(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }, Disconnected.After(limit).Before(ages)},
		{"ReadTimeout and Flood", &http.Server{ReadTimeout: limit},
			func(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: 20} }, Disconnected.After(limit).Before(ages)},
		{"no timeout and Slowloris", &http.Server{},
			func(s string) hostile.Fixture { return hostile.Slowloris{Target: s} }, Blocked.For(limit)},
		{"IdleTimeout and silence", &http.Server{IdleTimeout: limit},
			func(s string) hostile.Fixture {
				return hostile.Scripted{Target: s, Steps: script.Script{
					script.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), script.Match("HTTP/1.1 200 OK\r\n"), script.Discard(),
				}}
			}, Closed.After(limit).Before(ages)},
		{"WriteTimeout and NeverRead", &http.Server{WriteTimeout: limit},
			func(s string) hostile.Fixture { return hostile.NeverRead{Target: s} }, Disconnected.After(limit).Before(ages)},
		{"MaxHeaderBytes and an endless line", &http.Server{MaxHeaderBytes: 1 << 10},
			func(s string) hostile.Fixture {
				return hostile.Scripted{Target: s, Steps: script.Script{
					script.Send("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<13)), script.Match("HTTP/1.1 431 "), script.Discard(),
				}}
			}, Disconnected.Before(ages)},
		{"request in pieces", &http.Server{IdleTimeout: limit},
			func(s string) hostile.Fixture {
				return hostile.SplitEverywhere{Target: s, Match: "HTTP/1.1 200 OK\r\n"}
			}, Closed.After(limit).Before(ages)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "request in pieces" { // one connection for each byte
				manytests.NeedsDescriptors(t, 200)
			}
			tt.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(make([]byte, 1<<20))
			})
			ExpectEnd(t, Start(t, tt.client(web(t, tt.server))), tt.want)
		})
	}
}

func TestExpectEndPasses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		server func(c *net.TCPConn)
		want   Window
		got    Outcome // 0: it depends on when it is looked at
	}{
		{"closed", patient(limit), Closed.After(limit), Closed},
		{"dropped", patient(limit), Disconnected.After(limit), Closed},
		{"reset", resets, ResetByPeer.After(limit), ResetByPeer},
		{"open", patient(0), Blocked.For(limit), Blocked},
		{"open for long enough", patient(2 * limit), Blocked.For(limit), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			addr := serving(t, tt.server)
			r := ExpectEnd(t, Start(t, crowd(addr, 2, tt.got == ResetByPeer)), tt.want)
			if tt.got != 0 {
				assert.Equal(t, tt.got, r.Outcome)
			}
			assert.GreaterOrEqual(t, r.Elapsed, limit)
			require.NoError(t, r.Err)
			assert.Len(t, r.Classes, 1)
		})
	}
}

// A verdict on what has already been waits for nothing.
func TestExpectEndOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	a := Start(t, hostile.ConnectOnly{Target: serving(t, patient(limit))})
	require.NoError(t, a.AwaitEnds(t.Context()))
	want := Disconnected.After(limit).Before(time.Minute)
	first, again := ExpectEnd(t, a, want), ExpectEnd(t, a, want)
	assert.Equal(t, Closed, first.Outcome)
	assert.Equal(t, first.Outcome, again.Outcome)
	assert.Equal(t, first.Elapsed, again.Elapsed)
	tb := faketb.Run(t, func(tb *faketb.TB) { ExpectEnd(tb, a, Blocked.For(time.Hour)) })
	assert.True(t, tb.Failed())
	assert.False(t, tb.Died(), "ExpectEnd must not be fatal: it may run in any goroutine")
}

func TestExpectEndFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		server func(c *net.TCPConn)
		want   Window
		count  int
	}{
		{"too early", patient(limit), Disconnected.After(time.Hour), 1},
		{"not ended", patient(0), Disconnected.After(limit).Slack(0), 1},
		{"wrong end", resets, Closed.After(limit), 1},
		{"not open", patient(limit), Blocked.For(time.Hour), 1},
		{"several", patient(limit), ResetByPeer.After(limit), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			if tt.name == "not ended" {
				manytests.Long(t, "it waits a second beyond the window")
				needInfo(t) // its report shows the sockets, which are still open
			}
			addr := serving(t, tt.server)
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ExpectEnd(tb, Start(tb, crowd(addr, tt.count, tt.name == "wrong end")), tt.want)
			})
			require.True(t, tb.Failed())
			assert.False(t, tb.Died())
			text := hideEnds(steady(tb.Text()))
			if tt.name != "not ended" { // the server may have closed its end by now, or not
				text, _, _ = strings.Cut(text, "\n  sockets ")
			}
			golden(t, text)
		})
	}
}

// hideEnds: the client's own close may come before the report or after it, as may its record of
// what it has sent, and which of several connections ends first or last is up to the scheduler.
func hideEnds(text string) string {
	var keep []string
	for l := range strings.SplitSeq(text, "\n") {
		if !slices.ContainsFunc([]string{"closed", "FIN   ", "RST   ", "sent  "}, func(e string) bool { return strings.Contains(l, "  "+e+"    #") }) {
			keep = append(keep, l)
		}
	}
	text = strings.Join(keep, "\n")
	if strings.Contains(text, "is the worst") {
		text = strings.NewReplacer("#2", "#1", "#3", "#1").Replace(text)
	}
	return text
}

// Of connections that are equally bad the first is shown.
func TestExpectEndShowsTheFirstOfEquals(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		a := Start(t, hostile.Flood{Target: ln.Addr().String(), Count: 3}, On(nw))
		err = Try(func(tb testing.TB) { ExpectEnd(tb, a, Disconnected.Before(time.Second)) })
		require.ErrorContains(t, err, "3 of 3 fail; #1 is the worst")
	})
}

func TestExpectEndRefusesBadArguments(t *testing.T) {
	t.Parallel()
	addr := serving(t, patient(0))
	for _, tt := range []struct {
		name   string
		attack hostile.Fixture
		want   Window
	}{
		{"nil attack", nil, Disconnected.After(limit)},
		{"zero want", hostile.ConnectOnly{Target: addr}, Window{}},
		{"negative after", hostile.ConnectOnly{Target: addr}, Disconnected.After(-1)},
		{"open for nothing", hostile.ConnectOnly{Target: addr}, Blocked.For(0)},
		{"accepted", hostile.ConnectOnly{Target: addr}, Accepted.Before(limit)},
		{"timed out", hostile.ConnectOnly{Target: addr}, TimedOut.After(limit)},
		{"an error", hostile.ConnectOnly{Target: addr}, ErrorIs(io.EOF).Before(limit)},
		{"a phase", hostile.ConnectOnly{Target: addr}, Disconnected.Before(limit).In("read")},
		{"ended by itself", hostile.Reset{Target: addr}, Disconnected.Before(limit)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r Result
			tb := faketb.Run(t, func(tb *faketb.TB) {
				var a *hostile.Attack
				if tt.attack != nil {
					a = Start(tb, tt.attack)
				}
				if tt.name == "ended by itself" {
					assert.NoError(t, a.AwaitEnds(tb.Context()))
				}
				r = ExpectEnd(tb, a, tt.want)
			})
			require.True(t, tb.Failed())
			require.Error(t, r.Err)
			assert.Equal(t, Other, r.Outcome)
			golden(t, steady(tb.Text()))
		})
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { ExpectEnd(tb, &hostile.Attack{}, Disconnected.After(limit)) })
	assert.Contains(t, tb.Text(), "an attack that was never started has no connections; want an attack that Start has begun")
	require.ErrorContains(t, ExpectEnd(nil, Start[hostile.Plan](nil, hostile.Flood{}), Disconnected.After(limit)).Err, "sockettest.ExpectEnd: t is nil")
}

func TestStartOfAnAttackIsFatal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		attack hostile.Fixture
		opt    Option
	}{
		{"nil fixture", nil, Family("tcp")},
		{"nil option", hostile.Flood{}, nil},
		{"no target", hostile.Flood{}, Family("tcp")},
		{"not on loopback", hostile.Slowloris{Target: "8.8.8.8:53"}, Family("tcp")},
		{"too many", hostile.Flood{Target: "127.0.0.1:1717", Count: 5000}, Family("tcp")},
		{"an address", hostile.Flood{Target: "127.0.0.1:1717"}, Address("127.0.0.1:1718")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				Start(tb, tt.attack, tt.opt)
				t.Error("Start returned")
			})
			require.True(t, tb.Died())
			golden(t, tb.Text())
		})
	}
}

// What a script of a client finds wrong with the server fails the test.
func TestStartReportsFailuresOfAnAttack(t *testing.T) {
	t.Parallel()
	addr := serving(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "500 no"); patient(0)(c) })
	tb := faketb.Run(t, func(tb *faketb.TB) {
		a := Start(tb, hostile.Scripted{Target: addr, Steps: script.Script{script.Match("220 ")}})
		assert.NoError(t, a.Await(tb.Context(), fixtures.Failed, 1))
	})
	assert.Contains(t, tb.Text(), `#1 step 1 of 1, Match("220 "): got "500`)
}

// A server that keeps a connection whose client is gone leaks it.
func TestNoLeaksNamesTheServersConnection(t *testing.T) {
	t.Parallel()
	needSockets(t)
	needInfo(t)
	leave := make(chan struct{})
	arrived := make(chan struct{}, 1)
	addr := serving(t, func(*net.TCPConn) { arrived <- struct{}{}; <-leave })
	defer close(leave)
	tb := leaving(t, func(tb *faketb.TB) {
		Start(tb, hostile.ConnectOnly{Target: addr})
		<-arrived
	})
	golden(t, steady(tb.Text()))
}

// A connection that the attack has ended, since the server said something else, is not still open.
func TestExpectEndOfWhatTheScriptEnded(t *testing.T) {
	t.Parallel()
	EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		var server sync.WaitGroup
		defer server.Wait()
		server.Go(func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = io.WriteString(c, "ERROR\n")
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		})
		tb := faketb.Run(t, func(tb *faketb.TB) {
			steps := script.Script{script.Send("GET\n"), script.Match("VALUE\n"), script.Discard()}
			ExpectEnd(tb, Start(tb, hostile.Scripted{Target: ln.Addr().String(), Steps: steps}, On(nw)), Disconnected.After(limit).Before(time.Minute))
		})
		assert.Contains(t, tb.Text(), `connection #1: ended by the fixture, since step 2 of 3, Match("VALUE\n"): got "ERROR\n" (6 B), want disconnected`)
		assert.NotContains(t, tb.Text(), "still open")
		assert.NotContains(t, tb.Text(), "hint")
	})
}
