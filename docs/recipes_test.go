// Package recipes_test holds the recipes of docs/recipes.md as tests, and writes that file:
//
//	go test ./docs -update
package recipes_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/stretchr/testify/suite"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

var update = flag.Bool("update", false, "write docs/recipes.md")

func TestMain(m *testing.M) {
	manytests.AtOnce()
	sockettest.Main(m)
}

// ---- a client and a server, as they might be under test

// A client asks a line and gets a line, over a pool of one connection. A retry goes to the next
// address.
type client struct {
	addrs   []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration // of a whole call
	retries int
	backoff time.Duration // before the first retry; doubled for each that follows
	idle    net.Conn
}

var errTooLong = errors.New("client: the answer is too long")

func (c *client) Close() error {
	if c.idle == nil {
		return nil
	}
	return c.idle.Close()
}

// Ask is the operation under test.
func (c *client) Ask(ctx context.Context) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	pause := c.backoff
	for try := 0; ; try++ {
		err := c.try(ctx, c.addrs[try%len(c.addrs)])
		if err == nil || try == c.retries || ctx.Err() != nil {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		pause *= 2
	}
}

func (c *client) try(ctx context.Context, addr string) error {
	conn, err := c.connect(ctx, addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = ask(conn)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	c.idle = conn
	return nil
}

func (c *client) connect(ctx context.Context, addr string) (net.Conn, error) {
	if conn := c.idle; conn != nil {
		c.idle = nil
		return conn, nil
	}
	if c.dial == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	return c.dial(ctx, "tcp", addr)
}

// fetch reads the answer to a GET.
func fetch(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, "PING\n"); err != nil {
		return err
	}
	r := bufio.NewReader(&io.LimitedReader{R: conn, N: 100})
	line, err := r.ReadString('\n')
	if errors.Is(err, io.EOF) && len(line) == 100 {
		return errTooLong
	}
	return err
}

// serve is a server of lines, with at most two clients at a time, each of which must speak within
// limit.
func serve(ln net.Listener, limit time.Duration) (shutdown func()) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	open, full := map[net.Conn]bool{}, make(chan struct{}, 2)
	handle := func(c net.Conn) {
		defer wg.Done()
		defer func() { _ = c.Close(); mu.Lock(); delete(open, c); mu.Unlock(); <-full }()
		for r := bufio.NewReader(c); ; {
			_ = c.SetDeadline(time.Now().Add(limit))
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			if _, err := io.WriteString(c, "PONG\n"); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			//lint:ignore SA1019 as net/http does
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Temporary() {
				<-time.NewTimer(5 * time.Millisecond).C
				continue
			}
			if err != nil {
				return
			}
			select {
			case full <- struct{}{}:
			default:
				_ = c.Close() // one too many
				continue
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Add(1)
			go handle(c)
		}
	})
	return func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	}
}

const limit = 100 * time.Millisecond

// ---- the recipes

// My client replaces a pooled connection that has gone stale
func TestStaleConnection(t *testing.T) {
	sockettest.Armed(t, "what shows it is the number of connections")
	ep := sockettest.Start(t, fixtures.Echo{})
	c := client{addrs: []string{ep.Addr()}, retries: 1}
	defer c.Close()
	require.NoError(t, c.Ask(t.Context()))
	require.NoError(t, c.Ask(t.Context()))
	require.Len(t, ep.Conns(), 1) // there is a pool

	require.NoError(t, ep.Conns()[0].Reset()) // while it lies in the pool
	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), c.Ask)
	assert.Len(t, ep.Conns(), 2)
}

// My client asks again when the connection breaks in the middle of an answer
func TestBreakInTheSecondAnswer(t *testing.T) {
	t.Parallel()
	sockettest.Armed(t, "what shows it is the number of connections")
	server := sockettest.Start(t, fixtures.Echo{}) // or the address of a real database
	ep := sockettest.Start(t, fixtures.Forward{To: server.Addr()})
	ep.Arm(fixtures.Rule{Conn: 1, Way: fixtures.Out, Exchange: 2, AfterWritten: 2, Do: fixtures.SendRST()})
	c := client{addrs: []string{ep.Addr()}, retries: 1}
	defer c.Close()
	require.NoError(t, c.Ask(t.Context()))

	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), c.Ask)
	assert.Len(t, ep.Conns(), 2)
}

// My client retries three times and no more
func TestRetryCount(t *testing.T) {
	ep := sockettest.Start(t, fixtures.Reset{})
	c := client{addrs: []string{ep.Addr()}, retries: 3}

	sockettest.Expect(t, ep, sockettest.ResetByPeer.Before(time.Second), c.Ask)
	assert.Len(t, ep.Conns(), 4) // the first attempt and three more
}

// My client backs off: 1, 2, 4, 8, ... seconds
func TestBackoff(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		time.AfterFunc(40*time.Second, func() { assert.NoError(t, ep.Become(fixtures.Echo{})) })
		c := client{addrs: []string{ep.Addr()}, dial: nw.DialContext, retries: 9, backoff: time.Second}
		defer c.Close()

		doubles := sockettest.Backoff{Attempts: 7, First: time.Second, Grows: 2}
		sockettest.Expect(t, ep, sockettest.Accepted.At(63*time.Second).Retrying(doubles), c.Ask) // at 0, 1, 3, 7, 15, 31 and 63 s
	})
}

// A hundred of my clients do not come back in the same second
func TestHerd(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		time.AfterFunc(35*time.Second, func() { assert.NoError(t, ep.Become(fixtures.Echo{})) }) // it restarts

		calm := sockettest.Accepted.Before(time.Hour).Retrying(sockettest.Backoff{Crowd: 30})
		sockettest.Expect(t, ep, calm, func(ctx context.Context) error {
			var herd sync.WaitGroup
			for i := range 100 {
				herd.Go(func() {
					<-time.NewTimer(time.Duration(i) * 200 * time.Millisecond).C // in the client's place: its jitter
					c := client{addrs: []string{ep.Addr()}, dial: nw.DialContext, retries: 20, backoff: 5 * time.Second}
					assert.NoError(t, errors.Join(c.Ask(ctx), c.Close()))
				})
			}
			herd.Wait()
			return nil
		})
	})
}

// My client bounds the whole answer, not each byte of it
func TestTotalTimeout(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Drip{Every: limit / 4}) // each read succeeds in time
	c := client{addrs: []string{ep.Addr()}, timeout: limit}

	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), c.Ask)
}

// My client obeys its context
func TestContext(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, fixtures.Silent{})
	c := client{addrs: []string{ep.Addr()}}

	sockettest.Expect(t, ep, sockettest.Canceled.After(limit), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(limit, cancel).Stop()
		return c.Ask(ctx)
	})
}

// My client limits the size of an answer
func TestSizeLimit(t *testing.T) {
	endless := fixtures.Drip{Data: strings.Repeat("x", 1<<20), For: time.Millisecond}
	ep := sockettest.Start(t, fixtures.StandIn{Then: endless, Instead: fixtures.Echo{}})
	c := client{addrs: []string{ep.Addr()}}

	sockettest.Expect(t, ep, sockettest.ErrorIs(errTooLong).Before(time.Second), c.Ask)
}

// My client copes with an answer that ends too soon
func TestTruncatedAnswer(t *testing.T) {
	ep := sockettest.Start(t, fixtures.Truncate{AfterWritten: 2}) // "PI", then EOF
	c := client{addrs: []string{ep.Addr()}}

	sockettest.Expect(t, ep, sockettest.Closed.Before(time.Second), c.Ask)
}

// My client half-closes: it sends FIN, and still reads the answer
func TestHalfClose(t *testing.T) {
	ep := sockettest.Start(t, fixtures.HalfClose{Data: "PONG\n", AfterFIN: true}) // answers the client's FIN

	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), func(ctx context.Context) error {
		conn, err := net.Dial("tcp", ep.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "PING\n"); err != nil {
			return err
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		_, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
}

// My client's Close ends all that it started
func TestCloseEndsAll(t *testing.T) {
	leaks := sockettest.WatchLeaks()
	defer leaks.Close()
	ep := sockettest.Start(t, fixtures.Echo{})
	c := client{addrs: []string{ep.Addr()}}

	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), c.Ask)
	require.NoError(t, c.Close())
	assert.Empty(t, leaks.Find(time.Second).String()) // the fixture runs: its end would end a background reader, and hide it
}

// My client goes on to the second address
func TestFailover(t *testing.T) {
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		first := sockettest.Start(t, fixtures.Reset{}, sockettest.On(nw))
		second := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		c := client{addrs: []string{first.Addr(), second.Addr()}, dial: nw.DialContext, retries: 1}
		defer c.Close()

		sockettest.Expect(t, sockettest.Together(t, first, second), sockettest.Accepted.Before(time.Second), c.Ask) // both were tried
	})
}

// My HTTP client gives up on a server that does not answer
func TestHTTPTimeout(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, httpfault.Stall{})
	c := http.Client{Transport: &http.Transport{}, Timeout: limit}
	defer c.CloseIdleConnections()

	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), func() error {
		_, err := c.Get("http://" + ep.Addr())
		return err
	})
}

// My HTTP client closes every response's body
func TestBodyIsClosed(t *testing.T) {
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, httpfault.OK{})
	c := http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()

	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), func(ctx context.Context) error {
		return fetch(context.WithoutCancel(ctx), &c, "http://"+ep.Addr()) // Expect ends ctx, which would close what was forgotten
	})
}

// My client speaks a protocol of its own
func TestLineProtocol(t *testing.T) {
	server := fixtures.Scripted{Steps: script.Script{
		script.Match("PING\n"), script.Send("PONG\n"), // the first request is answered
		script.Match("PING\n"), script.Send("PO"), script.Reset(), // the second is cut
	}}
	ep := sockettest.Start(t, fixtures.StandIn{Then: server, Instead: fixtures.Echo{}}) // Instead: in a disarmed run
	c := client{addrs: []string{ep.Addr()}}

	sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Second), c.Ask)
	sockettest.Expect(t, ep, sockettest.ResetByPeer.Before(time.Second), c.Ask)
}

// My code takes no timeout: a limit on each call, as settimeout
func TestLimitOnEachCall(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Silent{})
	d := calltimeout.Dialer{Timeout: limit} // the connect, and then each Read and Write

	sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), func() error {
		conn, err := d.Dial("tcp", ep.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		return ask(conn)
	})
}

// My code takes only a net.Dialer
func TestDialer(t *testing.T) {
	sockettest.Armed(t, "there is no endpoint, and so no Expect")
	sockettest.Bubble(t, func(t *testing.T) {
		d := sockettest.Dialer(t, fixtures.BlackHole{})
		d.Timeout = 30 * time.Second
		c := client{addrs: []string{"10.1.2.3:5432"}, dial: d.DialContext} // no packet is sent

		result := sockettest.Measure(c.Ask)
		assert.NoError(t, sockettest.TimedOut.At(30*time.Second).In("connect").Check(result))
	})
}

// My server drops clients that are slow, and serves the others
func TestSlowClients(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer serve(ln, limit)()
	slow := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})

	c := client{addrs: []string{ln.Addr().String()}}
	defer c.Close()
	sockettest.Expect(t, slow, sockettest.Accepted.Before(limit), c.Ask) // an honest client is served meanwhile
	sockettest.ExpectEnd(t, slow, sockettest.Disconnected.After(limit))
}

// My server listens at a port that nobody else takes
func TestServerOnAReservedPort(t *testing.T) {
	t.Parallel()
	addr := sockettest.Reserve(t) // for exec.Command("server", "-listen", addr), too
	srv := &http.Server{Addr: addr, ReadHeaderTimeout: limit}
	defer srv.Close()
	go srv.ListenAndServe()
	for errors.Is(fetch(t.Context(), http.DefaultClient, "http://"+addr), syscall.ECONNREFUSED) {
	} // until it listens

	a := sockettest.Start(t, hostile.ConnectOnly{Target: addr})
	sockettest.ExpectEnd(t, a, sockettest.Disconnected.After(limit))
}

// My server closes its socket, and does not just half-close
func TestServerCloses(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer serve(ln, limit)()
	leaks := sockettest.WatchLeaks()
	defer leaks.Close()
	slow := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})

	sockettest.ExpectEnd(t, slow, sockettest.Disconnected.After(limit)) // FIN, of either
	assert.Empty(t, leaks.Find(time.Second).String())                   // the attack holds its end open
}

// My server has a maximum of connections
func TestMaximumOfConnections(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer serve(ln, time.Minute)()
	two := sockettest.Start(t, hostile.Flood{Target: ln.Addr().String(), Count: 2})
	third := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})

	sockettest.ExpectEnd(t, third, sockettest.Disconnected.Before(time.Second))
	sockettest.ExpectEnd(t, two, sockettest.Blocked.For(limit))
}

// My server goes on accepting after Accept has failed
func TestAcceptLoop(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		failing := fixtures.AcceptError{Times: 3}.Listen(ln) // EMFILE, three times

		const pause = 5 * time.Millisecond // after each; without one the loop burns a processor
		sockettest.Expect(t, failing, sockettest.Accepted.At(3*pause), func(ctx context.Context) error {
			defer serve(failing, time.Minute)()
			c := client{addrs: []string{ln.Addr().String()}, dial: nw.DialContext}
			defer c.Close()
			return c.Ask(ctx)
		})
	})
}

// My server shuts down with a client that never ends
func TestShutdown(t *testing.T) {
	t.Parallel()
	sockettest.NoLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	shutdown := serve(ln, time.Minute)
	idle := sockettest.Start(t, hostile.ConnectOnly{Target: ln.Addr().String()})

	time.AfterFunc(limit, shutdown)
	sockettest.ExpectEnd(t, idle, sockettest.Disconnected.After(limit))
}

// My server's shutdown ends with every kind of client, and loses no request
func TestShutdownOfAWebServer(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		sockettest.Shutdown(t, sockettest.Server{Limit: 10 * time.Second, Serve: func(t testing.TB, ln net.Listener) func(context.Context) error {
			srv := &http.Server{Handler: http.NotFoundHandler()}
			go srv.Serve(ln)
			return func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				if err := srv.Shutdown(ctx); err == nil {
					return nil
				}
				return srv.Close() // those that say nothing, or do not read
			}
		}}, sockettest.On(nw)) // Server.Begin is for requests that are under way
	})
}

// One test, on the kernel and in virtual time
func TestOnEachNetwork(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
		c := client{addrs: []string{ep.Addr()}, dial: nw.DialContext, timeout: limit}

		sockettest.Expect(t, ep, sockettest.TimedOut.After(limit).In("connect"), c.Ask)
	})
}

// Two machines, and the network between them
func TestTwoMachines(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		app, db := nw.Host("app"), nw.Host("db")
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(db))
		defer nw.Link(app, db).Latency(20 * time.Millisecond)()
		c := client{addrs: []string{ep.Addr()}, dial: app.DialContext}
		defer c.Close()

		sockettest.Expect(t, ep, sockettest.Accepted.At(80*time.Millisecond), c.Ask) // two round trips
	})
}

// A NAT forgets the idle connection in my client's pool
func TestForgottenConnection(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.Armed(t, "what shows it is the number of connections")
		nw := simnet.New(t)
		defer nw.ForgetReset(350 * time.Second)() // or nw.Forget, which tells nobody
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		c := client{addrs: []string{ep.Addr()}, retries: 1, dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := nw.DialContext(ctx, network, addr)
			if err == nil {
				err = conn.(*simnet.Conn).SetKeepAlive(false) // with it, the connection would be kept
			}
			return conn, err
		}}
		defer c.Close()
		require.NoError(t, c.Ask(t.Context()))

		<-time.After(350 * time.Second)
		sockettest.Expect(t, ep, sockettest.Accepted.At(0), c.Ask)
		assert.Len(t, ep.Conns(), 2)
	})
}

// My client's connect succeeds, and there is no server behind it
func TestNothingBehind(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		down, away := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw)), sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
		balancer := sockettest.Start(t, fixtures.Forward{To: down.Addr(), MayBeDown: true}, sockettest.On(nw))
		proxy := sockettest.Start(t, fixtures.Forward{To: away.Addr(), MayBeDown: true}, sockettest.On(nw))

		sockettest.Expect(t, balancer, sockettest.ResetByPeer.At(0), (&client{addrs: []string{balancer.Addr()}, dial: nw.DialContext}).Ask)
		c := client{addrs: []string{proxy.Addr()}, dial: nw.DialContext, timeout: 5 * time.Second} // a dialer's limit would not help
		sockettest.Expect(t, proxy, sockettest.TimedOut.At(5*time.Second), c.Ask)
	})
}

// The first of my two name servers is dead, and my client's limit is shorter than its patience
func TestFirstNameServerIsDead(t *testing.T) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		dead := sockettest.Start(t, dnsfault.Silent{}, sockettest.On(nw))
		good := sockettest.Start(t, dnsfault.Zone{"db.example": {"127.0.0.1"}}, sockettest.On(nw))
		r := dnsfault.Resolver(dead, good)

		sockettest.Expect(t, dead, sockettest.TimedOut.At(900*time.Millisecond).In("resolve"), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 900*time.Millisecond)
			defer cancel()
			_, err := r.LookupHost(ctx, "db.example.")
			return err
		})
		assert.Empty(t, good.Queries()) // it is never asked
	})
}

// With testify's suites
type Suite struct {
	suite.Suite
	ep *fixtures.Endpoint
}

func (s *Suite) SetupTest() {
	sockettest.NoLeaks(s.T())
	s.ep = sockettest.Start(s.T(), fixtures.Refused{})
}

func (s *Suite) TestRefused() {
	c := client{addrs: []string{s.ep.Addr()}}
	sockettest.Expect(s.T(), s.ep, sockettest.Rejected.Before(time.Second), c.Ask)
}

func TestSuite(t *testing.T) { suite.Run(t, new(Suite)) }

// In a benchmark: what a fault costs your client
func BenchmarkRefused(b *testing.B) {
	ep := sockettest.Start(b, fixtures.Refused{})
	c := client{addrs: []string{ep.Addr()}}
	for b.Loop() {
		if c.Ask(b.Context()) == nil {
			b.Fatal("the connect succeeded")
		}
	}
}

// In a fuzz target: a server that sends anything
func FuzzAnswer(f *testing.F) {
	f.Add("PONG\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if answer == "" {
			t.Skip("there is nothing to send")
		}
		sockettest.Armed(t, "there is no want")
		ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Match("PING\n"), script.Send(answer)}})
		c := client{addrs: []string{ep.Addr()}, timeout: time.Second}
		_ = c.Ask(t.Context()) // must neither panic nor hang
		_ = c.Close()
	})
}

// In a plain program
func ExampleTry() {
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.Refused{})
		c := client{addrs: []string{ep.Addr()}}
		sockettest.Expect(t, ep, sockettest.Rejected.Before(time.Second), c.Ask)
	})
	fmt.Println(err)
	// Output: <nil>
}

// ---- the file

const head = `# Recipes

Each recipe is a test that runs: this file is written from [recipes_test.go](recipes_test.go) by ` + "`go test ./docs -update`" + `. Their
client asks a line and gets a line; replace it with your own.

A test on the kernel shows that an operation ends in time within the slack of 250 ms, which hides a limit of 200 ms that is doubled.
Exact limits belong in a bubble.
`

// ginkgo is the one that cannot run here: the core module does not require Ginkgo.
const ginkgo = "\n## With Ginkgo\n```go\nvar _ = Describe(\"client\", func() {\n\tIt(\"is refused\", func() {\n\t\tt := GinkgoTB()\n" +
	"\t\tsockettest.NoLeaks(t)\n\t\tep := sockettest.Start(t, fixtures.Refused{})\n" +
	"\t\tsockettest.Expect(t, ep, sockettest.Rejected.Before(time.Second), client.Ask)\n\t})\n})\n```\n"

// TestRecipesFile: docs/recipes.md is what the tests prove.
func TestRecipesFile(t *testing.T) {
	source, err := os.ReadFile("recipes_test.go")
	require.NoError(t, err)
	_, body, found := bytes.Cut(source, []byte("---- the recipes"))
	require.True(t, found)
	body, _, _ = bytes.Cut(body, []byte("// ---- the file"))
	var b strings.Builder
	b.WriteString(head)
	open := false
	for line := range strings.SplitSeq(string(body), "\n") {
		title, isTitle := strings.CutPrefix(line, "// ")
		switch {
		case isTitle:
			if open {
				trim(&b)
			}
			fmt.Fprintf(&b, "\n## %s\n```go\n", title)
			open = true
		case open && line != "\tt.Parallel()": // it saves time here, and is no part of a recipe
			b.WriteString(line + "\n")
		}
	}
	trim(&b)
	b.WriteString(ginkgo)
	if *update {
		require.NoError(t, os.WriteFile("recipes.md", []byte(b.String()), 0o644))
	}
	got, err := os.ReadFile("recipes.md")
	require.NoError(t, err)
	assert.Equal(t, b.String(), string(got), "out of date: run go test ./docs -update")
}

// trim ends a block of code.
func trim(b *strings.Builder) {
	s := strings.TrimRight(b.String(), "\n")
	b.Reset()
	b.WriteString(s + "\n```\n")
}
