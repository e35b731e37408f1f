// Package eyeballs dials two addresses as [net.Dialer] does on the kernel, for networks where that
// cannot go (Happy Eyeballs, RFC 8305).
package eyeballs

import (
	"context"
	"errors"
	"net"
	"time"
)

// Delay is how long a net.Dialer gives the first family before it tries the other too, unless it is
// told otherwise.
const Delay = 300 * time.Millisecond

// A Dial connects to addresses of one family.
type Dial func(ctx context.Context) (net.Conn, error)

// A finish is how one of the two came out of a race.
type finish struct {
	conn  net.Conn
	err   error
	first bool
}

// Race dials first, and second when that has failed or is late by delay. The first connection wins
// and the other is closed; if there is none, first's error counts.
func Race(ctx context.Context, first, second Dial, delay time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finishes, over := make(chan finish), make(chan struct{}) // over is closed here
	defer close(over)
	start := func(dial Dial, isFirst bool) {
		c, err := dial(ctx)
		select {
		case finishes <- finish{c, err, isFirst}:
		case <-over:
			if err == nil {
				_ = c.Close()
			}
		}
	}
	go start(first, true)
	late := time.NewTimer(delay)
	defer late.Stop()
	var failed error
	for running, fallback := 1, true; running > 0; {
		select {
		case <-late.C:
		case f := <-finishes:
			running--
			if f.err == nil {
				return f.conn, nil
			}
			if f.first {
				failed = f.err
			}
		}
		if fallback {
			fallback = false
			running++
			go start(second, false)
		}
	}
	return nil, failed
}

// ContextError returns package net's own error for a dial whose context has ended. It has no name,
// but a dial that is over before it begins returns it, and opens no socket.
func ContextError(ctx context.Context) error {
	_, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return ctx.Err()
}
