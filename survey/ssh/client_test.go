// Package ssh_test holds golang.org/x/crypto/ssh to its timeouts: there is one, ClientConfig.Timeout, and it is over once
// TCP has connected.
package ssh_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

const (
	timeout  = "ClientConfig.Timeout (default none)"
	dialOnly = "none: ClientConfig.Timeout is for the dial"
	deadline = "SetDeadline on the connection"

	connecting = 2 * time.Second // the limit where the dial is to be over within it, on a machine that stalls too
)

func TestMain(m *testing.M) { sockettest.Main(m) }

func TestClient(t *testing.T) {
	t.Parallel()
	reset := fixtures.Scripted{Steps: script.Script{script.Send(version), script.ReadUntil("\n"), kexInit(), script.Reset()}}
	noKeys := fixtures.Scripted{Steps: script.Script{script.Send(version), script.Discard()}}
	exam.Run(t, exam.Client{Name: "x/crypto/ssh", Module: "golang.org/x/crypto", Peer: exam.Honest(server{})}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: timeout, Op: dialing,
			Want: exam.AtOnce(sockettest.Rejected).In("connect")},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: timeout, Op: dialing,
			Want: exam.AtLimit(sockettest.TimedOut).In("connect")},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: dialOnly, Op: dialing, Limit: connecting, Want: exam.Never()},
		{Name: exam.Unanswered + ", with a deadline", Fixture: fixtures.Silent{}, Knob: deadline, Op: dialingWithin,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "key exchange unanswered", Fixture: noKeys, Knob: dialOnly, Op: dialing, Limit: connecting, Want: exam.Never()},
		{Name: "key exchange unanswered, with a deadline", Fixture: noKeys, Knob: deadline, Op: dialingWithin,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.ResetMidway, Fixture: reset, Knob: "none needed", Op: dialing,
			Want: exam.AtOnce(sockettest.ResetByPeer).In("read")},
		{Name: exam.WentSilent, Fixture: server{}, Knob: "none", Op: keepAlive(0), Want: exam.Never()},
		{Name: exam.WentSilent + ", with a deadline", Fixture: server{}, Knob: deadline, Op: keepAlive(1),
			Limit: connecting,
			Want:  exam.AtLimit(sockettest.Closed)}, // the deadline ends the connection, and the call is told of nothing else
		{Name: exam.WentSilent + ", a channel is opened", Fixture: server{}, Knob: "the context of Client.DialContext", Op: tunnel,
			Want: exam.AtLimit(sockettest.TimedOut)},
	})
}

func config(limit time.Duration) *ssh.ClientConfig {
	return &ssh.ClientConfig{User: "test", HostKeyCallback: ssh.FixedHostKey(hostKey().PublicKey()), Timeout: limit}
}

// dial is ssh.Dial, and on simnet what ssh.Dial does, with a dial function instead of net.DialTimeout.
func dial(ctx context.Context, p exam.Place) (*ssh.Client, error) {
	conf := config(p.Limit)
	if !p.Virtual {
		return ssh.Dial("tcp", p.Addr(), conf)
	}
	ctx, cancel := context.WithTimeout(ctx, conf.Timeout)
	defer cancel()
	conn, err := p.DialContext(ctx, "tcp", p.Addr())
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, p.Addr(), conf)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// dialing has nothing but ClientConfig.Timeout.
func dialing(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := dial(ctx, p)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// dialingWithin is how to bound the handshake as well.
func dialingWithin(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		end := time.Now().Add(p.Limit)
		conn, err := p.DialContext(ctx, "tcp", p.Addr())
		if err != nil {
			return err
		}
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
		c, _, _, err := ssh.NewClientConn(conn, p.Addr(), config(0))
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// connected returns a client whose connection has been cut.
func connected(t testing.TB, p exam.Place) (client *ssh.Client, setDeadline func(time.Time) error) {
	t.Helper()
	conn, err := p.DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	c, channels, requests, err := ssh.NewClientConn(conn, p.Addr(), config(0))
	require.NoError(t, err)
	client = ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { _ = client.Close() })
	_, _, err = client.SendRequest("keepalive@openssh.com", true, nil)
	require.NoError(t, err, "before the connection is cut")
	p.Conns()[0].Partition()
	return client, conn.SetDeadline
}

// keepAlive asks as OpenSSH's ServerAliveInterval does, with a deadline of n limits; 0 means none.
func keepAlive(limits int) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		client, setDeadline := connected(t, p)
		return func(context.Context) error {
			if limits > 0 {
				if err := setDeadline(time.Now().Add(time.Duration(limits) * p.Limit)); err != nil {
					return err
				}
			}
			_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
			if limits > 0 {
				assert.ErrorIs(t, client.Wait(), os.ErrDeadlineExceeded, "what the call is not told")
			}
			return err
		}
	}
}

// tunnel opens a channel, with the only call of a client that takes a context.
func tunnel(t testing.TB, p exam.Place) func(context.Context) error {
	client, _ := connected(t, p)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		_, err := client.DialContext(ctx, "tcp", "127.0.0.1:1")
		return err
	}
}

// Each Client.DialContext that has given up leaves a goroutine behind, until the whole client is closed.
func TestTunnelThatWasGivenUpLeaksAGoroutine(t *testing.T) {
	sockettest.Armed(t, "only a call that hangs is given up")
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		p := exam.Place{Limit: 30 * time.Second, Virtual: true,
			Endpoint: sockettest.Start(t, server{}, sockettest.On(simnet.New(t)))}
		open := tunnel(t, p) // the client belongs to this test, and what it leaves to the one within
		within := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.NoLeaks(tb)
			sockettest.Expect(tb, p, sockettest.TimedOut.At(p.Limit), open)
		})
		assert.Contains(t, within.Text(), "leak: 1 goroutine left behind")
		assert.Contains(t, within.Text(), "ssh.(*Client).DialContext.func1")
	})
}
