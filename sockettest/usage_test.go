package sockettest_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
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
