package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/rawsock"
)

// ask opens a socket that is connected to the endpoint, and sends the words, one in each datagram.
func ask(ctx context.Context, ep *udp.Endpoint, words ...string) (conn, error) {
	nc, err := ep.DialContext(ctx, "", "")
	if err != nil {
		return conn{}, err
	}
	c := conn{nc}
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end)
	}
	for _, word := range words {
		if _, err := c.Write([]byte(word)); err != nil {
			_ = c.Close()
			return conn{}, fmt.Errorf("a datagram was not sent: %w", err)
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

// datagrams sends some words and must get others, in that order and nothing else.
func (p pace) datagrams(send, want string) func(context.Context, *udp.Endpoint) (string, error) {
	return func(ctx context.Context, ep *udp.Endpoint) (string, error) {
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
		_ = c.SetReadDeadline(time.Now().Add(p.quiet))
		if got, err := c.answer(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("after %q a read was to wait, and returned %q, %w", want, got, orNil(err))
		}
		return "", nil
	}
}

func refusesDatagrams(ctx context.Context, ep *udp.Endpoint) (string, error) {
	c, err := ask(ctx, ep, "a")
	if err != nil {
		return "", err
	}
	defer c.Close()
	got, err := c.answer() // on Windows it is WSAECONNRESET
	if f := faultOf(err); f != rawsock.Refused && f != rawsock.ResetByPeer {
		return "", fmt.Errorf("a read was to be refused, and returned %q, %w", got, orNil(err))
	}
	return "", nil
}

func (p pace) answersDatagramLate(ctx context.Context, ep *udp.Endpoint) (string, error) {
	begin := time.Now() // before the datagram, which starts the fixture's clock
	c, err := ask(ctx, ep, "a")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if got, err := c.answer(); got != "a" || err != nil {
		return "", fmt.Errorf("read %q, %w, want %q", got, orNil(err), "a")
	}
	took := time.Since(begin)
	if took < p.delay {
		return "", fmt.Errorf("an answer took %v, want %v or more", took, p.delay)
	}
	return fmt.Sprintf("%v asked for, and it took %v", p.delay, took.Round(100*time.Microsecond)), nil
}
