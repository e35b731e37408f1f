package overall_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"example.com/go-sockettest/fixtures/tlsfault"
)

// A record is what the client knows of itself.
type record struct {
	mu      sync.Mutex
	conns   []*tracked
	dials   int // to the fixture's address
	writes  int
	ended   ending
	elapsed time.Duration
	hung    chan struct{} // closed to let a leaked goroutine go
	hanging bool
}

// A tracked is a connection that the client's record knows.
type tracked struct {
	net.Conn
	rec    *record
	fd     uintptr
	link   string // what /proc/self/fd says of it
	mu     sync.Mutex
	closed bool
}

func (c *tracked) Write(b []byte) (int, error) {
	c.rec.mu.Lock()
	c.rec.writes++
	c.rec.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *tracked) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.Conn.Close()
}

// track notes the connection's descriptor, if it has one.
func (r *record) track(c net.Conn) net.Conn {
	tc := &tracked{Conn: c, rec: r}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				tc.fd = fd
				tc.link, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, tc)
	return tc
}

// open reports whether nobody has closed the connection: by the descriptor, where there is one.
func (c *tracked) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == "" {
		return !c.closed
	}
	now, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", c.fd))
	return now == c.link
}

// A client is the code under test: it asks for an echo, or for a page.
type client struct {
	tr   experiment
	addr string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	rec  *record
	idle net.Conn
	hung context.CancelFunc // gives up the dial from before
	http *http.Transport
}

// begins opens what the client has from before, and waits until accepted says that it is there.
func (c *client) begins(ctx context.Context, accepted func() error) error {
	if c.tr.old == givenBefore || c.tr.old == givenInCall {
		ctx, cancel := context.WithCancel(ctx)
		over := make(chan struct{})
		go func() {
			defer close(over)
			if nc, err := c.dial(ctx, "tcp", c.addr); err == nil {
				_ = nc.Close()
			}
		}()
		c.hung = func() { cancel(); <-over }
		wait(20 * time.Millisecond)
	}
	if c.tr.pool {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		var err error
		if c.idle, err = c.connect(ctx, c.addr); err == nil && c.tr.old != untouched {
			err = accepted()
		}
		if err != nil {
			return err
		}
	}
	if c.tr.shown() {
		c.dropOld()
	}
	return nil
}

// dropOld ends what a client that never dials has from before.
func (c *client) dropOld() {
	switch c.tr.old {
	case untouched:
		return
	case givenBefore, givenInCall:
		c.hung()
		return
	case resetBefore, resetInCall:
		if l, ok := c.rec.conns[0].Conn.(interface{ SetLinger(int) error }); ok {
			_ = l.SetLinger(0)
		}
	}
	c.release(c.idle)
	c.idle = nil
}

// connect dials, and shakes hands.
func (c *client) connect(ctx context.Context, addr string) (net.Conn, error) {
	if addr == c.addr {
		c.rec.mu.Lock()
		c.rec.dials++
		c.rec.mu.Unlock()
	}
	nc, err := c.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	nc = c.rec.track(nc)
	if !c.tr.tls {
		return nc, nil
	}
	tc := tls.Client(nc, tlsfault.ClientConfig())
	if err := tc.HandshakeContext(ctx); err != nil {
		c.release(nc)
		return nil, err
	}
	return tc, nil
}

// release closes, unless that is the bug.
func (c *client) release(nc net.Conn) {
	if c.tr.bug == leaksConn {
		return
	}
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	_ = nc.Close()
}

// call is the operation of the test.
func (c *client) call(ctx context.Context) error {
	begin := time.Now()
	raw := c.behave(ctx, begin)
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	c.rec.ended = kind(raw)
	c.rec.elapsed = time.Since(begin)
	return c.wrap(raw)
}

// behave does the work, and the bug.
func (c *client) behave(ctx context.Context, begin time.Time) error {
	limit := c.tr.limit
	switch c.tr.bug {
	case neverDials:
		if !c.tr.shown() {
			c.dropOld()
		}
		if c.tr.ends() == timeout {
			wait(limit)
		}
		return c.pretend()
	case strays:
		return c.elsewhere(ctx)
	case early:
		limit /= 10
	case leaksRoutine:
		c.rec.hanging = true
		go func() { <-c.rec.hung }()
	}
	if c.tr.bug == late && c.tr.ends() == timeout {
		limit += c.tr.lateness()
	}
	err := c.attempts(ctx, begin.Add(limit))
	switch {
	case c.tr.bug == panics:
		panic("client: a bug")
	case c.tr.bug == late && c.tr.ends() != timeout:
		wait(window + c.tr.lateness())
	case c.tr.bug == swallows && err != nil:
		return nil
	case c.tr.bug == swallows, c.tr.bug == wrongError:
		return c.misfit()
	}
	return err
}

func wait(d time.Duration) { <-time.NewTimer(d).C }

// elsewhere does all that is asked of it with a server that is not the fixture.
func (c *client) elsewhere(ctx context.Context) error {
	nc, err := c.connect(ctx, other) // refused
	if err == nil {
		c.release(nc)
	}
	switch c.tr.ends() {
	case success:
		return nil
	case timeout:
		wait(c.tr.limit)
	}
	return c.pretend()
}

// other is an address of this machine at which nobody listens.
const other = "127.0.0.1:1"

// pretend makes up the error of a correct client, as if it came from another address.
func (c *client) pretend() error {
	a, _ := net.ResolveTCPAddr("tcp", other)
	switch c.tr.ends() {
	case refusal:
		return &net.OpError{Op: "dial", Net: "tcp", Addr: a, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case timeout:
		return context.DeadlineExceeded
	case eof:
		return io.EOF
	case reset:
		return &net.OpError{Op: "read", Net: "tcp", Addr: a, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return nil
}

// misfit is an error of the fixture's address, but not the fixture's.
func (c *client) misfit() error {
	a, _ := net.ResolveTCPAddr("tcp", c.addr)
	return &net.OpError{Op: "read", Net: "tcp", Addr: a, Err: net.ErrClosed}
}

// attempts calls once, and again where trying again makes sense.
func (c *client) attempts(ctx context.Context, until time.Time) error {
	var errs []error
	for range c.tr.retries + 1 {
		err := c.attempt(ctx, until)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if kind(err) == timeout {
			break
		}
		wait(time.Millisecond)
	}
	if c.tr.wrap == joined {
		return errors.Join(errs...)
	}
	return errs[len(errs)-1]
}

func (c *client) attempt(ctx context.Context, until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if c.tr.family.http {
		return c.page(ctx)
	}
	nc := c.idle
	c.idle = nil
	if nc == nil {
		var err error
		if nc, err = c.connect(ctx, c.addr); err != nil {
			return err
		}
	}
	_ = nc.SetDeadline(until)
	if err := echo(nc); err != nil {
		c.release(nc)
		return err
	}
	if c.tr.pool {
		c.idle = nc
	} else {
		c.release(nc)
	}
	return nil
}

func echo(nc net.Conn) error {
	if _, err := nc.Write([]byte("ping\n")); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, make([]byte, 5))
	return err
}

func (c *client) page(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: c.http}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// close gives up what the client keeps.
func (c *client) close() {
	if c.tr.bug == leaksConn {
		return
	}
	if c.idle != nil {
		c.release(c.idle)
	}
	c.http.CloseIdleConnections()
}

// kind tells the errors apart by what the kernel, or package net, returns.
func kind(err error) ending {
	ne, isNet := errors.AsType[net.Error](err)
	switch {
	case err == nil:
		return success
	case errors.Is(err, syscall.ECONNREFUSED):
		return refusal
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNet && ne.Timeout():
		return timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return eof
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	}
	return misfit
}

// wrap is how the caller sees an error.
func (c *client) wrap(err error) error {
	if err == nil {
		return nil
	}
	switch c.tr.wrap {
	case wrapped:
		return fmt.Errorf("client: %w", err)
	case joined:
		return errors.Join(errors.New("client: all attempts failed"), err)
	case typed:
		return &typedError{err}
	case opaque:
		if c.rec.ended == misfit {
			return errMisfit
		}
		return errFailed
	}
	return err
}
