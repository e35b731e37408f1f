package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/rawsock"
)

// datagrams are the fixtures of package udp.
var datagrams = []Row{
	{Fixture: udp.Refused{}, Judge: on(RefusesDatagrams)},
	{Fixture: udp.Silent{}, Judge: on(Datagrams("a", ""))},
	{Fixture: udp.Echo{}, Judge: on(Datagrams("a b", "a b"))},
	{Fixture: udp.Forward{To: "echo.test:7", Dial: DialEcho}, Judge: on(Datagrams("a b", "a b")), Bad: map[string]any{
		"Forward.To is empty; want the address of a server": udp.Forward{},
		`Forward.To is "db"; want host:port`:                udp.Forward{To: "db"},
		"Forward.Rebind is -1; want 0 (never) or more":      udp.Forward{To: "db:1", Rebind: -1},
	}},
	{Fixture: udp.Forward{To: "echo.test:7", Dial: DialEcho, Rebind: 1}, Special: "from another port", Judge: on(answersInTurn)},
	{Fixture: udp.Late{Delay: delay}, Judge: on(answersDatagramLate), Bad: map[string]any{
		"Late.Delay is -1s; want 0 (default 500ms) or more": udp.Late{Delay: -time.Second},
		"Late.Then is udp.Refused{}; want a fixture that":   udp.Late{Then: udp.Refused{}},
	}},
	{Fixture: udp.Drop{}, Judge: on(Datagrams("a b c", "b c")), Bad: map[string]any{
		"Drop.Nth is -1; want 0 (default 1) or more":                           udp.Drop{Nth: -1},
		"Drop.Then is udp.Silent{}; want a fixture that answers":               udp.Drop{Then: udp.Silent{}},
		"Drop.EachNth is -1; want 0 (only the datagram that Nth says) or more": udp.Drop{EachNth: -1},
		"Drop.Nth is 2 and Drop.EachNth is 3; want one of them":                udp.Drop{Nth: 2, EachNth: 3},
		"Drop.Then: udp.Drop{Nth: -2}: Drop.Nth is -2; want 0 (":               udp.Drop{Then: udp.Drop{Nth: -2}},
	}},
	{Fixture: udp.Duplicate{}, Judge: on(Datagrams("a b", "a a b")), Bad: map[string]any{
		"Duplicate.Nth is -1; want 0 (default 1) or more":             udp.Duplicate{Nth: -1},
		"Duplicate.Then is udp.Silent{}; want a fixture that answers": udp.Duplicate{Then: udp.Silent{}},
	}},
	{Fixture: udp.Reorder{}, Judge: on(Datagrams("1 2 3 4", "2 1 4 3")), Bad: map[string]any{
		"Reorder.Count is 1; want 0 (default 2), or 2 or more":      udp.Reorder{Count: 1},
		"Reorder.Count is -1; want 0 (default 2), or 2 or more":     udp.Reorder{Count: -1},
		"Reorder.Then is udp.Silent{}; want a fixture that answers": udp.Reorder{Then: udp.Silent{}},
	}},
	{Fixture: udp.Truncate{AfterWritten: 2}, Judge: on(Datagrams("hello hi h", "he hi h")), Bad: map[string]any{
		"Truncate.AfterWritten is -1; want 0 (an empty datagram) or more": udp.Truncate{AfterWritten: -1},
		"Truncate.Then is udp.Silent{}; want a fixture that answers":      udp.Truncate{Then: udp.Silent{}},
	}},
	{Fixture: udp.Reply(bytes.ToUpper), Armed: true, Judge: on(Datagrams("hello", "HELLO")), Bad: map[string]any{
		"Reply is nil; want a function": udp.Reply(nil),
	}},
}

// ask opens a socket that is connected to the endpoint, and sends the words, one in each datagram.
func ask(ctx context.Context, ep *udp.Endpoint, words ...string) (conn, error) {
	nc, err := ep.DialContext(ctx, "", "")
	if err != nil {
		return conn{}, err
	}
	c := bounded(ctx, nc, ep.Stack())
	for _, word := range words {
		if err := c.say(word); err != nil {
			_ = c.Close()
			return conn{}, err
		}
	}
	return c, nil
}

// answer reads one datagram.
func (c conn) answer() (string, error) {
	b := make([]byte, 64)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// Datagrams sends some words and must get others, in that order and nothing else.
func Datagrams(send, want string) func(context.Context, *udp.Endpoint) (string, error) {
	return func(ctx context.Context, ep *udp.Endpoint) (string, error) {
		asked := count(ep, fixtures.Received)
		c, err := ask(ctx, ep, strings.Fields(send)...)
		if err != nil {
			return "", err
		}
		defer c.Close()
		for w := range strings.FieldsSeq(want) {
			if got, err := c.answer(); got != w || err != nil {
				return "", fmt.Errorf("read %q, %w, want %q of %q", got, orNil(err), w, want)
			}
		}
		if err := ep.Await(ctx, fixtures.Received, asked+len(strings.Fields(send))); err != nil {
			return "", fmt.Errorf("what was sent did not all come: %w", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(c.quiet))
		if got, err := c.answer(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("after %q a read should have waited, and returned %q, %w", want, got, orNil(err))
		}
		return "", nil
	}
}

// answersInTurn sends a word when the one before it has come back.
func answersInTurn(ctx context.Context, ep *udp.Endpoint) (string, error) {
	c, err := ask(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.Close()
	for _, word := range []string{"a", "b", "c"} {
		if err := c.say(word); err != nil {
			return "", err
		}
		if got, err := c.answer(); got != word || err != nil {
			return "", fmt.Errorf("read %q, %w, want %q", got, orNil(err), word)
		}
	}
	return "", nil
}

// count is how many events of one kind there are.
func count(r Running, k fixtures.EventKind) (n int) {
	for _, e := range r.Events() {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// RefusesDatagrams: each is met by ICMP port unreachable, and none comes.
func RefusesDatagrams(ctx context.Context, ep *udp.Endpoint) (string, error) {
	before := len(ep.Packets())
	for range 5 {
		c, err := ask(ctx, ep, "a")
		if err != nil {
			return "", err
		}
		got, err := c.answer() // on Windows it is WSAECONNRESET
		_ = c.Close()
		if f := faultOf(err); f != rawsock.Refused && f != rawsock.ResetByPeer {
			return "", fmt.Errorf("a read should have been refused, and returned %q, %w", got, orNil(err))
		}
	}
	if n := len(ep.Packets()) - before; n > 0 {
		return "", fmt.Errorf("%d datagrams came", n)
	}
	return "", nil
}

func answersDatagramLate(ctx context.Context, ep *udp.Endpoint) (string, error) {
	begin := time.Now() // before the datagram, which starts the fixture's clock
	c, err := ask(ctx, ep, "a")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if got, err := c.answer(); got != "a" || err != nil {
		return "", fmt.Errorf("read %q, %w, want %q", got, orNil(err), "a")
	}
	return took("an answer", begin, delay)
}
