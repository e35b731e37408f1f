package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// of makes a client for a target.
type of = func(target string) hostile.Fixture

const prefaceH2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// clients are the fixtures of package hostile.
var clients = []Row{
	{Client: func(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }, Judge: on(hears(1, ""))},
	{Client: func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Data: "hello", Every: delay / 4} },
		Judge: on(hearsSlowly), BadClient: map[string]of{
			"Slowloris.Every is -1s; want 0 (default 10ms) or more": func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Every: -time.Second} },
			"Slowloris.Count is -1; want 0 (default 1) or more":     func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Count: -1} },
			"Slowloris.Count makes 1025 connections; want at most":  func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Count: 1025} },
			"Slowloris.Every: step 1 of 1":                          func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Every: 1 << 62} },
		}},
	{Client: func(s string) hostile.Fixture { return hostile.NeverRead{Target: s} }, Judge: on(cannotWrite), By: rawsock.WindowMechanism,
		BadClient: map[string]of{
			"NeverRead.Times is -1; want 0 (for as long as the server takes it) or more": func(s string) hostile.Fixture { return hostile.NeverRead{Target: s, Times: -1} },
		}},
	{Client: func(s string) hostile.Fixture { return hostile.NeverRead{Target: s, Times: 1} }, Special: "once", Judge: on(cannotWrite),
		By: rawsock.WindowMechanism},
	{Client: func(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hello"} }, Judge: on(suffersReset), First: true, By: "SO_LINGER 0",
		BadClient: map[string]of{
			"Reset.AfterWritten is -1; want 0 (all of Data) to 2, the bytes": func(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hi", AfterWritten: -1} },
			"Reset.AfterWritten is 3; want 0 (all of Data) to 2, the bytes":  func(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hi", AfterWritten: 3} },
			"Reset.AfterRead is -1; want 0 (without an answer) or more":      func(s string) hostile.Fixture { return hostile.Reset{Target: s, AfterRead: -1} },
		}},
	{Client: func(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hi", AfterRead: 5} }, Special: "in an answer",
		Judge: on(suffersResetInAnswer), First: true, By: "SO_LINGER 0"},
	{Client: func(s string) hostile.Fixture { return hostile.HalfClose{Target: s, Data: "hello"} }, Judge: on(answersAfterFIN)},
	{Client: func(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: 20} }, Judge: on(hears(20, "")), BadClient: map[string]of{
		"Flood.Count is -1; want 0 (default 100) or more":                                       func(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: -1} },
		"Flood.Count makes 1025 connections; want at most 1024: this is a test kit, not a load": func(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: 1025} },
	}},
	{Client: func(s string) hostile.Fixture {
		return hostile.OverTLS{Then: hostile.Slowloris{Target: s, Data: "hello"}}
	}, Judge: on(speaksTLS("hello")), By: "crypto/tls"},
	{Client: func(s string) hostile.Fixture { return hostile.SplitEverywhere{Target: s, Data: "hello\n"} }, Judge: on(hears(6, "hello\n")), First: true,
		BadClient: map[string]of{
			"SplitEverywhere.Delay is -1s; want 0 (default 10ms) or more": func(s string) hostile.Fixture { return hostile.SplitEverywhere{Target: s, Delay: -time.Second} },
			"SplitEverywhere.Data makes 1025 connections; want at most": func(s string) hostile.Fixture {
				return hostile.SplitEverywhere{Target: s, Data: strings.Repeat(".", 1025)}
			},
		}},
	{Client: func(s string) hostile.Fixture {
		return hostile.Scripted{Target: s, Steps: script.Script{script.Match("220 "), script.Send("hello"), script.Discard()}}
	}, Armed: true, Judge: on(converses), BadClient: map[string]of{
		`step 2 of 2, Send("late"): nothing can come after Stall()`: func(s string) hostile.Fixture {
			return hostile.Scripted{Target: s, Steps: script.Script{script.Stall(), script.Send("late")}}
		},
	}},
	{Client: func(s string) hostile.Fixture {
		return hostile.SlowBody{Target: s, Head: "h", Body: "ello", Every: delay / 2}
	}, Judge: on(hearsSlowly), BadClient: map[string]of{
		"SlowBody.Every is -1s; want 0 (default 10ms) or more": func(s string) hostile.Fixture { return hostile.SlowBody{Target: s, Every: -time.Second} },
		"SlowBody.Every: step 2 of 2":                          func(s string) hostile.Fixture { return hostile.SlowBody{Target: s, Every: 1 << 62} },
	}},
	{Client: func(s string) hostile.Fixture { return hostile.SlowHello{Target: s} }, Judge: on(begins("\x16\x03\x01")), BadClient: map[string]of{
		"SlowHello.Every is -1s; want 0 (default 10ms) or more": func(s string) hostile.Fixture { return hostile.SlowHello{Target: s, Every: -time.Second} },
		"SlowHello.Every: step 1 of 1":                          func(s string) hostile.Fixture { return hostile.SlowHello{Target: s, Every: 1 << 62} },
	}},
	{Client: func(s string) hostile.Fixture { return hostile.StalledTLS{Target: s} }, Judge: on(begins("\x16\x03\x01"))}, // a record of a handshake
	{Client: func(s string) hostile.Fixture { return hostile.StalledH2{Target: s} }, Judge: on(hears(1, prefaceH2))},
	{Client: func(s string) hostile.Fixture {
		return hostile.OverTLS{Then: hostile.StalledH2{Target: s, Settings: true}}
	}, Special: "StalledH2", Judge: on(speaksTLS(prefaceH2)), By: "crypto/tls"},
	{Client: func(s string) hostile.Fixture { return hostile.ClosedWindow{Target: s} }, Judge: on(begins(prefaceH2))},
	{Client: func(s string) hostile.Fixture { return hostile.OverTLS{Then: hostile.ClosedWindow{Target: s}} }, Special: "ClosedWindow",
		Judge: on(speaksTLS(prefaceH2)), By: "crypto/tls"},
	{Client: func(s string) hostile.Fixture { return hostile.NeverPong{Target: s} }, Judge: on(begins("GET / HTTP/1.1\r\n")), BadClient: map[string]of{
		`NeverPong.Path is "chat"; want one that begins with "/"`: func(s string) hostile.Fixture { return hostile.NeverPong{Target: s, Path: "chat"} },
	}},
	{Client: func(s string) hostile.Fixture { return hostile.OverTLS{Then: hostile.NeverPong{Target: s}} }, Special: "NeverPong",
		Judge: on(speaksTLS("GET / HTTP/1.1\r\n")), By: "crypto/tls"},
}

// A Siege is a client that misbehaves, and the server that it does that to.
type Siege struct {
	*hostile.Attack
	server *server
}

// Close ends both.
func (s *Siege) Close() error {
	s.server.close()
	return s.Attack.Close()
}

// A server accepts whoever comes, at once: its accept queue may have room for one (somaxconn).
type server struct {
	ln  net.Listener
	met chan net.Conn
	err error // why met was closed
}

func serve(ln net.Listener) *server {
	s := &server{ln: ln, met: make(chan net.Conn, 64)}
	go func() {
		defer close(s.met)
		for {
			var c net.Conn
			if c, s.err = ln.Accept(); s.err != nil {
				return
			}
			s.met <- c
		}
	}()
	return s
}

// close waits until nobody is met any more.
func (s *server) close() {
	_ = s.ln.Close()
	for c := range s.met {
		_ = c.Close()
	}
}

// besiege starts a server and a client of it.
func besiege(ctx context.Context, client of, w fixtures.Place) (Running, error) {
	stack, address := w.Stack, "127.0.0.1:0"
	if stack == nil {
		stack = network.Stack(rawsock.Loopback{})
	}
	if w.Family == "tcp6" {
		address = "[::1]:0"
	}
	ln, err := stack.Listen(ctx, "tcp", address)
	switch {
	case err != nil && w.Family == "tcp6":
		return nil, fmt.Errorf("no IPv6 loopback on this host (%w): %w", err, errors.ErrUnsupported)
	case err != nil:
		return nil, err
	}
	s := serve(ln)
	a, err := hostile.Start(ctx, client(ln.Addr().String()), w)
	if err != nil {
		s.close()
		return nil, err
	}
	return &Siege{a, s}, nil
}

// accepted accepts n connections and goes on with each.
func (s *Siege) accepted(ctx context.Context, n int, f func(c conn) error) error {
	defer context.AfterFunc(ctx, func() { _ = s.server.ln.Close() })()
	for i := range n {
		nc, ok := <-s.server.met
		if !ok {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, s.server.err)
		}
		c := bounded(ctx, nc, s.Stack())
		defer c.abort()
		if err := f(c); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

// hears: n connections on which the client says that and, if it is the only one, nothing more.
func hears(n int, want string) func(context.Context, *Siege) (string, error) {
	return func(ctx context.Context, s *Siege) (note string, err error) {
		if n > 1 {
			note = fmt.Sprintf("%d connections", n)
		}
		return note, s.accepted(ctx, n, func(c conn) error {
			if err := c.expect(want); err != nil || n > 1 {
				return err
			}
			return c.silent()
		})
	}
}

// begins: the first that the client says.
func begins(want string) func(context.Context, *Siege) (string, error) {
	return func(ctx context.Context, s *Siege) (string, error) {
		return "", s.accepted(ctx, 1, func(c conn) error { return c.expect(want) })
	}
}

// hearsSlowly: the last byte comes a while after the attack's start.
func hearsSlowly(ctx context.Context, s *Siege) (note string, err error) {
	err = s.accepted(ctx, 1, func(c conn) error {
		if err := c.expect("hello"); err != nil {
			return err
		}
		note, err = took("a request", s.Started(), delay)
		return err
	})
	return note, err
}

// cannotWrite: an answer blocks.
func cannotWrite(ctx context.Context, s *Siege) (note string, err error) {
	err = s.accepted(ctx, 1, func(c conn) (err error) { note, err = c.blocks(); return err })
	return note, err
}

// suffersReset: on Linux the request comes first.
func suffersReset(ctx context.Context, s *Siege) (string, error) {
	return "", s.accepted(ctx, 1, conn.isReset)
}

// suffersResetInAnswer: the client takes five bytes of an answer, and no more.
func suffersResetInAnswer(ctx context.Context, s *Siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		if err := c.say("hello, whoever you are"); err != nil {
			return err
		}
		return c.isReset()
	})
}

// answersAfterFIN: the request ends with FIN, and its answer arrives.
func answersAfterFIN(ctx context.Context, s *Siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		if err := errors.Join(c.ends("hello"), c.say("hello")); err != nil {
			return err
		}
		return s.Await(ctx, fixtures.Received, 1)
	})
}

// speaksTLS: the request comes once the handshake is done.
func speaksTLS(want string) func(context.Context, *Siege) (string, error) {
	return func(ctx context.Context, s *Siege) (note string, err error) {
		err = s.accepted(ctx, 1, func(c conn) error {
			config := tlsfault.ServerConfig()
			config.NextProtos = []string{"h2", "http/1.1"}
			secure := tls.Server(c, config)
			if err := (conn{secure, ctx, c.quiet}).expect(want); err != nil {
				return err
			}
			note = tls.VersionName(secure.ConnectionState().Version)
			return nil
		})
		return note, err
	}
}

// converses: the script wants a greeting before it says anything.
func converses(ctx context.Context, s *Siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		if _, err := io.WriteString(c, "220 "); err != nil {
			return err
		}
		return c.expect("hello")
	})
}
