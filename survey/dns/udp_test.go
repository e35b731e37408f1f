package dns_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestClientByUDP(t *testing.T) {
	t.Parallel()
	exam.RunUDP(t, exam.Client{Name: "miekg/dns UDP", Module: "github.com/miekg/dns"}, []exam.Datagram{
		{Name: "nobody listens", Peer: datagrams, Fixture: udp.Refused{}, Knob: timeout, Op: ask,
			Want: exam.AtOnce(sockettest.Rejected).In("read")},
		{Name: "no answer", Peer: datagrams, Fixture: udp.Silent{}, Knob: timeout, Op: ask, Asked: 1,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "first question lost", Peer: datagrams, Fixture: udp.Drop{Then: datagrams}, Knob: timeout + ", and no second question", Op: ask, Asked: 1,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "answer comes later", Peer: datagrams, Fixture: udp.Late{Delay: time.Hour, Then: datagrams}, Knob: timeout, Op: ask, Asked: 1,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "answer to another question", Peer: datagrams, Fixture: udp.Reply(notMine), Knob: timeout, Op: ask, Asked: 1,
			Want: exam.AtLimit(sockettest.TimedOut)},
		{Name: "first answer comes twice", Peer: datagrams, Fixture: udp.Duplicate{Then: datagrams}, Knob: "none needed", Op: askTwice, Asked: 2,
			Want: exam.AtOnce(sockettest.Accepted)},
		{Name: "answer cut short", Peer: datagrams, Fixture: udp.Truncate{AfterWritten: 11, Then: datagrams}, Knob: "none needed", Op: ask, Asked: 1,
			Want: exam.AtOnce(sockettest.ErrorIs(dns.ErrShortRead))},
	})
}

// notMine answers another question than the one that was asked: the client waits on for its own.
func notMine(question []byte) []byte {
	a := answer(question)
	a[0]++ // of the identifier (RFC 1035, section 4.1.1)
	return a
}

// ask is Client.ExchangeContext: one question on a socket of its own. On simnet, where package dns cannot dial, the socket
// is made for it.
func ask(_ testing.TB, ep *udp.Endpoint, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error { return questions(ctx, ep, p, 1) }
}

// askTwice asks a second time on the same socket.
func askTwice(_ testing.TB, ep *udp.Endpoint, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error { return questions(ctx, ep, p, 2) }
}

func questions(ctx context.Context, ep *udp.Endpoint, p exam.Place, n int) error {
	client := &dns.Client{Timeout: p.Limit}
	if n == 1 && !p.Virtual {
		_, _, err := client.ExchangeContext(ctx, question(), ep.Addr())
		return err
	}
	c, err := ep.DialContext(ctx, "udp", ep.Addr())
	if err != nil {
		return err
	}
	conn := &dns.Conn{Conn: c}
	defer conn.Close()
	for range n {
		q := question()
		a, _, err := client.ExchangeWithConnContext(ctx, q, conn)
		if err != nil {
			return err
		}
		if a.Id != q.Id {
			return errors.New("the answer to another question")
		}
	}
	return nil
}
