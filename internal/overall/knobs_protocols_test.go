package overall_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/rpc"
	"net/smtp"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func smtpKnobs() []knob {
	return []knob{
		{name: "Conn.SetDeadline, before NewClient", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "package smtp has no knob: Dial and SendMail cannot be bounded",
			run: against(fixtures.Silent{}, deadline(net.Conn.SetDeadline, func(c net.Conn) error {
				client, err := smtp.NewClient(c, "mail.test") // waits for the server's greeting
				return closed(client, err)
			}))},
	}
}

func rpcKnobs() []knob {
	return []knob{
		{name: "Conn.SetDeadline, before NewClient", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "package rpc has no knob: the deadline ends all calls of the client, and DialHTTP cannot be bounded",
			run: against(fixtures.Silent{}, deadline(net.Conn.SetDeadline, func(c net.Conn) error {
				client := rpc.NewClient(c)
				defer client.Close()
				return client.Call("Arith.Multiply", 6, new(int))
			}))},
		{name: "timer beside Client.Go", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "it ends the wait for one call, which is never forgotten", run: against(fixtures.Silent{}, rpcTimer)},
	}
}

func rpcTimer(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	client := rpc.NewClient(dialled(t, nw, ep))
	t.Cleanup(func() { _ = client.Close() })
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		select {
		case call := <-client.Go("Arith.Multiply", 6, new(int), nil).Done:
			return call.Error
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func tlsKnobs() []knob {
	timedOut, still := sockettest.TimedOut.After(kernelLimit), sockettest.Blocked.For(10*kernelLimit)
	return []knob{
		{name: "ctx of Dialer.DialContext", trip: fixtures.Silent{}, kernel: true, with: timedOut, without: still,
			run: against(fixtures.Silent{}, tlsByContext)},
		{name: "Dialer.NetDialer.Timeout", trip: fixtures.Silent{}, kernel: true, with: timedOut, without: still,
			note: "it bounds connect and handshake together", run: against(fixtures.Silent{}, tlsByTimeout)},
		{name: "ctx of Conn.HandshakeContext", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			run: against(fixtures.Silent{}, tlsHandshake)},
		{name: "Conn.SetDeadline", trip: fixtures.Silent{}, with: sockettest.TimedOut.At(knobLimit), without: waits,
			note: "also SetReadDeadline, for Handshake and Read; after a Write has timed out, the connection is of no use any more",
			run: against(fixtures.Silent{}, deadline(net.Conn.SetDeadline, func(c net.Conn) error {
				return tls.Client(c, anyServer).Handshake()
			}))},
	}
}

func tlsByContext(_ *testing.T, _ network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return closed((&tls.Dialer{Config: anyServer}).DialContext(ctx, "tcp", ep.Addr()))
	}
}

func tlsByTimeout(_ *testing.T, _ network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: limit}, Config: anyServer}
	return func(ctx context.Context) error { return closed(d.DialContext(ctx, "tcp", ep.Addr())) }
}

func tlsHandshake(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	c := tls.Client(dialled(t, nw, ep), anyServer)
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return c.HandshakeContext(ctx)
	}
}

// anyServer asks for no certificate: it does not come so far.
var anyServer = &tls.Config{ServerName: "server.test"}
