package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"example.com/go-sockettest/fixtures"
)

// exchange connects, sends five bytes and goes on with f.
func exchange(ctx context.Context, ep *fixtures.Endpoint, f func(c conn) (string, error)) (string, error) {
	return tell(ctx, ep, "hello", f)
}

// tell connects, sends what is said and goes on with f.
func tell(ctx context.Context, ep *fixtures.Endpoint, say string, f func(c conn) (string, error)) (string, error) {
	c, err := connect(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.abort()
	if err := c.say(say); err != nil {
		return "", err
	}
	return f(c)
}

// A duplex is a connection with two directions that end one by one.
type duplex struct {
	net.Conn // for the rest
	*io.PipeReader
	*io.PipeWriter
}

func (d duplex) Read(b []byte) (int, error)  { return d.PipeReader.Read(b) }
func (d duplex) Write(b []byte) (int, error) { return d.PipeWriter.Write(b) }
func (d duplex) CloseWrite() error           { return d.PipeWriter.Close() }
func (d duplex) Close() error                { return errors.Join(d.PipeReader.Close(), d.PipeWriter.Close()) }

// DialEcho connects to a server in this process that echoes, wherever it is to go.
func DialEcho(context.Context, string, string) (net.Conn, error) {
	there, here := io.Pipe()
	back, answer := io.Pipe()
	go func() {
		_, err := io.Copy(answer, there)
		_ = answer.CloseWithError(err)
	}()
	pipe, _ := net.Pipe()
	return duplex{pipe, back, here}, nil
}

// SaysNothing: what is sent is not answered.
func SaysNothing(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) { return "", c.silent() })
}

// Echoes: what is sent comes back, and FIN after FIN.
func Echoes(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		return "", errors.Join(c.closeWrite(), c.ends(""))
	})
}

// AnswersAfter: the echo takes that long, counted from before the connect, which starts the
// fixture's clock.
func AnswersAfter(d time.Duration) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		begin := time.Now()
		return exchange(ctx, ep, func(c conn) (string, error) {
			if err := c.expect("hello"); err != nil {
				return "", err
			}
			return took("an answer", begin, d)
		})
	}
}

// drips: five bytes with four pauses, and then FIN.
func drips(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now()
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		note, err := took("an answer", begin, delay)
		return note, errors.Join(err, c.closeWrite(), c.ends(""))
	})
}

// Answers reads to the end, which must be FIN.
func Answers(want string) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return exchange(ctx, ep, func(c conn) (string, error) { return "", c.ends(want) })
	}
}

// RepliesToFIN: nothing comes before the client has half-closed.
func RepliesToFIN(want string) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return exchange(ctx, ep, func(c conn) (string, error) {
			if err := c.silent(); err != nil {
				return "", err
			}
			return "", errors.Join(c.closeWrite(), c.ends(want))
		})
	}
}

// closesAfterUs: all is read, nothing said, and FIN answered.
func closesAfterUs(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return RepliesToFIN("")(ctx, ep)
}

// Resets: the connection ends with RST.
func Resets(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) { return "", c.isReset() })
}

// EchoesInTheEnd: the first connection is reset, the next ones echo. What waited in the queue of
// another fixture counts as a connection, too.
func EchoesInTheEnd(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	if len(ep.Conns()) == 0 && count(ep, fixtures.Became) == 0 {
		if _, err := Resets(ctx, ep); err != nil {
			return "", fmt.Errorf("the first connection: %w", err)
		}
	} else if c, err := connect(ctx, ep); err == nil {
		_ = c.say("x")
		_, _ = c.Read(make([]byte, 1))
		c.abort()
	}
	for range 2 {
		if _, err := Echoes(ctx, ep); err != nil {
			return "", fmt.Errorf("the next connection: %w", err)
		}
	}
	return "", nil
}

// BlocksWrites: a write blocks. How much is taken before, the client's kernel decides.
func BlocksWrites(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, conn.blocks)
}

// healsWithoutLoss cuts a connection on which there was traffic, writes into the void, and heals.
func healsWithoutLoss(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		heal := ep.Conns()[0].Partition()
		defer heal()
		if err := errors.Join(c.say("hello"), c.silent()); err != nil {
			return "", err
		}
		heal()
		begin := time.Now()
		err := c.expect("hello")
		return fmt.Sprintf("felt %v after healing", time.Since(begin).Round(time.Millisecond)), err
	})
}

// fallsBack dials a name whose IPv6 is silent: after the fallback delay IPv4 must answer (RFC
// 8305).
func fallsBack(ctx context.Context, ep *fixtures.DualEndpoint) (string, error) {
	begin := time.Now()
	c, err := ep.DialFunc(moment)(ctx, "tcp", ep.HostPort())
	if err != nil {
		return "", fmt.Errorf("a connect was to fall back to IPv4, and returned %w", err)
	}
	bounded(ctx, c, ep.IPv4.Stack()).abort()
	note, err := took("a connect", begin, moment)
	if err != nil {
		return "", fmt.Errorf("IPv6 has answered: %w", err)
	}
	return note, nil
}
