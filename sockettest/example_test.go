package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/sockettest"
)

// test runs f as a test of its own, whose t is a *testing.T elsewhere, and prints what go test would.
func test(f func(t testing.TB)) {
	tb := faketb.Alone("TestExample", func(tb *faketb.TB) { f(tb) })
	if !tb.Failed() {
		fmt.Println("ok")
		return
	}
	first, _, _ := strings.Cut(tb.Text(), "\n")
	fmt.Println("FAIL", first)
}

// ping is the client under test, with its timeout.
func ping(addr string, timeout time.Duration) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, timeout)
		if err != nil {
			return fmt.Errorf("ping: %w", err)
		}
		return c.Close()
	}
}

func ExampleExpect() {
	test(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.TimedOut.After(50*time.Millisecond), ping(ep.Addr(), 50*time.Millisecond))
	})
	test(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Echo{})
		sockettest.Expect(t, ep, sockettest.TimedOut.After(50*time.Millisecond), ping(ep.Addr(), time.Minute))
	})
	// Output:
	// ok
	// FAIL call: accepted, want timed out
}

// Without a limit a client waits on. That can be shown, and the client is let go afterwards.
func ExampleOutcome_For() {
	test(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.Blocked.For(50*time.Millisecond), func(ctx context.Context) error {
			_, err := (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr())
			return err
		})
	})
	// Output: ok
}

// A client that hides what happened can be held to its own error.
func ExampleErrorIs() {
	errNoServers := errors.New("db: no servers")
	test(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Refused{})
		sockettest.Expect(t, ep, sockettest.ErrorIs(errNoServers).Before(time.Second), func() error {
			if ping(ep.Addr(), time.Second)() != nil {
				return errNoServers
			}
			return nil
		})
	})
	// Output: ok
}

func ExampleNoLeaks() {
	var forgotten net.Conn
	test(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.Echo{})
		var err error
		forgotten, err = net.Dial("tcp", ep.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := ep.Await(t.Context(), fixtures.ConnAccepted, 1); err != nil {
			t.Fatal(err)
		}
	})
	_ = forgotten.Close()
	// Output: FAIL leak: 1 connection left behind
}

// A client that tried two addresses has two outcomes.
func ExampleClassify() {
	err := errors.Join(
		&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED},
		&net.OpError{Op: "read", Net: "tcp", Err: context.DeadlineExceeded},
	)
	for _, c := range sockettest.Classify(err) {
		fmt.Printf("%s in %s\n", c.Outcome, c.Phase)
	}
	// Output:
	// rejected in connect
	// timed out in read
}

// Code that takes only a net.Dialer is given one that fails as the fixture would, wherever it dials.
func ExampleDialer() {
	test(func(t testing.TB) {
		d := sockettest.Dialer(t, fixtures.Refused{})
		_, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:1717")
		fmt.Println(err)
	})
	// Output:
	// dial tcp 127.0.0.1:1717: connect: connection refused
	// ok
}

// Measure and Want.Check need no test.
func ExampleMeasure() {
	r := sockettest.Measure(func() error { return syscall.ECONNRESET })
	fmt.Println(r.Outcome)
	fmt.Println(sockettest.Reset.Before(time.Second).Check(r))
	// Output:
	// reset
	// <nil>
}

func ExampleExpectEnd() {
	test(func(t testing.TB) {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler()) // under test
		srv.Config.ReadHeaderTimeout = 50 * time.Millisecond
		srv.Start()
		defer srv.Close()
		loris := sockettest.Start(t, hostile.Slowloris{Target: srv.Listener.Addr().String()})
		sockettest.ExpectEnd(t, loris, sockettest.Disconnected.After(50*time.Millisecond))
	})
	test(func(t testing.TB) {
		srv := httptest.NewServer(http.NotFoundHandler()) // without a limit
		defer srv.Close()
		loris := sockettest.Start(t, hostile.Slowloris{Target: srv.Listener.Addr().String()})
		sockettest.ExpectEnd(t, loris, sockettest.Disconnected.After(50*time.Millisecond).Slack(0))
		loris.Close()
	})
	// Output:
	// ok
	// FAIL connection #1: still open, want disconnected
}
