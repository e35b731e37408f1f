package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
)

// A pace is what the probes wait for.
type pace struct {
	quiet time.Duration // how long nothing must happen before it is believed that nothing will
	delay time.Duration // what slow fixtures must take
}

// A conn is a client's connection, with a limit on all that happens on it.
type conn struct{ net.Conn }

func connect(ctx context.Context, ep *fixtures.Endpoint) (conn, error) {
	c, err := ep.DialContext(ctx, "", "")
	if err != nil {
		return conn{}, fmt.Errorf("a connect failed: %w", err)
	}
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end)
	}
	return conn{c}, nil
}

// abort closes, TCP with RST: no TIME_WAIT is left behind.
func (c conn) abort() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// closeWrite sends FIN, or what unix sockets have instead.
func (c conn) closeWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// ask sends five bytes.
func (c conn) ask() error {
	_, err := io.WriteString(c, "hello")
	return err
}

// silent is an error if anything can be read within d.
func (c conn) silent(d time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(d))
	n, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a read was to wait, and returned %d, %w", n, orNil(err))
	}
	return nil
}

// expect reads n bytes or more, up to five.
func (c conn) expect(want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading %q: %w", want, err)
	}
	if string(got) != want {
		return fmt.Errorf("read %q, want %q", got, want)
	}
	return nil
}

var errNone = errors.New("no error")

func orNil(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// faultOf is what the errno in an error means.
func faultOf(err error) rawsock.Fault {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return rawsock.FaultOf(errno)
	}
	return rawsock.UnknownFault
}

// dialFor dials for so long, and tells whether that ended in a timeout or how else.
func dialFor(ctx context.Context, ep *fixtures.Endpoint, d time.Duration) (hung bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c, err := ep.DialContext(ctx, "", "")
	if err == nil {
		conn{c}.abort()
		return false, nil
	}
	ne, ok := errors.AsType[net.Error](err)
	_, errno := errors.AsType[syscall.Errno](err) // ETIMEDOUT and EAGAIN say Timeout, too
	return ok && ne.Timeout() && !errno, err
}

func refuses(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now()
	_, err := dialFor(ctx, ep, patience)
	if faultOf(err) != rawsock.Refused {
		return "", fmt.Errorf("a connect was to be refused, and returned %w", orNil(err))
	}
	return fmt.Sprintf("after %v", time.Since(begin).Round(10*time.Microsecond)), nil
}

func findsNoFile(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	if _, err := dialFor(ctx, ep, patience); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("a connect was to find no file, and returned %w", orNil(err))
	}
	return "", nil
}

func (p pace) answersNoSYN(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	seen, over := context.WithCancel(ctx)
	over()                 // what was dropped is counted at once
	for ctx.Err() == nil { // on a busy machine a dial can be over before its SYN has left
		if hung, err := dialFor(ctx, ep, p.quiet); !hung {
			return "", fmt.Errorf("a connect was to hang, and returned %w", orNil(err))
		}
		switch err := ep.Await(seen, fixtures.SYN, 1); {
		case errors.Is(err, errors.ErrUnsupported):
			return "dropped SYNs are not counted", nil
		case err == nil:
			return "", nil
		}
	}
	return "", fmt.Errorf("no SYN was counted: %w", context.Cause(ctx))
}

// answersAsPlatform holds whatever happens, but that a connect succeeds.
func answersAsPlatform(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	hung, err := dialFor(ctx, ep, 3*time.Second) // on Windows, being refused takes 2 s
	switch {
	case err == nil:
		return "", errors.New("a connect succeeded, and nobody listens")
	case hung:
		return "SYNs are dropped", nil
	case faultOf(err) == rawsock.Refused:
		return "refused", nil
	}
	return "", err
}

func (p pace) connectsLate(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now()
	c, err := connect(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.abort()
	took := time.Since(begin)
	if took < p.delay {
		return "", fmt.Errorf("a connect took %v, want %v or more", took, p.delay)
	}
	if err := c.ask(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v asked for, and it took %v", p.delay, took.Round(100*time.Microsecond)), c.expect("hello")
}

// admitsOne: the first connect succeeds, the next hangs; on a unix socket it fails at once.
func (p pace) admitsOne(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	c, err := connect(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.abort()
	if ep.NetAddr().Network() != "unix" {
		return p.answersNoSYN(ctx, ep)
	}
	if _, err := dialFor(ctx, ep, p.quiet); faultOf(err) != rawsock.Exhausted {
		return "", fmt.Errorf("a connect was to find the queue full, and returned %w", orNil(err))
	}
	return "the next fails at once", nil
}
