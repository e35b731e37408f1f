package sockettest_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

// reading connects, says so, and reads until its connection ends, whatever its context.
func reading(t testing.TB, ep *fixtures.Endpoint, connected chan<- struct{}) func() error {
	return func() error {
		c, err := ep.DialContext(t.Context(), "tcp", "")
		if err != nil {
			return err
		}
		defer c.Close()
		if err := ep.Await(t.Context(), fixtures.ConnAccepted, 1); err != nil {
			return err
		}
		connected <- struct{}{}
		_, err = c.Read(make([]byte, 1))
		return err
	}
}

// TestReleaseHitsNeighbour: an operation that ignores its context is let go by closing the fixture.
// One beside it is neither blamed for that nor praised, and the report says that it was hit.
func TestReleaseHitsNeighbour(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		for _, want := range []sockettest.Want{
			sockettest.TimedOut.After(ample), sockettest.Blocked.For(ample), sockettest.ResetByPeer.Before(ample),
		} {
			ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
			connected, neighbour := make(chan struct{}, 2), make(chan string)
			go func() {
				neighbour <- faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, want, reading(tb, ep, connected)) }).Text()
			}()
			<-connected
			expect := func() string {
				return faketb.Run(t, func(tb *faketb.TB) {
					sockettest.Expect(tb, ep, sockettest.Blocked.For(limit).In("write"), reading(tb, ep, connected))
				}).Text()
			}
			assert.Contains(t, expect(), "after the fixture was closed; that ended all its 2 connections and hit 1 other operation")
			text := <-neighbour
			assert.Contains(t, text, "not judged: the fixture was closed to let go an operation of "+t.Name()+", which did not return by its context;")
			assert.NotContains(t, text, "rule")
			assert.Contains(t, expect(), "bad argument: sockettest.Expect: the fixture was closed to let go an operation of "+t.Name())
		}
	})
}

// Those that were blocked for as long as wanted were, whoever is let go first.
func TestReleaseOfManyBlocked(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
		connected, texts := make(chan struct{}, 5), make(chan string)
		for range 5 {
			go func() {
				texts <- faketb.Run(t, func(tb *faketb.TB) {
					sockettest.Expect(tb, ep, sockettest.Blocked.For(100*time.Millisecond), reading(tb, ep, connected))
				}).Text()
			}()
		}
		for range 5 {
			assert.Empty(t, <-texts)
		}
	})
}

// A server is not blamed for an attack that was closed meanwhile.
func TestReleaseHitsAttack(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		server := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
		a := sockettest.Start(t, hostile.ConnectOnly{Target: server.Addr()}, sockettest.On(nw))
		begun, neighbour := make(chan struct{}), make(chan string)
		go func() {
			neighbour <- faketb.Run(t, func(tb *faketb.TB) {
				close(begun)
				sockettest.ExpectEnd(tb, a, sockettest.Disconnected.Before(ample))
			}).Text()
		}()
		<-begun
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, a, sockettest.Blocked.For(100*time.Millisecond), func() error {
				for end := fixtures.Open; end == fixtures.Open; end, _ = server.Conns()[0].PeerEnd() {
					_ = server.Await(t.Context(), fixtures.Ended, 1)
				}
				return net.ErrClosed
			})
		})
		assert.Empty(t, tb.Text())
		assert.Contains(t, <-neighbour, "not judged: the fixture was closed")
	})
}

// A whole that is closed closes its parts, and a part that is closed is missing in the whole: each
// knows of it. The other part, which goes on, does not.
func TestReleaseHitsPartAndWhole(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		for _, wholeFirst := range []bool{true, false} {
			d := sockettest.Start(t, fixtures.Dual{IPv4: fixtures.Silent{}, IPv6: fixtures.Silent{}}, sockettest.On(nw))
			ns := sockettest.Start(t, dnsfault.Silent{}, sockettest.On(nw))
			for _, tt := range []struct {
				whole, other sockettest.Running
				part         *fixtures.Endpoint
			}{{d, d.IPv6, d.IPv4}, {ns, ns.UDP, ns.TCP}} {
				closes, neighbour := tt.whole, sockettest.Running(tt.part)
				if !wholeFirst {
					closes, neighbour = neighbour, closes
				}
				releaseHits(t, closes, neighbour, tt.part)
				text := expectNothing(t, tt.other)
				assert.Equal(t, wholeFirst, text != "", text)
			}
		}
	})
}

// releaseHits has closes closed to let go an operation, and checks that those at the neighbour, now
// and later, are told so.
func releaseHits(t *testing.T, closes, neighbour sockettest.Running, at *fixtures.Endpoint) {
	t.Helper()
	connected, text := make(chan struct{}, 2), make(chan string)
	expect := func(ep sockettest.Running, want sockettest.Want) string {
		return faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, want, reading(tb, at, connected)) }).Text()
	}
	go func() { text <- expect(neighbour, sockettest.Closed.Before(ample)) }()
	<-connected
	assert.Contains(t, expect(closes, sockettest.Blocked.For(100*time.Millisecond).In("write")), "all its 2 connections and hit 1 other operation")
	assert.Contains(t, <-text, "not judged: the fixture was closed to let go an operation of "+t.Name())
	assert.Contains(t, expectNothing(t, neighbour), "bad argument: sockettest.Expect: the fixture was closed to let go an operation of "+t.Name())
}

// expectNothing returns what an Expect says of a fixture that nothing reaches.
func expectNothing(t *testing.T, ep sockettest.Running) string {
	t.Helper()
	return faketb.Run(t, func(tb *faketb.TB) {
		sockettest.Expect(tb, ep, sockettest.Accepted.Unreached(), func() error { return nil })
	}).Text()
}

// A whole is used if its part is, and a part if the whole is.
func TestUseOfPartIsUse(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		if nw == sockettest.Kernel {
			manytests.NeedsIPv6(t)
		}
		for _, used := range []bool{true, false} {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				d := sockettest.Start(tb, fixtures.Dual{}, sockettest.On(nw))
				if used {
					sockettest.Expect(tb, d.IPv6, sockettest.Accepted.Unreached(), func() error { return nil })
				}
			})
			assert.Equal(t, !used, strings.Contains(tb.Logs(), "was never used in an Expect"), tb.Logs())
		}
	})
}
