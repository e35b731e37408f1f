package overall_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// answerLate is how long the answer to a question takes, while nothing passes but keep-alive.
const answerLate = 4 * time.Hour

// middleboxKnobs are the keep-alives that a question survives whose answer takes four hours, and
// those that it does not: none, one that is as slow as the middlebox, Linux's own.
func middleboxKnobs() []knob {
	const off, second = 0, time.Second
	return []knob{
		remembers(350*second, 15*second, off, "AWS: NAT gateway, NLB"),
		remembers(350*second, 349*second, 350*second, ""),
		remembers(5*time.Minute, 15*second, off, "many proxies and firewalls"),
		remembers(5*time.Minute, 299*second, 5*time.Minute, ""),
		remembers(time.Hour, 15*second, off, "many firewalls"),
		remembers(time.Hour, 59*time.Minute, 2*time.Hour, "Linux's own default, tcp_keepalive_time, for programs that only turn it on"),
	}
}

// remembers is the row of a middlebox that forgets after a time, and of two settings: one that
// keeps the connection and one that does not, of which 0 is no keep-alive at all.
func remembers(idle, with, without time.Duration, note string) knob {
	k := knob{name: fmt.Sprintf("KeepAliveConfig{Idle: %v}", with), trip: fmt.Sprintf("`simnet.Link.Forget(%v)`, an answer after %v", idle, answerLate),
		with: sockettest.Accepted.At(answerLate), without: waits}
	k.note = "with KeepAlive: -1"
	if without > 0 {
		k.without = sockettest.TimedOut.At(without + 9*15*time.Second).In("read")
		k.note = fmt.Sprintf("with Idle: %v", without)
	}
	if note != "" {
		k.note += "; " + note
	}
	k.run = func(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
		t.Cleanup(nw.(*simnet.Network).Forget(idle))
		ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Read(1), script.Wait(answerLate), script.Send("y"), script.Discard()}}, sockettest.On(nw))
		c, err := ep.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		every := with
		if limit == 0 {
			every = without
		}
		require.NoError(t, c.(*simnet.Conn).SetKeepAliveConfig(net.KeepAliveConfig{Enable: every > 0, Idle: every}))
		return sockettest.Expect(t, ep, want, func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
			if _, err := io.WriteString(c, "x"); err != nil {
				return err
			}
			_, err := c.Read(make([]byte, 1))
			return err
		})
	}
	return k
}
