package overall_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/bare"
	"example.com/go-sockettest/internal/conformance"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// world is somebody else's network.
func world() conformance.World {
	return conformance.World{
		Name:    "bare",
		New:     func(t *testing.T) network.Stack { return bare.Stack(simnet.New(t)) },
		Virtual: true,
	}
}

func TestTruthOnABareNetwork(t *testing.T)     { t.Parallel(); conformance.Truth(t, world()) }
func TestListenersOnABareNetwork(t *testing.T) { t.Parallel(); conformance.Listeners(t, world()) }

// TestEveryFixtureOnABareNetwork: each fixture passes its judge there.
func TestEveryFixtureOnABareNetwork(t *testing.T) {
	t.Parallel()
	for _, r := range probe.All() {
		for _, family := range r.Networks() {
			if family == "unix" {
				continue // simnet has none
			}
			t.Run(r.String()+"/"+family, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
					defer cancel()
					e, err := r.Start(ctx, fixtures.Place{Stack: bare.Stack(simnet.New(t)), Family: family})
					require.NoError(t, err)
					_, err = r.Judge(ctx, e)
					assert.NoError(t, err, "%v", e.Events())
					assert.NoError(t, e.Close())
				})
			})
		}
	}
}

// cases are tests of a user's that fail, and what the failure says; empty if they pass.
var cases = []struct {
	name string
	want string
	test func(t testing.TB, nw network.Stack)
}{
	{"an echo", "", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		c := dial(t, nw, "tcp", ep.Addr())
		sockettest.Expect(t, ep, sockettest.Accepted.At(0), func() error { return ask(c) })
	}},
	{"a client that was never closed", "leak: 1 connection left behind", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		_, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
		assert.NoError(t, err)
		assert.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
	}},
	{"a client that the fixture reset, and that was never closed", "leak: 1 connection left behind", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Reset{OnAccept: true}, sockettest.On(nw))
		_, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
		assert.NoError(t, err)
		assert.NoError(t, ep.Await(t.Context(), fixtures.Ended, 1))
	}},
	{"a fixture that was never reached", "never reached: saw no SYN or connection", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.Rejected.At(0), func() error { return syscall.ECONNREFUSED })
	}},
	{"a fixture that refuses", "", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.Rejected.At(0), func() error {
			_, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
			return err
		})
	}},
	{"a client that tries a refused connect again", "2, at 0s, 1s", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.Accepted.Before(time.Minute), func() error {
			_, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
			time.Sleep(time.Second) // in a bubble
			_, again := nw.DialContext(t.Context(), "tcp", ep.Addr())
			return errors.Join(err, again)
		})
	}},
	{"UDP that was never reached", "never reached: saw no datagram", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, udp.Silent{}, sockettest.On(nw))
		sockettest.Expect(t, ep, sockettest.TimedOut.At(0), func() error { return os.ErrDeadlineExceeded })
	}},
	{"UDP that answers nothing", "", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, udp.Silent{}, sockettest.On(nw))
		c := dial(t, nw, "udp", ep.Addr())
		sockettest.Expect(t, ep, sockettest.TimedOut.At(time.Second), func() error { return ask(c) })
	}},
	{"a connect that hangs", "SYN sent, unanswered", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		sockettest.Expect(t, ep, sockettest.TimedOut.Before(5*time.Second), func() error {
			_, err := nw.DialContext(ctx, "tcp", ep.Addr())
			return err
		})
		assert.NoError(t, ep.Await(t.Context(), fixtures.SYN, 7))
	}},
	{"a write that waits", "2304 B unread by the fixture", func(t testing.TB, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.NeverRead{}, sockettest.On(nw))
		c := dial(t, nw, "tcp", ep.Addr())
		sockettest.Expect(t, ep, sockettest.TimedOut.Before(time.Second), func() error {
			_, err := c.Write(make([]byte, 1<<20))
			return err
		})
	}},
	{"a server that does not end a connection", "want disconnected", func(t testing.TB, nw network.Stack) {
		ln, err := nw.Listen(t.Context(), "tcp", "")
		assert.NoError(t, err)
		defer ln.Close()
		go accept(ln)
		attack := sockettest.Start(t, hostile.Slowloris{Target: ln.Addr().String()}, sockettest.On(nw))
		sockettest.ExpectEnd(t, attack, sockettest.Disconnected.Before(time.Minute+time.Millisecond)) // not when a byte is sent
	}},
}

// accept serves nobody until the listener closes; then it closes what it has.
func accept(ln net.Listener) {
	var open []net.Conn
	for {
		c, err := ln.Accept()
		if err != nil {
			break
		}
		open = append(open, c)
	}
	for _, c := range open {
		_ = c.Close()
	}
}

// dial returns a client that is closed with the test.
func dial(t testing.TB, nw network.Stack, protocol, addr string) net.Conn {
	c, err := nw.DialContext(t.Context(), protocol, addr)
	if !assert.NoError(t, err) {
		t.FailNow()
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask expects what it sends back within a second.
func ask(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// said is what the test says on a network.
func said(t *testing.T, wrap func(network.Stack) network.Stack, test func(testing.TB, network.Stack)) (text string) {
	t.Helper()
	sockettest.Bubble(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.NoLeaks(tb)
			test(tb, wrap(simnet.New(nil)))
		})
		text = tb.Text()
	})
	return others.ReplaceAllString(text, "")
}

// others is the line on the operations that this test's goroutines have run before.
var others = regexp.MustCompile(`(?m)^  others .*\n`)

// A network needs nothing but the interfaces to have the same verdicts and reports as simnet.
func TestSameVerdicts(t *testing.T) {
	t.Parallel()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := said(t, bare.Stack, tt.test)
			if tt.want == "" {
				assert.Empty(t, got)
			} else {
				assert.Contains(t, got, tt.want)
			}
			assert.Equal(t, said(t, func(s network.Stack) network.Stack { return s }, tt.test), got)
		})
	}
}
