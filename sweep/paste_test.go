package sweep

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// What a user has: a server, or a fixture, and a client. All runs in bubbles of "testing/synctest".
var fixture = fixtures.Echo{}

func serve(ln net.Listener) { _ = serveRows(ln) }

func use(ctx context.Context, addr string, dial func(context.Context, string, string) (net.Conn, error), over ...func()) error {
	begin := time.Now()
	err := twoLines(ctx, addr, dial)
	pc, _, _, _ := runtime.Caller(1)
	name := strings.TrimPrefix(runtime.FuncForPC(pc).Name(), "example.com/go-sockettest/sweep.TestPasted")
	name, _, _ = strings.Cut(name, ".")
	if got := said(time.Since(begin), err); got != comesTo[name] {
		panic(fmt.Sprintf("%s came to %q, and in the sweep to %q", name, got, comesTo[name]))
	}
	if err != nil && over != nil {
		over[0]()
		if err := twoLines(ctx, addr, dial); err != nil {
			panic("it does not recover: " + err.Error())
		}
	}
	return err
}

// twoLines sends two, each a second after what was before, and reads what comes back.
func twoLines(ctx context.Context, addr string, dial func(context.Context, string, string) (net.Conn, error)) error {
	for range 2 {
		time.Sleep(time.Second)
		conn, err := dial(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		_, _ = io.WriteString(conn, "abc\n")
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			return err
		}
	}
	return nil
}

func said(d time.Duration, err error) string { return fmt.Sprintf("after %v: %v", d, err) }

// comesTo is what the tests below come to, and the points of a sweep that they are printed for.
var comesTo = map[string]string{
	"Conn2AnswerByte2Reset":                   "after 2.0017s: read tcp 127.0.0.1:32772->127.0.0.1:32769: read: connection reset by peer",
	"RequestByte3Fin":                         "after 1.0006s: EOF",
	"ConnectSlow":                             "after 4.7414s: <nil>",
	"AnswerByte4Gone":                         "after 2.001s: dial tcp 127.0.0.1:32769: connect: connection refused",
	"EveryAnswerByte0Silence":                 "after 4.0002s: read tcp 127.0.0.1:32770->127.0.0.1:32769: i/o timeout",
	"RequestByte1Cancel":                      "after 2.0008s: dial tcp 127.0.0.1:32769: operation was canceled",
	"AbcRequestByte0Fin":                      "after 1.0006s: EOF",
	"Abc2AnswerByte3Silence":                  "after 5.001s: read tcp 127.0.0.1:32772->127.0.0.1:32769: i/o timeout",
	"AbcRequestByte2Split":                    "after 2.0116s: <nil>",
	"AnswerByte2SplitThenConn2ConnectRefused": "after 2.011s: dial tcp 127.0.0.1:32769: connect: connection refused",
}

// The test that a report prints comes to the same as the point.
func TestPasted(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("paste_test.go")
	require.NoError(t, err)
	for _, tt := range []struct {
		point    string
		server   func(net.Listener) error
		recovers bool
	}{
		{"conn_2/answer/byte_2/reset", serveRows, true},
		{"request/byte_3/fin", serveRows, true},
		{"connect/slow", serveRows, true},
		{"answer/byte_4/gone", serveRows, true},
		{"every/answer/byte_0/silence", serveRows, true},
		{"request/byte_1/cancel", nil, false},
		{"answer/byte_2/split/then/conn_2/connect/refused", nil, false},
		{"abc/request/byte_0/fin", serveRows, true},
		{"abc_2/answer/byte_3/silence", serveRows, true},
		{"abc/request/byte_2/split", nil, false},
	} {
		cfg := Config{Server: tt.server, Limit: 11 * time.Second}
		if tt.server == nil {
			cfg.Fixture = fixture
		}
		if strings.HasPrefix(tt.point, "abc") {
			cfg.Names = map[string]string{"abc": "abc\n"}
		}
		require.NoError(t, cfg.check())
		s := &sweep{t: t, cfg: cfg, op: func(ctx context.Context, c *Case) error {
			err := twoLines(ctx, c.Addr(), c.DialContext)
			if ctx.Err(); tt.recovers {
				c.Recovers(func(ctx context.Context) error { return twoLines(ctx, c.Addr(), c.DialContext) })
			}
			return err
		}}
		require.NoError(t, s.begin())
		p, ok := s.find(tt.point)
		require.True(t, ok, tt.point)
		r := s.one(p, false)
		assert.True(t, r.Fired)
		assert.Equal(t, comesTo[pasteName(tt.point)], said(r.Took, r.err), tt.point)
		assert.Contains(t, string(source), "\n"+s.pasted(p)+"\n")
	}
}

// What follows is as it is printed.

func TestPastedConn2AnswerByte2Reset(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		undo1 := ep.Arm(fixtures.Rule{Conn: 2, AfterWritten: 2, Do: fixtures.SendRST()})
		over := func() { undo1() }
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedRequestByte3Fin(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		undo1 := ep.Arm(fixtures.Rule{Conn: 1, AfterRead: 3, Do: fixtures.SendFIN()})
		undo2 := ep.Arm(fixtures.Rule{Conn: 1, AfterRead: 3, Hits: fixtures.In, Do: fixtures.DropRest()})
		over := func() { undo1(); undo2() }
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedConnectSlow(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = ep.Become(fixtures.SlowHandshake{Delay: 1370 * time.Millisecond, Then: relay})
		over := func() { _ = ep.Become(relay) }
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedAnswerByte4Gone(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		undo1 := ep.Arm(fixtures.Rule{Conn: 1, AfterWritten: 4, Do: fixtures.Call(func(*fixtures.Conn) {
			_ = ep.Become(fixtures.Refused{})
			for _, c := range ep.Conns() {
				_ = c.Reset()
			}
		})})
		over := func() { undo1(); _ = ep.Become(relay) }
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedEveryAnswerByte0Silence(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		undo1 := ep.Arm(fixtures.Rule{Nth: 1, Way: fixtures.Out, Do: fixtures.Mute("open")})
		over := func() { undo1() }
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedRequestByte1Cancel(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		t.Cleanup(func() { time.Sleep(20007 * time.Millisecond) })
		to := sockettest.Start(t, fixture, sockettest.On(nw)) // Config.Fixture
		relay := fixtures.Forward{To: to.Addr()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ep.Arm(fixtures.Rule{Conn: 1, AfterRead: 1, Do: fixtures.Call(func(*fixtures.Conn) { cancel() })})
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedAnswerByte2SplitThenConn2ConnectRefused(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		t.Cleanup(func() { time.Sleep(20007 * time.Millisecond) })
		to := sockettest.Start(t, fixture, sockettest.On(nw)) // Config.Fixture
		relay := fixtures.Forward{To: to.Addr()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ep.Arm(fixtures.Rule{Conn: 1, Do: fixtures.Call(func(*fixtures.Conn) { _ = ep.Become(fixtures.Refused{}) })})
		ep.Arm(fixtures.Rule{Conn: 1, AfterWritten: 2, Do: fixtures.PauseFor(10 * time.Millisecond)})
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedAbcRequestByte0Fin(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var named1 atomic.Int32
		undos1 := make(chan func(), 1000)
		undo3 := ep.Arm(fixtures.Rule{First: "abc\n", Do: fixtures.Call(func(c *fixtures.Conn) {
			if named1.Add(1) == 1 {
				undos1 <- c.Arm(fixtures.Rule{Hits: fixtures.In, Do: fixtures.DropRest()})
				undos1 <- c.Arm(fixtures.Rule{Do: fixtures.SendFIN()})
			}
		})})
		over := func() {
			for len(undos1) > 0 {
				(<-undos1)()
			}
			undo3()
		}
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedAbc2AnswerByte3Silence(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close(); time.Sleep(20007 * time.Millisecond) })
		go serve(ln) // Config.Server
		relay := fixtures.Forward{To: ln.Addr().String()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var named1 atomic.Int32
		undos1 := make(chan func(), 1000)
		undo3 := ep.Arm(fixtures.Rule{First: "abc\n", Do: fixtures.Call(func(c *fixtures.Conn) {
			if named1.Add(1) == 2 {
				undos1 <- c.Arm(fixtures.Rule{AfterWritten: 3, Do: fixtures.Mute("open")})
			}
		})})
		over := func() {
			for len(undos1) > 0 {
				(<-undos1)()
			}
			undo3()
		}
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext, over) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}

func TestPastedAbcRequestByte2Split(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Latency(100 * time.Microsecond)
		t.Cleanup(func() { time.Sleep(20007 * time.Millisecond) })
		to := sockettest.Start(t, fixture, sockettest.On(nw)) // Config.Fixture
		relay := fixtures.Forward{To: to.Addr()}
		ep := sockettest.Start(t, relay, sockettest.On(nw))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var named1 atomic.Int32
		ep.Arm(fixtures.Rule{First: "abc\n", Do: fixtures.Call(func(c *fixtures.Conn) {
			if named1.Add(1) == 1 {
				c.Arm(fixtures.Rule{AfterRead: 2, Do: fixtures.PauseFor(10 * time.Millisecond)})
			}
		})})
		begin := time.Now()
		failed := use(ctx, ep.Addr(), nw.DialContext) // your client
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("it took %v, and returned %v", took, failed)
		}
	})
}
