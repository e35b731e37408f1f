package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
)

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Limit: 1}, "Config.Server and Config.Fixture are nil; want what the client talks to, such as Server:" +
			" func(ln net.Listener) error { return http.Serve(ln, handler) }"},
		{Config{Limit: 1, Server: serveRows, Fixture: fixtures.Echo{}}, "Config.Server and Config.Fixture are both set; want one of them"},
		{Config{Server: serveRows}, "Config.Limit is 0s; want how long the operation may take whatever happens: more than 0, and not its" +
			" client's own timeout"},
		{Config{Server: serveRows, Limit: 1, Grace: -1}, "Config.Grace is -1ns; want 0 (20s) or more"},
		{Config{Server: serveRows, Limit: 1, Workers: -1}, "Config.Workers is -1; want 0 (GOMAXPROCS) or more"},
		{Config{Server: serveRows, Limit: 1, Once: []string{""}}, "Config.Once[0] is empty; want the bytes of a request"},
		{Config{Server: serveRows, Limit: 1, Host: "127.0.0.1"}, `Config.Host is "127.0.0.1"; want the name of a host, such as "db.example"`},
		{Config{Server: serveRows, Limit: 1, Host: "a b..c"}, `Config.Host is "a b..c"; want the name of a host, such as "db.example"`},
		{Config{Server: serveRows, Limit: 1, Host: "localhost"}, `Config.Host is "localhost"; want the name of a host, such as "db.example"`},
		{Config{Server: serveRows, Limit: 1, Names: map[string]string{"conn_2": "HI"}}, `Config.Names has "conn_2"; want a name of letters, digits and` +
			` dashes, and none of ["connect" "request" "answer" "lookup" "every" "good"]`},
		{Config{Server: serveRows, Limit: 1, Names: map[string]string{"good": "HI"}}, `Config.Names has "good"; want a name of letters, digits and` +
			` dashes, and none of ["connect" "request" "answer" "lookup" "every" "good"]`},
		{Config{Server: serveRows, Limit: 1, Names: map[string]string{"a": ""}}, `Config.Names["a"] has 0 bytes; want some of the first 64 that the client sends`},
		{Config{Server: serveRows, Limit: 1, Faults: []Fault{{Name: "a b", Do: fixtures.SendFIN()}}}, `Config.Faults[0] is "a b", SendFIN(); want a name` +
			` without slashes and spaces, and an effect`},
		{Config{Server: serveRows, Limit: 1, Faults: []Fault{}}, "Config.Faults is empty; want nil, for DefaultFaults, or some"},
		{Config{Server: serveRows, Limit: 1, Faults: append(DefaultFaults(), DefaultFaults()[1])}, `Config.Faults[1] and [9] are both called "fin";` +
			` want names that differ`},
		{Config{Server: serveRows, Limit: 1, Faults: []Fault{{Name: "a"}}}, `Config.Faults[0] is "a", ; want a name without slashes and spaces,` +
			` and an effect`},
	} {
		require.EqualError(t, tt.cfg.check(), tt.want)
	}
}

// What is wrong without any fault ends the sweep before it begins.
func TestBadConversation(t *testing.T) {
	t.Parallel()
	get := func(line string) func(context.Context, *Case) error {
		return func(ctx context.Context, c *Case) error {
			conn, err := c.DialContext(ctx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, line+"\n"); err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 4))
			return err
		}
	}
	for _, tt := range []struct {
		server func(net.Listener) error
		op     func(context.Context, *Case) error
		want   string
	}{
		{nil, func(context.Context, *Case) error { return errors.New("no such table") },
			"the operation never connected to the server (no such table); want it to dial Case.Addr with Case.DialContext"},
		{nil, func(context.Context, *Case) error { return nil },
			"the operation never connected to the server (it returned no error); want it to dial Case.Addr with Case.DialContext"},
		{nil, func(ctx context.Context, c *Case) error { _ = get("HI")(ctx, c); return errors.New("no such table") },
			"without any fault, the operation failed: no such table; want a conversation that works"},
		{nil, func(_ context.Context, c *Case) error { c.FailNow(); return nil }, "without any fault, good: wrong: Case.FailNow was called"},
		{nil, func(_ context.Context, c *Case) error { c.Close(nil); return nil }, "without any fault, good: wrong: bad argument: Case.Close: f is nil"},
		{nil, func(_ context.Context, c *Case) error { c.Closer(nil); return nil }, "without any fault, good: wrong: bad argument: Case.Closer: f is nil"},
		{nil, func(_ context.Context, c *Case) error { c.Recovers(nil); return nil },
			"without any fault, good: wrong: bad argument: Case.Recovers: f is nil"},
		{func(net.Listener) error { panic("oh") }, get("HI"), "without any fault, good: panics: Config.Server panicked: oh"},
		{nil, func(_ context.Context, c *Case) error { c.Errorf("got %d", 1); return nil }, "without any fault, good: wrong: got 1"},
		{nil, func(context.Context, *Case) error { runtime.Goexit(); return nil },
			"without any fault, good: wrong: the operation called runtime.Goexit: give assertions the *sweep.Case, not the test"},
		{nil, func(context.Context, *Case) error { panic("oh") }, "without any fault, good: panics: the operation panicked: oh"},
		{nil, func(ctx context.Context, _ *Case) error { <-ctx.Done(); return nil },
			"without any fault, good: hangs: the operation had not returned after 55s, and ended when its context was cancelled"},
		{func(net.Listener) error { return errors.New("no licence") }, get("HI"),
			"Config.Server returned during the conversation: no licence; want it to serve until ln is closed"},
		{func(ln net.Listener) error { _ = serveRows(ln); select {} }, get("HI"),
			"without any fault, good: leaks: Config.Server has not returned, 20.007s after its listener was closed"},
	} {
		cfg := Config{Server: serveRows, Limit: 11 * time.Second}
		if tt.server != nil {
			cfg.Server = tt.server
		}
		require.NoError(t, cfg.check())
		err := (&sweep{t: t, cfg: cfg, op: tt.op}).begin()
		if assert.Error(t, err, tt.want) {
			assert.True(t, strings.HasPrefix(err.Error(), tt.want), "%v\n%s", err, tt.want)
		}
	}
}

// A request of Once that is never sent is a typing error.
func TestOnceIsNeverSent(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("fin")
	cfg.Once = []string{"AD\n"}
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: using("")}
	require.ErrorContains(t, s.begin(), `Config.Once has "AD\n", which the operation does not send`)
}

// The command that repeats a point quotes the test's name.
func TestPatternQuotes(t *testing.T) {
	t.Parallel()
	t.Run("x (y)+", func(t *testing.T) {
		s := &sweep{t: t}
		p := point{conn: connID{N: 2}, every: true, place: answering, at: 7, fault: Fault{Name: "fin"}}
		assert.Equal(t, `^TestPatternQuotes$/^x_\(y\)\+$/^every$/^conn_2$/^answer$/^byte_7$/^fin$`, s.pattern(p))
	})
}

// A pattern for another test says nothing about this one.
func TestPatternThatSelectsPoints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, test string
		want          bool
	}{
		{"TestA/answer", "TestA", true},
		{"^TestA$/^x_y$/answer", "TestA/x_y", true},
		{"TestA/x y/answer", "TestA/x_y", true},
		{"(TestA|TestB)/answer", "TestA", true},
		{"TestA/x", "TestA/x", false},
		{"TestA", "TestA", false},
		{"TestB/answer", "TestA", false},
		{"TestA|TestB/answer", "TestA", false},
		{"", "TestA", false},
	} {
		assert.Equal(t, tt.want, selects(tt.pattern, tt.test), "%q %s", tt.pattern, tt.test)
	}
}

// What a test prints says where it called Run, and what to do instead.
func TestOutput(t *testing.T) {
	const env = "SWEEP_TEST_OUTPUT"
	if os.Getenv(env) != "" {
		t.Run("bubble", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { Run(t, rowsConfig("fin"), using("")) })
		})
		t.Run("progress", func(t *testing.T) {
			s := &sweep{t: t, cfg: rowsConfig("fin"), op: using(""), every: 100 * time.Microsecond}
			require.NoError(t, cmp.Or(s.cfg.check(), s.begin()))
			s.try() // here
		})
		t.Run("skip", func(t *testing.T) { Run(t, rowsConfig("fin"), using("")) })
		return
	}
	wait := manytests.Start(t, env+"=1", "-test.v", "-test.run=^TestOutput$", "-test.skip=^TestOutput$/^skip$/^connect$")
	t.Parallel()
	text, err := wait()
	require.Error(t, err)
	source, err := os.ReadFile("badinput_test.go")
	require.NoError(t, err)
	before, _, _ := strings.Cut(string(source), "s.try() // here")
	assert.Contains(t, text, fmt.Sprintf("    badinput_test.go:%d: sweep: ", 1+strings.Count(before, "\n")))
	assert.Contains(t, text, "--- FAIL: TestOutput/bubble ")
	assert.Contains(t, text, "bad argument: sweep.Run: called in a testing/synctest bubble; want it outside, since it makes bubbles of its own")
	assert.Contains(t, text, "--- PASS: TestOutput/skip/answer/byte_0/fin ")
	assert.NotContains(t, text, "TestOutput/skip/connect/")
	assert.NotContains(t, text, "TestOutput/progress/")
}

// There are no more workers than conversations.
func TestWorkers(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 3, (&sweep{cfg: Config{Workers: 1 << 30}}).workers(3))
	assert.Equal(t, 2, (&sweep{cfg: Config{Workers: 2}}).workers(3))
	assert.Equal(t, runtime.GOMAXPROCS(0), (&sweep{}).workers(1<<30))
}

// Where a third of the points never came to their fault the test fails.
func TestMissedFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answers int // points of these, 9 in all, do not come
		bad     bool
	}{{6, false}, {9, true}} {
		cfg := rowsConfig("fin")
		cfg.Once = nil
		text, bad := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
			if at, ok := strings.CutPrefix(c.Name(), "answer/byte_"); ok && int(at[0]-'0') < tt.answers {
				return nil
			}
			return adding(func(*Case) {})(ctx, c)
		})
		assert.Equal(t, tt.bad, bad, text)
		assert.Contains(t, text, "sweep: 21 conversations in ")
		assert.Contains(t, text, fmt.Sprintf("\n  %d conversations never came to the fault, which proves nothing", tt.answers))
		assert.Equal(t, tt.bad, strings.Contains(text, "proves nothing: over a third, so the test fails"))
	}
}

// A panic is told from the frame of its own, and an event by the name of its fault.
func TestReportOfPanicAtCancel(t *testing.T) {
	t.Parallel()
	text, _ := sweepOver(t, rowsConfig("cancel"), adding(func(c *Case) {
		if c.Name() == "request/byte_1/cancel" {
			panic("oh")
		}
	}))
	for _, line := range []string{
		"bound     listening", "--        the operation starts --", "accepted  #1 from the client at 127.0.0.1:32770",
		"fired     #1 byte 1 in: cancel at Conn 1, AfterRead 1", "--        it panics --", "FIN       #1 from the client",
	} {
		_, after, ok := strings.Cut(text, "ms  "+line+"\n")
		assert.True(t, ok, "%s\n%s", line, text)
		text = cmp.Or(after, text)
	}
	assert.Regexp(t, `\n      sweep\.TestReportOfPanicAtCancel\.func1  .*badinput_test\.go:\d+\n`, text)
	assert.NotContains(t, text, "panic.go")
}

// An operation may use the test's own context, which makes a channel when it is first asked.
func TestContextOfTheTest(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("fin")
	cfg.Max, cfg.Once = 3, nil
	Run(t, cfg, func(_ context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		_ = db.add(t.Context())
		return db.add(t.Context())
	})
}

// An operation that dials as fast as it can, without end, is given up by the virtual clock.
func TestDialsWithoutEnd(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Max = 4
	text, _ := sweepOver(t, cfg, func(_ context.Context, c *Case) error {
		for {
			db := &client{c: c}
			err := db.add(context.Background()) // rules:allow it obeys nothing
			c.Close(db.Close)
			if err == nil {
				return nil
			}
		}
	})
	assert.Contains(t, text, "floods           ")
	assert.NotContains(t, text, "leaks            ")
}
