package quic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// Handshake, question and answer survive what befalls single datagrams, and pay for it with their time alone.
func TestQuestionIsAnswered(t *testing.T) {
	for name, fault := range map[string]func(to udp.Fixture) udp.Fixture{
		"no fault":                  func(to udp.Fixture) udp.Fixture { return to },
		"half of the hello lost":    func(to udp.Fixture) udp.Fixture { return udp.Drop{Then: to} },
		"initial flight lost":       func(to udp.Fixture) udp.Fixture { return udp.Drop{Then: udp.Drop{Then: to}} },
		"third datagram lost":       func(to udp.Fixture) udp.Fixture { return udp.Drop{Nth: 3, Then: to} },
		"each fourth datagram lost": func(to udp.Fixture) udp.Fixture { return udp.Drop{EachNth: 4, Then: to} },
		"answers late":              func(to udp.Fixture) udp.Fixture { return udp.Late{Delay: 200 * time.Millisecond, Then: to} },
		"each second answer twice":  func(to udp.Fixture) udp.Fixture { return udp.Duplicate{EachNth: 2, Then: to} },
		"answers in another order":  func(to udp.Fixture) udp.Fixture { return udp.Reorder{Then: to} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				sockettest.NoLeaks(t)
				s := serve(t, nw, "", nil, nil)
				ep := sockettest.Start(t, fault(udp.Forward{To: s.addr}), sockettest.On(nw))
				c := on(t, nw)
				sockettest.Expect(t, ep, sockettest.Accepted, func(ctx context.Context) error {
					conn, err := c.dial(ctx, ep.Addr(), nil)
					if err != nil {
						return err
					}
					defer conn.CloseWithError(0, "")
					return ask(ctx, conn, strings.Repeat("question", 5_000))
				})
			})
		})
	}
}

// Of answers that are cut short, single frames get through: the handshake goes on until twice its idle timeout at most.
func TestHandshakeOfCutAnswers(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		s := serve(t, nw, "", nil, nil)
		ep := sockettest.Start(t, udp.Truncate{AfterWritten: 600, Then: udp.Forward{To: s.addr}}, sockettest.On(nw))
		c := on(t, nw)
		limit := 300 * time.Millisecond
		sockettest.Expect(t, ep, sockettest.TimedOut.After(limit).Before(10*time.Second), func(ctx context.Context) error {
			_, err := c.dial(ctx, ep.Addr(), &quic.Config{HandshakeIdleTimeout: limit})
			return err
		})
	})
}

// A closed port is as silent as none: quic-go's socket is not connected, so that it never learns of the ICMP message.
func TestDialNobody(t *testing.T) {
	t.Parallel()
	for _, f := range []udp.Fixture{udp.Refused{}, udp.Silent{}} {
		sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
			sockettest.NoLeaks(t)
			ep := sockettest.Start(t, f, sockettest.On(nw))
			c := on(t, nw)
			limit := 300 * time.Millisecond
			sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), func(ctx context.Context) error {
				_, err := c.dial(ctx, ep.Addr(), &quic.Config{HandshakeIdleTimeout: limit})
				return err
			})
		})
	}
}

// After a rebinding the server answers at the new port, once it has validated that path.
func TestServerFollowsItsClient(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		s := serve(t, nw, "", nil, nil)
		ep := sockettest.Start(t, udp.Forward{To: s.addr, Rebind: 30}, sockettest.On(nw))
		conn := on(t, nw).connect(t, ep.Addr(), nil)
		there := <-s.conns
		before := there.RemoteAddr().String()
		for n := 0; n < 100 && there.RemoteAddr().String() == before; n++ {
			require.NoError(t, ask(t.Context(), conn, "still there?"))
		}
		assert.NotEqual(t, before, there.RemoteAddr().String())
		assert.NoError(t, ask(t.Context(), conn, "and now?"))
	})
}

// A server that was started again knows nothing of its clients. With the key of before it can say so at once.
func TestStatelessReset(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		conn, ep := restarted(t, nw, &quic.StatelessResetKey{1})
		want := sockettest.ErrorAs(func(*quic.StatelessResetError) bool { return true })
		sockettest.Expect(t, ep, want.Before(5*time.Second), func(ctx context.Context) error { return ask(ctx, conn, strings.Repeat("who am I? ", 10)) })
	})
}

// A packet of 42 bytes or less is not answered, nor is the same again.
func TestStatelessResetOfAShortPacket(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		conn, ep := restarted(t, simnet.New(t), &quic.StatelessResetKey{1})
		sockettest.Expect(t, ep, sockettest.TimedOut.At(30*time.Second), func(ctx context.Context) error { return ask(ctx, conn, "who am I?") })
	})
}
