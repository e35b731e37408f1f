package probe

import (
	"context"
	"errors"
	"io"
	"strings"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/proxyfault"
)

const (
	tunnel    = "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"
	connected = "HTTP/1.1 200 "
	greeting  = "\x05\x01\x00"                             // SOCKS5, no authentication (RFC 1928, section 3)
	greeted   = "\x05\x00"                                 // as asked
	through   = "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01" // CONNECT 127.0.0.1:1 (section 4)
)

// proxies are the fixtures of package proxyfault.
var proxies = []Row{
	{Fixture: proxyfault.Connect{Dial: DialEcho}, Say: tunnel, Judge: on(connects)},
	{Fixture: proxyfault.Stall{At: proxyfault.Request}, Special: "at Request", Say: tunnel, Judge: on(answersNothing(tunnel))},
	{Fixture: proxyfault.Stall{}, Say: tunnel, Judge: on(answersNothing(tunnel)), Bad: map[string]any{
		`Stall.At is "greeting"; want one of ["request" "reply" "relay" "stream"] for proxyfault.Connect`: proxyfault.Stall{At: proxyfault.Greeting},
		`Stall.At is "login"; want one of ["greeting" "request" "reply" "relay" "stream"] for proxyfault.SOCKS5`: proxyfault.Stall{
			At: proxyfault.Login, Then: proxyfault.SOCKS5{}},
		`Stall.Then is a nil *proxyfault.Connect; want a proxy, such as Connect{}`: proxyfault.Stall{Then: (*proxyfault.Connect)(nil)},
		`SOCKS5.Password is set, and User is empty; want both, or neither`:         proxyfault.Stall{Then: proxyfault.SOCKS5{Password: "x"}},
	}},
	{Fixture: proxyfault.Close{}, Say: tunnel, Judge: on(Says(tunnel, "")), Bad: map[string]any{
		`Close.At is "soon"; want one of`:                      proxyfault.Close{At: "soon"},
		`Close.AfterWritten is -1; want 0 (default 1) or more`: proxyfault.Close{At: proxyfault.Stream, AfterWritten: -1},
		`Close.AfterWritten is 3; want 0, or At Stream`:        proxyfault.Close{AfterWritten: 3},
	}},
	{Fixture: proxyfault.Reset{}, Say: tunnel, On: tcp, Judge: on(resetsTunnel), First: true, Bad: map[string]any{
		`Reset.At is "soon"; want one of`: proxyfault.Reset{At: "soon"},
	}},
	{Fixture: proxyfault.Refuse{}, Say: tunnel, Judge: on(refusesTunnel), Bad: map[string]any{
		`Refuse.At is "relay"; want one of ["reply"] for proxyfault.Connect`: proxyfault.Refuse{At: proxyfault.Relay},
		`Refuse.At is "request"; want one of ["greeting" "reply"] for proxyfault.SOCKS5`: proxyfault.Refuse{
			At: proxyfault.Request, Then: proxyfault.SOCKS5{}},
	}},
	{Fixture: proxyfault.SOCKS5{Dial: DialEcho}, Say: greeting + through, Judge: on(relays), Bad: map[string]any{
		`SOCKS5.Password is set, and User is empty; want both, or neither`:   proxyfault.SOCKS5{Password: "x"},
		`SOCKS5.User has 256 B and SOCKS5.Password 0 B; want at most 255 ea`: proxyfault.SOCKS5{User: strings.Repeat("x", 256)},
	}},
	{Fixture: proxyfault.Stall{At: proxyfault.Greeting, Then: proxyfault.SOCKS5{}}, Special: "at Greeting of SOCKS5", Say: greeting + through,
		Judge: on(answersNothing(greeting))},
	{Fixture: proxyfault.Stall{At: proxyfault.Reply, Then: proxyfault.SOCKS5{}}, Special: "at Reply of SOCKS5", Say: greeting + through, Judge: on(stallsReply)},
	{Fixture: proxyfault.Close{At: proxyfault.Reply, Then: proxyfault.SOCKS5{}}, Special: "at Reply of SOCKS5", Say: greeting + through,
		Judge: on(Says(greeting+through, greeted))},
	{Fixture: proxyfault.Refuse{At: proxyfault.Reply, Then: proxyfault.SOCKS5{}}, Special: "of SOCKS5", Say: greeting + through, Judge: on(refusesRelay)},
}

// Says reads to FIN what answers a text.
func Says(say, want string) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return tell(ctx, ep, say, func(c conn) (string, error) { return "", c.ends(want) })
	}
}

// connects: a tunnel is made, and leads to an echo.
func connects(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, tunnel, func(c conn) (string, error) {
		return "", errors.Join(c.expect(connected), c.head(), c.say("hello"), c.expect("hello"))
	})
}

func resetsTunnel(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, tunnel, func(c conn) (string, error) { return "", c.isReset() })
}

func refusesTunnel(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, tunnel, func(c conn) (string, error) { return "", c.expect("HTTP/1.1 403 ") })
}

// relays: all is answered, with the address that the proxy has bound (RFC 1928, section 6), and
// leads to an echo.
func relays(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, greeting+through, func(c conn) (string, error) {
		if err := c.expect(greeted + "\x05\x00\x00\x01"); err != nil {
			return "", err
		}
		_, err := io.ReadFull(c, make([]byte, 6))
		return "", errors.Join(err, c.say("hello"), c.expect("hello"))
	})
}

func stallsReply(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, greeting+through, func(c conn) (string, error) {
		return "", errors.Join(c.expect(greeted), c.silent())
	})
}

// refusesRelay: "connection not allowed by ruleset".
func refusesRelay(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, greeting+through, func(c conn) (string, error) { return "", c.expect(greeted + "\x05\x02") })
}
