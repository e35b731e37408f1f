package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/rawsock"
)

// server starts the one that an attack is for; nil if the check has none.
func (c check) server(ctx context.Context, family string) (*net.TCPListener, error) {
	if c.attack == nil {
		return nil, nil
	}
	address := "127.0.0.1:0"
	if family == "tcp6" {
		address = "[::1]:0"
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, family, address)
	switch {
	case err != nil && family == "tcp6":
		return nil, fmt.Errorf("no IPv6 loopback on this host (%w): %w", err, errors.ErrUnsupported)
	case err != nil:
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// A siege is a server and the client that misbehaves towards it.
type siege struct {
	ln *net.TCPListener
	*hostile.Attack
}

// accepted accepts so many connections and goes on with each.
func (s siege) accepted(ctx context.Context, n int, f func(c conn) error) error {
	end, _ := ctx.Deadline()
	_ = s.ln.SetDeadline(end)
	for i := range n {
		nc, err := s.ln.Accept()
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		c := conn{nc}
		defer c.abort()
		_ = c.SetDeadline(end)
		if err := f(c); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

// hears: so many connections on which the client says that and, if it is the only one, nothing more.
func (p pace) hears(n int, want string) func(context.Context, siege) (string, error) {
	return func(ctx context.Context, s siege) (note string, err error) {
		if n > 1 {
			note = fmt.Sprintf("%d connections", n)
		}
		return note, s.accepted(ctx, n, func(c conn) error {
			if err := c.expect(want); err != nil || n > 1 {
				return err
			}
			return c.silent(p.quiet)
		})
	}
}

// begins: the first that the client says.
func begins(want string) func(context.Context, siege) (string, error) {
	return func(ctx context.Context, s siege) (string, error) {
		return "", s.accepted(ctx, 1, func(c conn) error { return c.expect(want) })
	}
}

// hearsSlowly: the last byte comes a while after the attack's start.
func (p pace) hearsSlowly(ctx context.Context, s siege) (string, error) {
	err := s.accepted(ctx, 1, func(c conn) error { return c.expect("hello") })
	took := time.Since(s.Started())
	if err == nil && took < p.delay {
		err = fmt.Errorf("a request took %v, want %v or more", took, p.delay)
	}
	return fmt.Sprintf("%v asked for, and it took %v", p.delay, took.Round(100*time.Microsecond)), err
}

// cannotWrite: an answer blocks.
func (p pace) cannotWrite(ctx context.Context, s siege) (note string, err error) {
	err = s.accepted(ctx, 1, func(c conn) (err error) { note, err = c.blocks(p.quiet); return err })
	return note, err
}

// isReset: on Linux the request comes first.
func isReset(ctx context.Context, s siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		if _, err := io.ReadAll(c); faultOf(err) != rawsock.ResetByPeer {
			return fmt.Errorf("a read was to be reset, and returned %w", orNil(err))
		}
		return nil
	})
}

// answersAfterFIN: the request ends with FIN, and its answer arrives.
func answersAfterFIN(ctx context.Context, s siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		got, err := io.ReadAll(c)
		if err != nil || string(got) != "hello" {
			return fmt.Errorf("read %q and then %w, want %q and FIN", got, orNil(err), "hello")
		}
		if err := c.ask(); err != nil {
			return fmt.Errorf("an answer was not sent: %w", err)
		}
		return s.Await(ctx, fixtures.Received, 1)
	})
}

// speaksTLS: the request comes once the handshake is done.
func speaksTLS(ctx context.Context, s siege) (note string, err error) {
	err = s.accepted(ctx, 1, func(c conn) error {
		secure := tls.Server(c, tlsfault.ServerConfig())
		if err := (conn{secure}).expect("hello"); err != nil {
			return err
		}
		note = tls.VersionName(secure.ConnectionState().Version)
		return nil
	})
	return note, err
}

// converses: the script wants a greeting before it says anything.
func converses(ctx context.Context, s siege) (string, error) {
	return "", s.accepted(ctx, 1, func(c conn) error {
		if _, err := io.WriteString(c, "220 "); err != nil {
			return err
		}
		return c.expect("hello")
	})
}
