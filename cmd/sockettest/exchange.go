package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
)

// exchange connects, sends five bytes and goes on with f.
func exchange(ctx context.Context, ep *fixtures.Endpoint, f func(c conn) (string, error)) (string, error) {
	c, err := connect(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.abort()
	if err := c.ask(); err != nil {
		return "", fmt.Errorf("the first write failed: %w", err)
	}
	return f(c)
}

// dialEcho connects to a server that is there for one connection.
func dialEcho(ctx context.Context, _, _ string) (net.Conn, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		defer ln.Close()
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		_ = ln.Close()
	}
	return c, err
}

func (p pace) saysNothing(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) { return "", c.silent(p.quiet) })
}

func echoes(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) { return "", c.expect("hello") })
}

func (p pace) answersLate(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now() // before the connect, which starts the fixture's clock
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		took := time.Since(begin)
		if took < p.delay {
			return "", fmt.Errorf("an answer took %v, want %v or more", took, p.delay)
		}
		return fmt.Sprintf("%v asked for, and it took %v", p.delay, took.Round(100*time.Microsecond)), nil
	})
}

// answers reads to the end, which must be FIN.
func answers(want string) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return exchange(ctx, ep, func(c conn) (string, error) {
			got, err := io.ReadAll(c)
			if err != nil || string(got) != want {
				return "", fmt.Errorf("read %q and then %w, want %q and FIN", got, orNil(err), want)
			}
			return "", nil
		})
	}
}

func (p pace) closesAfterUs(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.silent(p.quiet); err != nil {
			return "", err
		}
		end, _ := ctx.Deadline()
		_ = c.SetReadDeadline(end)
		if err := c.closeWrite(); err != nil {
			return "", err
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			return "", fmt.Errorf("after our FIN a read was to tell EOF, and returned %d, %w", n, orNil(err))
		}
		return "", nil
	})
}

// resets: what was written before the RST may still come first.
func resets(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if _, err := io.ReadAll(c); faultOf(err) != rawsock.ResetByPeer {
			return "", fmt.Errorf("a read was to be reset, and returned %w", orNil(err))
		}
		return "", nil
	})
}

func resetsThenEchoes(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	if _, err := resets(ctx, ep); err != nil {
		return "", fmt.Errorf("the first connection: %w", err)
	}
	if _, err := echoes(ctx, ep); err != nil {
		return "", fmt.Errorf("the second connection: %w", err)
	}
	return "", nil
}

// blocksWrites: how much is taken before, the client's kernel decides.
func (p pace) blocksWrites(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) { return c.blocks(p.quiet) })
}

// blocks writes more than is taken, on a connection on which 5 bytes or none were written.
func (c conn) blocks(quiet time.Duration) (string, error) {
	_ = c.SetWriteDeadline(time.Now().Add(4 * quiet))
	n, err := c.Write(make([]byte, 16<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n >= 1<<20 {
		return "", fmt.Errorf("a write was to block, and wrote %d B, %w", n, orNil(err))
	}
	return fmt.Sprintf("writes block after %d B", n), nil
}

// healsWithoutLoss cuts a connection on which there was traffic, writes into the void, and heals.
func (p pace) healsWithoutLoss(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		heal := ep.Conns()[0].Partition()
		defer heal()
		if err := c.ask(); err != nil {
			return "", err
		}
		if err := c.silent(p.quiet); err != nil {
			return "", err
		}
		end, _ := ctx.Deadline()
		_ = c.SetReadDeadline(end)
		heal()
		begin := time.Now()
		err := c.expect("hello")
		return fmt.Sprintf("felt %v after healing", time.Since(begin).Round(time.Millisecond)), err
	})
}

// fallsBack dials a name whose IPv6 is silent: after the fallback delay IPv4 must answer (RFC 8305).
func (p pace) fallsBack(ctx context.Context, _ *fixtures.Endpoint) (string, error) {
	ep, err := fixtures.StartDual(ctx, fixtures.Dual{IPv6: fixtures.BlackHole{}}, fixtures.Place{})
	if err != nil {
		return "", err
	}
	defer ep.Close()
	d := ep.Dialer()
	d.FallbackDelay = p.quiet
	begin := time.Now()
	c, err := d.DialContext(ctx, "tcp", ep.HostPort())
	if err != nil {
		return "", fmt.Errorf("a connect was to fall back to IPv4, and returned %w", err)
	}
	conn{c}.abort()
	took := time.Since(begin)
	if took < p.quiet {
		return "", fmt.Errorf("a connect took %v, want %v or more: IPv6 has answered", took, p.quiet)
	}
	return fmt.Sprintf("after %v, of which the fallback delay is %v", took.Round(100*time.Microsecond), p.quiet), nil
}
