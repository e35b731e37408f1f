package knobs_test

import (
	"context"
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
