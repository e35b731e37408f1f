package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// In the examples Try stands for go test, and prints what it would: nothing, or why the test fails.

func ExampleStart() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Refused{}) // an address, at ep.Addr()
		_, err := net.Dial("tcp", ep.Addr())
		fmt.Println(errors.Is(err, syscall.ECONNREFUSED))

		web := sockettest.Start(t, httpfault.OK{}) // an HTTP server, with its URL and a client
		resp, err := web.Client().Get(web.URL())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(resp.Status)
		resp.Body.Close()

		lossy := sockettest.Start(t, udp.Drop{}) // datagrams
		fmt.Println(lossy.NetAddr().Network())
	})
	fmt.Println(err)
	// Output:
	// true
	// 200 OK
	// udp
	// <nil>
}

// A table of fixtures needs no type parameters.
func ExampleStart_table() {
	err := sockettest.Try(func(t testing.TB) {
		for _, tt := range []struct {
			fixture fixtures.Fixture
			limit   time.Duration
			want    sockettest.Want
		}{
			{fixtures.Echo{}, time.Minute, sockettest.Accepted},
			{fixtures.Refused{}, time.Minute, sockettest.Rejected.AtOnce()},
			{fixtures.BlackHole{}, 50 * time.Millisecond, sockettest.TimedOut.After(50 * time.Millisecond)},
		} {
			ep := sockettest.Start(t, tt.fixture)
			sockettest.Expect(t, ep, tt.want, func() error {
				c, err := net.DialTimeout("tcp", ep.Addr(), tt.limit)
				if err != nil {
					return err
				}
				return c.Close()
			})
		}
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleExpect() {
	const limit = 10 * time.Millisecond
	err := sockettest.Try(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.TimedOut.In("connect").After(limit), func() error {
			_, err := net.DialTimeout("tcp", ep.Addr(), limit)
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// The first line of a failure says what differs; the lines below it show both sides.
func ExampleExpect_failure() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Echo{})
		sockettest.Expect(t, ep, sockettest.TimedOut.After(50*time.Millisecond), func() error {
			c, err := net.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			return c.Close()
		})
	})
	headline, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Println(headline)
	// Output: call: accepted, want timed out
}

// A call that returns a value too is an operation in one word.
func ExampleValue() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, httpfault.Stall{})
		client := ep.Client()
		client.Timeout = 50 * time.Millisecond
		get := func(ctx context.Context) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, ep.URL(), nil)
			if err != nil {
				return nil, err
			}
			return client.Do(req)
		}
		sockettest.Expect(t, ep, sockettest.TimedOut.After(client.Timeout), sockettest.Value(get))
	})
	fmt.Println(err)
	// Output: <nil>
}

// Without a limit a client waits on. That can be shown, and the client is released afterwards.
func ExampleOutcome_For() {
	err := sockettest.Try(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.Blocked.For(10*time.Millisecond), func(ctx context.Context) error {
			_, err := (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr())
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// The client tries again after 10, 20 and 40 ms, and then gives up.
func ExampleWindow_Retrying() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Reset{OnAccept: true})
		backoff := sockettest.Backoff{Attempts: 4, First: 10 * time.Millisecond, Grows: 2}
		sockettest.Expect(t, ep, sockettest.ResetByPeer.After(70*time.Millisecond).Retrying(backoff), func() (err error) {
			for pause := 10 * time.Millisecond; pause <= 80*time.Millisecond; pause *= 2 { // under test
				var c net.Conn
				if c, err = net.Dial("tcp", ep.Addr()); err == nil {
					_, err = c.Read(make([]byte, 1))
					_ = c.Close()
				}
				if pause < 80*time.Millisecond {
					time.Sleep(pause) // rules:allow it is what is under test
				}
			}
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// The client waits without a limit, until the server resets the connection.
func ExampleWindow_LetGo() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Silent{})
		r := sockettest.Expect(t, ep, sockettest.Blocked.For(10*time.Millisecond).LetGo(sockettest.ByRST), func() error {
			c, err := net.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
			return err
		})
		fmt.Println(r.Then.Outcome)
	})
	fmt.Println(err)
	// Output:
	// reset
	// <nil>
}

// A client that hides what happened can be held to its own error.
func ExampleErrorIs() {
	errNoServers := errors.New("db: no servers")
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Refused{})
		sockettest.Expect(t, ep, sockettest.ErrorIs(errNoServers).AtOnce(), func() error {
			if _, err := net.Dial("tcp", ep.Addr()); err != nil {
				return errNoServers
			}
			return nil
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// Any function of an error can be wanted, such as status.Code of gRPC. Here it is one of os.
func ExampleErrorValue() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.BlackHole{})
		client := net.Dialer{Timeout: 10 * time.Millisecond} // under test
		sockettest.Expect(t, ep, sockettest.ErrorValue(os.IsTimeout, true).After(client.Timeout), func() error {
			_, err := client.Dial("tcp", ep.Addr())
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// An HTTP status is an error of the client's own.
func ExampleErrorAs() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, httpfault.RejectBody{Status: 503})
		sockettest.Expect(t, ep, sockettest.ErrorAs(func(e *statusOf) bool { return e.Code == 503 }), func() error {
			resp, err := ep.Client().Get(ep.URL()) // under test
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode >= 400 {
				return fmt.Errorf("get: %w", &statusOf{resp.StatusCode})
			}
			return nil
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

// A statusOf is the error of a client for an HTTP status.
type statusOf struct{ Code int }

func (e *statusOf) Error() string { return http.StatusText(e.Code) }

// A client that knows two servers goes on to the second if the first is down.
func ExampleTogether() {
	err := sockettest.Try(func(t testing.TB) {
		down, up := sockettest.Start(t, fixtures.Refused{}), sockettest.Start(t, fixtures.Echo{})
		sockettest.Expect(t, sockettest.Together(t, down, up), sockettest.Accepted, func() (err error) {
			for _, addr := range []string{down.Addr(), up.Addr()} { // under test
				var c net.Conn
				if c, err = net.Dial("tcp", addr); err == nil {
					return c.Close()
				}
			}
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleNoLeaks() {
	err := sockettest.Try(func(t testing.TB) {
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.Echo{})
		c, err := net.Dial("tcp", ep.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // else the test fails
	})
	fmt.Println(err)
	// Output: <nil>
}

// What does not end within the grace is left behind.
func ExampleWatchLeaks() {
	w := sockettest.WatchLeaks()
	defer w.Close()
	ep, err := fixtures.Start(context.Background(), fixtures.Echo{}, fixtures.Place{}) // rules:allow it has no test
	if err != nil {
		panic(err)
	}
	defer ep.Close()
	forgotten, err := net.Dial("tcp", ep.Addr())
	if err != nil {
		panic(err)
	}
	defer forgotten.Close()
	_ = ep.Await(context.Background(), fixtures.ConnAccepted, 1) // rules:allow it has no test
	headline, _, _ := strings.Cut(w.Find(10*time.Millisecond, ep).String(), "\n")
	fmt.Println(headline)
	// Output: leak: 1 connection left behind by the client
}

// It is for tests that are not parallel, and finds sockets that no fixture knows.
func ExampleNoLeakedSockets() {
	err := sockettest.Try(func(t testing.TB) {
		sockettest.NoLeakedSockets(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
	})
	fmt.Println(err == nil || errors.Is(err, errors.ErrUnsupported)) // sockets are listed on Linux only
	// Output: true
}

// Main goes into the one TestMain of a package.
func ExampleMain() {
	TestMain := func(m *testing.M) { // func TestMain(m *testing.M)
		sockettest.Main(m)
	}
	_ = TestMain
}

// In a bubble a limit of a minute costs nothing, and is exact.
func ExampleBubble() {
	TestPatience := func(t *testing.T) { // func TestPatience(t *testing.T)
		sockettest.Bubble(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			nw := simnet.New(t)
			ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
			sockettest.Expect(t, ep, sockettest.TimedOut.At(time.Minute), func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				_, err := nw.DialContext(ctx, "tcp", ep.Addr())
				return err
			})
		})
	}
	_ = TestPatience
}

// The subtests are called kernel and simnet.
func ExampleEachNetwork() {
	TestConnectTimeout := func(t *testing.T) { // func TestConnectTimeout(t *testing.T)
		sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
			const limit = 100 * time.Millisecond
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
			sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				_, err := nw.DialContext(ctx, "tcp", ep.Addr())
				return err
			})
		})
	}
	_ = TestConnectTimeout
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

// Code that takes only a net.Dialer is given one that fails as the fixture would, wherever it
// dials.
func ExampleDialer() {
	err := sockettest.Try(func(t testing.TB) {
		d := sockettest.Dialer(t, fixtures.Refused{})
		_, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:1717")
		fmt.Println(err)
	})
	fmt.Println(err)
	// Output:
	// dial tcp 127.0.0.1:1717: connect: connection refused
	// <nil>
}

// Code that takes no resolver looks names up at the fixture.
func ExampleDefaultResolver() {
	err := sockettest.Try(func(t testing.TB) {
		names := sockettest.Start(t, dnsfault.Zone{"db.example": {"127.0.0.1"}})
		sockettest.DefaultResolver(t, names.Resolver())
		fmt.Println(net.LookupHost("db.example."))
	})
	fmt.Println(err)
	// Output:
	// [127.0.0.1] <nil>
	// <nil>
}

// A test that would look up a name beyond this machine fails, and asks no name server.
func ExampleOnlyLoopback() {
	err := sockettest.Try(func(t testing.TB) {
		sockettest.OnlyLoopback(t)
		_, err := net.LookupHost("db.example.")
		fmt.Println(err != nil)
	})
	what, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Println(what)
	// Output:
	// true
	// sockettest.OnlyLoopback: lookup db.example: it is beyond loopback
}

// A whole package is kept on this machine.
func ExampleOnlyLoopbackAlways() {
	TestMain := func(m *testing.M) { // func TestMain(m *testing.M)
		sockettest.Main(m, sockettest.OnlyLoopbackAlways())
	}
	_ = TestMain
}

// A server that knows its connections, and closes them.
func ExampleShutdown() {
	err := sockettest.Try(func(t testing.TB) {
		sockettest.Shutdown(t, sockettest.Server{Limit: time.Minute, Request: "hello", Serve: func(t testing.TB, ln net.Listener) func(context.Context) error {
			srv := &lineServer{}
			go srv.serve(ln)
			return func(context.Context) error { return srv.close(ln) }
		}})
	})
	fmt.Println(err)
	// Output: <nil>
}

// A lineServer sends back what it gets, and knows its connections.
type lineServer struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (s *lineServer) serve(ln net.Listener) {
	for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
	}
}

func (s *lineServer) close(ln net.Listener) error {
	defer s.mu.Unlock()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	return ln.Close()
}

// Measure and Check need no test.
func ExampleMeasure() {
	r := sockettest.Measure(func() error { return syscall.ECONNRESET })
	fmt.Println(r.Outcome)
	fmt.Println(sockettest.ResetByPeer.Before(time.Second).Check(r))
	fmt.Println(sockettest.Closed.Check(r))
	// Output:
	// reset
	// <nil>
	// call: reset, want closed
}

// A client that gives up closes its connection, and does not leave it to the garbage collector.
func ExampleExpectConnEnd() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Silent{})
		client := http.Client{Timeout: 10 * time.Millisecond} // under test
		sockettest.Expect(t, ep, sockettest.TimedOut.After(client.Timeout), func() error {
			_, err := client.Get("http://" + ep.Addr())
			return err
		})
		sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.Before(100*time.Millisecond)) // of the error
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleExpectEnd() {
	const limit = 10 * time.Millisecond
	err := sockettest.Try(func(t testing.TB) {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler()) // under test
		srv.Config.ReadHeaderTimeout = limit
		srv.Start()
		t.Cleanup(srv.Close)
		loris := sockettest.Start(t, hostile.Slowloris{Target: srv.Listener.Addr().String()})
		sockettest.ExpectEnd(t, loris, sockettest.Disconnected.After(limit))
	})
	fmt.Println(err)
	// Output: <nil>
}

// A server that sends an attacker away before its limit would do so to a slow client.
func ExampleExpectEnd_failure() {
	err := sockettest.Try(func(t testing.TB) {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Config.ReadHeaderTimeout = 10 * time.Millisecond
		srv.Start()
		t.Cleanup(srv.Close)
		loris := sockettest.Start(t, hostile.Slowloris{Target: srv.Listener.Addr().String()})
		sockettest.ExpectEnd(t, loris, sockettest.Disconnected.After(time.Minute))
	})
	headline, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Println(strings.HasSuffix(headline, "s too early")) // connection #1: closed 59.9s too early
	// Output: true
}
