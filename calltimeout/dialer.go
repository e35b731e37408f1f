package calltimeout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"example.com/go-sockettest/internal/argument"
)

// A Dialer connects as [net.Dialer] does, with a limit on each call. The zero value is ready.
type Dialer struct {
	// Timeout bounds the connect, then each Read and each Write on the connection. 0 means the
	// default timeout in force when the dial begins, or no limit if there is none. Negative is an
	// error.
	Timeout time.Duration

	// Connect makes the connection; nil means net.Dialer's. Other networks put their DialContext here.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial is DialContext without a context.
func (d Dialer) Dial(network, address string) (*Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects. Its error is package net's own; after the timeout, Timeout() of it is true.
// The context bounds the connect only, as in [net.Dialer.DialContext].
func (d Dialer) DialContext(ctx context.Context, network, address string) (*Conn, error) {
	timeout, err := orDefault("calltimeout.Dialer.Timeout", d.Timeout)
	if err != nil {
		return nil, err
	}
	connect := d.Connect
	if connect == nil {
		connect = (&net.Dialer{}).DialContext
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if argument.IsNil(c) {
		return nil, errors.New("calltimeout.Dialer.Connect returned no connection and no error; want one of them")
	}
	return newConn(c, timeout), nil
}

// orDefault reads a timeout field.
func orDefault(name string, d time.Duration) (time.Duration, error) {
	switch {
	case d < 0:
		return 0, fmt.Errorf("%s is %v; want 0 (the default timeout) or more", name, d)
	case d == 0:
		return DefaultTimeout(), nil
	}
	return d, nil
}
