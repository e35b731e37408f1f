package simnet

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// errCanceled and errTimeout are package net's own errors for a dial whose context has ended. They have no names, but a
// dial that is over before it begins returns them, and opens no socket.
var errCanceled, errTimeout = endedDials()

func endedDials() (canceled, timeout error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	canceled = dialError(ctx)
	ctx, cancel = context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	return canceled, dialError(ctx)
}

func dialError(ctx context.Context) error {
	_, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return ctx.Err()
}

// endOf is what a dial says of its context, nil while that goes on.
func endOf(ctx context.Context) error {
	switch ctx.Err() {
	case nil:
		return nil
	case context.DeadlineExceeded:
		return errTimeout
	}
	return errCanceled
}

// sys wraps an errno as package os does.
func sys(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }
