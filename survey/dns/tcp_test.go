// Package dns_test holds github.com/miekg/dns to its timeouts, by TCP and UDP, as a client and as a server.
package dns_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

const (
	timeout    = "Client.Timeout (default 2s)"
	kernelOnly = "Client.Dialer is a *net.Dialer, not a dial function"
)

func TestMain(m *testing.M) { sockettest.Main(m) }

func TestClientByTCP(t *testing.T) {
	t.Parallel()
	exam.Run(t, exam.Client{Name: "miekg/dns TCP", Module: "github.com/miekg/dns", Peer: exam.Honest(stream)}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: timeout, Op: exchange,
			Want: exam.AtOnce(sockettest.Rejected).In("connect")},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: timeout, Op: exchange,
			Want: exam.AtLimit(sockettest.TimedOut).In("connect")},
		{Name: exam.BlackHoled + ", with a Dialer", Fixture: fixtures.BlackHole{}, Op: exchangeByDialer,
			Knob: "none: Client.Timeout and DialTimeout are not for it", Want: exam.Never(), KernelOnly: kernelOnly + "; TestTimeoutIsNotForTheDialWithADialer is the same in virtual time"},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: timeout, Op: exchange,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.Unanswered + ", cancelled", Fixture: fixtures.Silent{}, Knob: timeout + ", not the context", Op: cancelled,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "answer cut short, then silent", Fixture: halfAnswer(script.Stall()), Knob: timeout, Op: exchange,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "reset within the answer", Fixture: halfAnswer(script.Reset()), Knob: timeout, Op: exchange,
			Want: exam.AtOnce(sockettest.ResetByPeer)},
		{Name: "closed within the answer", Fixture: halfAnswer(script.Close()), Knob: timeout, Op: exchange,
			Want: exam.AtOnce(sockettest.Closed)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{AfterRead: 2}, Knob: timeout, Op: exchange,
			Want: exam.AtOnce(sockettest.ResetByPeer)},
		{Name: "transfer unanswered", Fixture: fixtures.Silent{}, Knob: "Transfer.ReadTimeout (default 2s)", Op: transfer,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: exam.WentSilent, Fixture: stream, Knob: timeout, Op: exchangeAgain,
			Want: exam.AtLimit(sockettest.TimedOut)},
	})
}

// exchange is Client.ExchangeContext, and on simnet the second half of it, on a connection that was dialled as its first
// half does.
func exchange(_ testing.TB, p exam.Place) func(context.Context) error {
	client := &dns.Client{Net: "tcp", Timeout: p.Limit}
	return func(ctx context.Context) error {
		if !p.Virtual {
			_, _, err := client.ExchangeContext(ctx, question(), p.Addr())
			return err
		}
		conn, err := dial(ctx, p)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, _, err = client.ExchangeWithConnContext(ctx, question(), conn)
		return err
	}
}

// dial is Client.DialContext on simnet.
func dial(ctx context.Context, p exam.Place) (*dns.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	conn, err := p.DialContext(ctx, "tcp", p.Addr())
	return &dns.Conn{Conn: conn}, err
}

// exchangeByDialer has a Dialer, as for a local address of its own.
func exchangeByDialer(_ testing.TB, p exam.Place) func(context.Context) error {
	client := &dns.Client{Net: "tcp", Timeout: p.Limit, DialTimeout: p.Limit, Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}}
	return func(ctx context.Context) error {
		_, _, err := client.ExchangeContext(ctx, question(), p.Addr())
		return err
	}
}

// cancelled gives up when the question has come: of the context the client knows the deadline only.
func cancelled(t testing.TB, p exam.Place) func(context.Context) error {
	return whenReceived(p, exchange(t, p))
}

// whenReceived cancels op when the fixture has its first bytes.
func whenReceived(p exam.Place, op func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer cancel()
			_ = p.Await(ctx, fixtures.Received, 1)
		}()
		return op(ctx)
	}
}

// exchangeAgain asks on a connection on which one question was answered before the connection was cut.
func exchangeAgain(t testing.TB, p exam.Place) func(context.Context) error {
	client := &dns.Client{Net: "tcp", Timeout: p.Limit}
	c, err := p.DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	conn := &dns.Conn{Conn: c}
	t.Cleanup(func() { _ = conn.Close() })
	_, _, err = (&dns.Client{Net: "tcp", Timeout: time.Minute}).ExchangeWithConn(question(), conn)
	require.NoError(t, err)
	p.Conns()[0].Partition()
	return func(ctx context.Context) error {
		_, _, err := client.ExchangeWithConnContext(ctx, question(), conn)
		return err
	}
}

// Timeout is said to be "a cumulative timeout for dial, write and read". It bounds the dial, and then write and read again.
func TestTimeoutIsNotCumulative(t *testing.T) {
	t.Parallel()
	const slow, limit = 500 * time.Millisecond, 3 * time.Second // far from each other: a busy machine makes slow slower
	t.Run("kernel", func(t *testing.T) {
		t.Parallel()
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.SlowHandshake{Delay: slow, Then: fixtures.Silent{}})
		sockettest.Expect(t, ep, sockettest.TimedOut.After(limit+slow).Before(2*limit).In("read"), func() error {
			_, _, err := (&dns.Client{Net: "tcp", Timeout: limit}).Exchange(question(), ep.Addr())
			return err
		})
	})
	t.Run("simnet", func(t *testing.T) {
		t.Parallel()
		sockettest.Bubble(t, func(t *testing.T) {
			sockettest.NoLeaks(t)
			p := exam.Place{Limit: limit, Virtual: true,
				Endpoint: sockettest.Start(t, fixtures.SlowHandshake{Delay: slow, Then: fixtures.Silent{}}, sockettest.On(simnet.New(t)))}
			sockettest.Expect(t, p, sockettest.TimedOut.At(limit+slow).In("read"), exchange(t, p))
		})
	})
}

// transfer asks for a zone.
func transfer(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := p.DialContext(ctx, "tcp", p.Addr())
		if err != nil {
			return err
		}
		zone := &dns.Transfer{Conn: &dns.Conn{Conn: c}, ReadTimeout: p.Limit}
		parts, err := zone.In(new(dns.Msg).SetAxfr("sockettest.test."), "")
		for part := range parts {
			err = part.Error
		}
		return err
	}
}

// A transfer whose channel nobody reads to its end stays, with its connection, also when its ReadTimeout is over.
func TestTransferThatIsGivenUpLeaks(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		var parts chan *dns.Envelope
		within := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.NoLeaks(tb)
			c, err := sockettest.Start(tb, fixtures.Silent{}, sockettest.On(nw)).DialContext(t.Context(), "", "")
			require.NoError(t, err)
			zone := &dns.Transfer{Conn: &dns.Conn{Conn: c}, ReadTimeout: 30 * time.Second}
			parts, err = zone.In(new(dns.Msg).SetAxfr("sockettest.test."), "")
			require.NoError(t, err)
			time.Sleep(time.Hour) // rules:allow in a bubble
		})
		assert.Contains(t, within.Text(), "leak: 1 goroutine and 1 connection left behind")
		assert.Contains(t, within.Text(), "dns.(*Transfer).inAxfr")
		for range parts { // what it should have done
		}
	})
}

// With a Dialer whose own Timeout is not set, neither Timeout nor DialTimeout bound the dial: the kernel does.
func TestTimeoutIsNotForTheDialWithADialer(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]*dns.Client{
		"Timeout":     {Net: "tcp", Timeout: 30 * time.Second},
		"DialTimeout": {Net: "tcp", DialTimeout: 30 * time.Second},
		"the default": {Net: "tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(simnet.New(t)))
				client := *client
				client.Dialer = sockettest.Dialer(t, fixtures.BlackHole{})
				sockettest.Expect(t, ep, sockettest.TimedOut.At(131*time.Second).In("connect"), func() error {
					_, _, err := client.Exchange(question(), ep.Addr())
					return err
				})
				client.Dialer.Timeout = 5 * time.Second // is in force
				sockettest.Expect(t, ep, sockettest.TimedOut.At(5*time.Second).In("connect"), func() error {
					_, _, err := client.Exchange(question(), ep.Addr())
					return err
				})
			})
		})
	}
}
