// Package eyeballs dials two addresses as [net.Dialer] does on the kernel (Happy Eyeballs, RFC
// 8305), for networks that a net.Dialer cannot reach.
package eyeballs

import (
	"context"
	"errors"
	"net"
	"time"
)

// Delay is how long a net.Dialer, by default, tries the first family alone.
const Delay = 300 * time.Millisecond

// A Dial connects to addresses of one family.
type Dial func(ctx context.Context) (net.Conn, error)

// A finish is the result of one of the two dials.
type finish struct {
	conn  net.Conn
	err   error
	first bool
}

// Race dials first, and also second once first has failed or delay has passed. It returns the
// connection that is made first and closes the other. If both fail, it returns first's error.
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
