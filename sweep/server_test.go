package sweep

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echoLines answers each line with itself, and ends a client that is silent for a while. Clients
// behind the last that has a time of its own are waited for without limit.
func echoLines(ln net.Listener, patiences ...time.Duration) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		patience := time.Duration(0)
		if len(patiences) > 0 {
			patience, patiences = patiences[0], patiences[1:]
		}
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				if patience > 0 {
					_ = c.SetDeadline(time.Now().Add(patience))
				}
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}()
	}
}

// ask is a good client of echoLines.
func ask(ctx context.Context, c *Case) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := c.DialContext(ctx, "tcp", c.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.WriteString(conn, "hi\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil {
		assert.Equal(c, "hi\n", line)
	}
	return err
}

// A server that ends when one of its clients breaks serves nobody any more.
func TestServerThatReturns(t *testing.T) {
	t.Parallel()
	cfg := Config{Limit: 11 * time.Second, Faults: DefaultFaults()[:1], Server: func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil {
				return err // the bug
			}
			_, _ = io.WriteString(c, line)
			_ = c.Close()
		}
	}}
	text, bad := sweepOver(t, cfg, ask)
	assert.True(t, bad)
	assert.Regexp(t, `does not recover request bytes 0-2 of 3 .*: Config.Server returned during the conversation: `, text)
}

// A server may tell what it found: here that a command was executed which nobody sent whole.
func TestServerTellsTheCase(t *testing.T) {
	t.Parallel()
	cfg := Config{Limit: 11 * time.Second, Faults: DefaultFaults()[1:2], Server: func(ln net.Listener) error {
		c := CaseOf(ln)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); { // takes the rest at EOF for a line
					if lines.Text() != "hi" {
						c.Errorf("%s: executed %q", c.Name(), lines.Text())
					}
					_, _ = io.WriteString(conn, lines.Text()+"\n")
				}
			}()
		}
	}}
	text, bad := sweepOver(t, cfg, ask)
	assert.True(t, bad)
	assert.Contains(t, text, "\n  wrong            request bytes 1 of 3 (\"i\"), fin: request/byte_1/fin: executed \"h\"\n")
	assert.Contains(t, text, ", 1 with violations")
	assert.PanicsWithValue(t, "bad argument: sweep.CaseOf: ln is a <nil>; want the listener that Run gives to Config.Server", func() { CaseOf(nil) })
}

func TestServerUnderTest(t *testing.T) {
	t.Parallel()
	sweepServer := func(patience time.Duration) (string, bool) {
		cfg := Config{Limit: 11 * time.Second, ServerLimit: 40 * time.Second,
			Server: func(ln net.Listener) error { return echoLines(ln, patience) }}
		return sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
			err := ask(ctx, c)
			c.Recovers(func(ctx context.Context) error { return ask(ctx, c) })
			return err
		})
	}
	text, bad := sweepServer(30 * time.Second)
	require.False(t, bad, text)
	text, bad = sweepServer(0)
	require.True(t, bad)
	assert.Contains(t, text, "\n  kept             request bytes 0-3 of 3 (\"hi\\n\"), silence, silence-reset, cut: the server still has the connection open, 40s after")
}

// The server may keep a connection that the fault has not struck.
func TestServerKeepsAnother(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("silence")
	cfg.Once, cfg.ServerLimit = nil, 40*time.Second
	cfg.Server = func(ln net.Listener) error { return echoLines(ln, 30*time.Second) }
	text, bad := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		err := ask(ctx, c)
		conn, err2 := c.DialContext(ctx, "tcp", c.Addr()) // it stays
		if err2 == nil {
			defer c.Close(conn.Close)
			_, err2 = io.WriteString(conn, "hi\n")
		}
		c.Recovers(func(context.Context) error { return nil })
		return errors.Join(err, err2)
	})
	assert.True(t, bad)
	assert.NotContains(t, text, "\n  kept             request")
	assert.Contains(t, text, "\n  kept             connection 2, request bytes ")
}

// What a client sends last is swept, though it does not wait until it has come.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	send := func(ctx context.Context, c *Case) error {
		ctx, cancel := context.WithTimeout(ctx, clientTimeout)
		defer cancel()
		conn, err := c.DialContext(ctx, "tcp", c.Addr())
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "bye\n")
		return errors.Join(err, conn.Close())
	}
	text, bad := sweepOver(t, Config{Server: serveRows, Limit: 11 * time.Second}, func(ctx context.Context, c *Case) error {
		err := send(ctx, c)
		c.Recovers(func(ctx context.Context) error { return send(ctx, c) })
		return err
	})
	assert.False(t, bad, text)
	assert.Contains(t, text, "; connection 1: request of 4 bytes, answer of ")
	assert.NotContains(t, text, "never came")
}
