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
	{Fixture: proxyfault.Connect{Dial: DialEcho}, Say: tunnel, Judge: on(connects), Bad: map[string]any{
		`Connect.Stall is "greeting"; want one of ["request" "reply" "relay" "stream"]`: proxyfault.Connect{Stall: proxyfault.Greeting},
		`Connect.Refuse is "relay"; want one of ["reply"]`:                              proxyfault.Connect{Refuse: proxyfault.Relay},
		`Connect.Close is "soon"; want one of`:                                          proxyfault.Connect{Close: "soon"},
		`Connect has more than one of Stall, Refuse, Close and Reset; want one of them`: proxyfault.Connect{Stall: proxyfault.Reply, Reset: proxyfault.Reply},
		`Connect.After is -1; want 0 (default 1) or more`:                               proxyfault.Connect{Reset: proxyfault.Stream, After: -1},
		`Connect.After is 3; want 0, or Stall, Close or Reset at Stream`:                proxyfault.Connect{Reset: proxyfault.Reply, After: 3},
	}},
	{Fixture: proxyfault.Connect{Stall: proxyfault.Request}, Special: "stalls at Request", Say: tunnel, Judge: on(answersNothing(tunnel))},
	{Fixture: proxyfault.Connect{Stall: proxyfault.Reply}, Special: "stalls at Reply", Say: tunnel, Judge: on(answersNothing(tunnel))},
	{Fixture: proxyfault.Connect{Close: proxyfault.Reply}, Special: "closes at Reply", Say: tunnel, Judge: on(Says(tunnel, ""))},
	{Fixture: proxyfault.Connect{Refuse: proxyfault.Reply}, Special: "refuses", Say: tunnel, Judge: on(refusesTunnel)},
	{Fixture: proxyfault.SOCKS5{Dial: DialEcho}, Say: greeting + through, Judge: on(relays), Bad: map[string]any{
		`SOCKS5.Stall is "login"; want one of ["greeting" "request" "reply"`: proxyfault.SOCKS5{Stall: proxyfault.Login},
		`SOCKS5.Refuse is "request"; want one of ["greeting" "reply"]`:       proxyfault.SOCKS5{Refuse: proxyfault.Request},
		`SOCKS5.Password is set, and User is empty; want both, or neither`:   proxyfault.SOCKS5{Password: "x"},
		`SOCKS5.User has 256 B and SOCKS5.Password 0 B; want at most 255 ea`: proxyfault.SOCKS5{User: strings.Repeat("x", 256)},
	}},
	{Fixture: proxyfault.SOCKS5{Stall: proxyfault.Greeting}, Special: "stalls at Greeting", Say: greeting + through,
		Judge: on(answersNothing(greeting))},
	{Fixture: proxyfault.SOCKS5{Stall: proxyfault.Reply}, Special: "stalls at Reply", Say: greeting + through, Judge: on(stallsReply)},
	{Fixture: proxyfault.SOCKS5{Close: proxyfault.Reply}, Special: "closes at Reply", Say: greeting + through,
		Judge: on(Says(greeting+through, greeted))},
	{Fixture: proxyfault.SOCKS5{Refuse: proxyfault.Reply}, Special: "refuses", Say: greeting + through, Judge: on(refusesRelay)},
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

func refusesTunnel(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, tunnel, func(c conn) (string, error) { return "", c.expect("HTTP/1.1 403 ") })
}

// relays: all is answered, with the address that the proxy has bound (RFC 1928, section 6), and leads to an echo.
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
