package sweep

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveRows answers each line with frames: O, a length and as many bytes. An empty one ends rows.
func serveRows(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				answer := "O\x02ok"
				if lines.Text() == "ROWS" {
					answer = "O\x03oneO\x03twoO\x00"
				}
				if _, err := io.WriteString(c, answer); err != nil {
					return
				}
			}
		}()
	}
}

// A client of serveRows has one of ten bugs, or none.
type client struct {
	c   *Case
	bug string

	mu   sync.Mutex
	conn net.Conn
}

const clientTimeout = 3 * time.Second

// exchange sends a line, and gives its answer to read.
func (c *client) exchange(ctx context.Context, line string, read func(io.Reader) error) error {
	err := c.exchangeOnce(ctx, line, read)
	if err != nil && c.bug == "retries what must not be repeated" {
		err = c.exchangeOnce(ctx, line, read)
	}
	return err
}

func (c *client) exchangeOnce(ctx context.Context, line string, read func(io.Reader) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	timeout := clientTimeout
	switch c.bug {
	case "deadline on the connect only", "lock held while reading":
		timeout = time.Hour
	case "deadline of 200ms":
		timeout = 200 * time.Millisecond
	case "cancel ignored":
		timeout = 4 * clientTimeout
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if c.bug != "lock held while reading" && c.bug != "deadline of 200ms" {
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	}
	if _, err = io.WriteString(conn, line+"\n"); err == nil {
		err = read(conn)
	}
	kept := c.bug == "pool keeps a broken connection" || c.bug == "pool keeps the connection of a cancelled call" && ctx.Err() != nil
	if err != nil && !kept {
		_ = conn.Close()
		c.conn = nil
	}
	return err
}

// connect dials, and greets.
func (c *client) connect(ctx context.Context) (net.Conn, error) {
	if c.conn != nil {
		return c.conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	conn, err := c.c.DialContext(ctx, "tcp", c.c.Addr())
	if err != nil {
		return nil, err
	}
	timeout := clientTimeout
	if c.bug == "deadline of 200ms" {
		timeout = 200 * time.Millisecond
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err = io.WriteString(conn, "HI\n"); err == nil {
		_, err = c.frame(conn)
	}
	if err != nil {
		if c.bug != "leak on an error path" {
			_ = conn.Close()
		}
		return nil, err
	}
	c.conn = conn
	return conn, nil
}

// frame reads one.
func (c *client) frame(r io.Reader) (string, error) {
	header := make([]byte, 2)
	if c.bug == "panic on a short header" {
		n, err := r.Read(header)
		if err != nil {
			return "", err
		}
		header = header[:n]
	} else if _, err := io.ReadFull(r, header); err != nil {
		if c.bug == "error swallowed at EOF" && errors.Is(err, io.EOF) {
			err = nil
		}
		return "", err
	}
	body := make([]byte, header[1])
	n, err := io.ReadFull(r, body)
	return string(body[:n]), err
}

func (c *client) rows(ctx context.Context) (rows []string, err error) {
	err = c.exchange(ctx, "ROWS", func(r io.Reader) error {
		if conn, ok := r.(net.Conn); ok && c.bug == "unlimited read" {
			_ = conn.SetReadDeadline(time.Time{})
		}
		for {
			row, err := c.frame(r)
			if err != nil && c.bug == "forgotten rows.Err" {
				return nil
			}
			if err != nil || row == "" {
				return err
			}
			rows = append(rows, row)
		}
	})
	return rows, err
}

func (c *client) add(ctx context.Context) error {
	return c.exchange(ctx, "ADD", func(r io.Reader) error {
		_, err := c.frame(r)
		return err
	})
}

func (c *client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// using is an operation with a client that has this bug.
func using(bug string) func(context.Context, *Case) error {
	return func(ctx context.Context, c *Case) error {
		db := &client{c: c, bug: bug}
		defer c.Close(db.Close)
		patience := time.Duration(0)
		if bug == "lock held while reading" {
			patience = clientTimeout
		}
		err := within(ctx, patience, func(ctx context.Context) error {
			rows, err := db.rows(ctx)
			if err == nil {
				assert.Equal(c, []string{"one", "two"}, rows)
				err = db.add(ctx)
			}
			return err
		})
		if bug != "lock held while reading" {
			c.Recovers(func(ctx context.Context) error {
				rows, err := db.rows(ctx)
				if err == nil {
					assert.Equal(c, []string{"one", "two"}, rows)
				}
				return err
			})
		}
		return err
	}
}

// within is a caller that gives up, whatever the client does; not at all with 0.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	if d == 0 {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweepOver returns the report of a sweep.
func sweepOver(t *testing.T, cfg Config, op func(context.Context, *Case) error) (text string, bad bool) {
	t.Helper()
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: op}
	require.NoError(t, s.begin())
	return s.report(s.try())
}

// early has f begin before the test is parallel, beside tests that are not: in real time it mostly
// waits, and so few tests are parallel at once that the last would wait alone. f must not end the
// test.
func early(t *testing.T, f func()) {
	t.Helper()
	var over sync.WaitGroup
	over.Go(f)
	t.Parallel()
	over.Wait()
}

// sweepEarly is sweepOver that begins early.
func sweepEarly(t *testing.T, cfg Config, op func(context.Context, *Case) error) (text string, bad bool) {
	t.Helper()
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: op}
	early(t, func() {
		if assert.NoError(t, s.begin()) {
			text, bad = s.report(s.try())
		}
	})
	return text, bad
}

// rowsConfig has those of the default faults whose names begin so.
func rowsConfig(fault string) Config {
	cfg := Config{Server: serveRows, Limit: 11 * time.Second, Once: []string{"ADD\n"}, Pairs: -1}
	for _, f := range DefaultFaults() {
		if strings.HasPrefix(f.Name, fault) {
			cfg.Faults = append(cfg.Faults, f)
		}
	}
	return cfg
}

func TestSeededBugs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bug, fault string
		want       []string // lines of the report
	}{
		{"forgotten rows.Err", "reset", []string{
			`wrong            request bytes 4-8 of 12 ("OWS\nA"), reset: Not equal: expected: []string{"one", "two"} actual : []string(nil)`,
			`wrong            answer bytes 4-13, 20 of 20 ("O\x03oneO\x03twoO\x00O\x02ok"), reset: Not equal: expected: []string{"one", "two"} actual : []string(nil)`,
		}},
		{"unlimited read", "silence", []string{
			`hangs            request bytes 3-7 of 12 ("ROWS\n"), silence, silence-reset: the operation had not returned after 55s,` +
				` and ended when its context was cancelled`,
			`hangs            answer bytes 4-15 of 20 ("O\x03oneO\x03twoO\x00"), silence, silence-reset: the operation had not returned after 55s,` +
				` and ended when its context was cancelled`,
		}},
		{"pool keeps a broken connection", "reset", []string{
			`does not recover request bytes 4-12 of 12 ("OWS\nADD\n"), reset: 11s after Recovers was called, still write tcp`,
			`does not recover answer bytes 4-20 of 20 ("O\x03oneO\x03twoO\x00O\x02ok"), reset: 11s after Recovers was called, still write tcp`,
		}},
		{"deadline on the connect only", "silence", []string{
			`hangs            request bytes 3-11 of 12 ("ROWS\nADD\n"), silence, silence-reset: the operation had not returned after 55s,`,
			`hangs            answer bytes 4-19 of 20 ("O\x03oneO\x03twoO\x00O\x02ok"), silence, silence-reset: the operation had not returned`,
		}},
		{"retries what must not be repeated", "reset", []string{
			`wrong            answer bytes 9-15 of 20 ("O\x03twoO\x00"), reset: Not equal: expected: []string{"one", "two"} actual : []string{"one", "one", "two"}`,
			`repeated         request, after its 12 bytes, reset: the server was sent "ADD\n" 2 times`,
			`repeated         answer bytes 17-19 of 20 ("\x02ok"), reset: the server was sent "ADD\n" 2 times`,
		}},
		{"leak on an error path", "reset", []string{
			`leaks            connect, reset: 1 connection left open by the client, 20.007s after it returned`,
			`leaks            request bytes 0-3 of 12 ("HI\nR"), reset: 1 connection left open by the client, 20.007s after it returned`,
			`leaks            answer bytes 0-3 of 20 ("O\x02ok"), reset: 1 connection left open by the client, 20.007s after it returned`,
		}},
		{"error swallowed at EOF", "fin", []string{
			`wrong            request bytes 0-12 of 12 ("HI\nROWS\nADD\n"), fin: Not equal: expected: []string{"one", "two"} actual : []string(nil)`,
			`wrong            answer bytes 0, 4, 9, 14, 16, 20 of 20 ("O\x02okO\x03oneO\x03twoO\x00O\x02ok"), fin: Not equal: expected: []string{"one", "two"} actual : []string(nil)`,
		}},
		{"panic on a short header", "fin", []string{
			`panics           answer bytes 1, 5, 10, 15, 17 of 20 ("\x02okO\x03oneO\x03twoO\x00O\x02"), fin: the operation panicked: runtime error:` +
				` index out of range [1] with length 1`,
			`leaks            answer bytes 1 of 20 ("\x02"), fin: 1 connection left open by the client, 20.007s after it returned`,
		}},
		{"pool keeps the connection of a cancelled call", "cancel", []string{
			`wrong            request bytes 9-12 of 12 ("DD\n"), cancel: Not equal: expected: []string{"one", "two"} actual : []string{"ok", "one", "two"}`,
			`wrong            answer bytes 17-20 of 20 ("\x02ok"), cancel: Not equal: expected: []string{"one", "two"} actual : []string{"ok", "one", "two"}`,
		}},
		{"cancel ignored", "silence", []string{
			`late             request bytes 3-11 of 12 ("ROWS\nADD\n"), silence, silence-reset: the operation took 12.0008s, over the limit of 11s`,
			`late             answer bytes 4-19 of 20 ("O\x03oneO\x03twoO\x00O\x02ok"), silence, silence-reset: the operation took 12.0008s, over the limit`,
		}},
	} {
		text, _ := sweepOver(t, rowsConfig(tt.fault), using(tt.bug))
		short, _, _ := strings.Cut(text, "\n\n")
		lines := strings.Split(short, "\n  ")[1:]
		if assert.Len(t, lines, len(tt.want), "%s: %s", tt.bug, text) {
			for i, want := range tt.want {
				assert.True(t, strings.HasPrefix(lines[i], want), "%s: %s\n%s", tt.bug, lines[i], want)
			}
		}
	}
}

// This bug stops the clock, which takes a second to find. In real time it never ends.
func TestLockHeldWhileReading(t *testing.T) {
	cfg := rowsConfig("silence")
	cfg.Max, cfg.Workers, cfg.Limit, cfg.Grace = 6, 6, 100*time.Millisecond, 50*time.Millisecond // all at once
	text, bad := sweepEarly(t, cfg, using("lock held while reading"))
	assert.True(t, bad)
	assert.Contains(t, text, "\n  6 conversations judged in real time, since a goroutine waited for a mutex, which stops the virtual clock")
	assert.Regexp(t, `\n  hangs            request bytes .* of 12 \(.*\), silence: (the operation|Close) had not returned after 1.1s of real time, `, text)
	assert.Contains(t, text, "\n  hangs            answer bytes ")
	assert.Contains(t, text, "6 with violations")
	assert.Contains(t, text, "sweep.(*Case).run")
}

// A client may hold a mutex over a round trip that its deadline ends.
func TestMutexUnderDeadline(t *testing.T) {
	cfg := rowsConfig("silence")
	cfg.Max, cfg.Workers, cfg.Grace = 4, 4, 50*time.Millisecond
	text, bad := sweepEarly(t, cfg, func(ctx context.Context, c *Case) error {
		db := &client{c: c, bug: "deadline of 200ms"}
		err := within(ctx, 100*time.Millisecond, db.add)
		c.Close(db.Close)
		return err
	})
	assert.False(t, bad, text)
	assert.Contains(t, text, "judged in real time, since a goroutine waited for a mutex")
}

// Two goroutines may wait for each other's round trip: the sweep then does without latency.
func TestTwoCallersOfOneMutex(t *testing.T) {
	cfg := rowsConfig("reset")
	cfg.Once = nil
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: func(ctx context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		errs := make(chan error, 2)
		for range cap(errs) {
			go func() { errs <- db.add(ctx) }()
		}
		return errors.Join(<-errs, <-errs)
	}}
	early(t, func() { assert.NoError(t, s.begin()) })
	assert.Zero(t, s.hop)
	assert.Len(t, s.good.Conns, 1)
}

func TestMendedClientIsBlameless(t *testing.T) {
	t.Parallel()
	text, bad := sweepOver(t, Config{Server: serveRows, Limit: 11 * time.Second, Once: []string{"ADD\n"}}, using(""))
	assert.False(t, bad, text)
	assert.Contains(t, text, "sweep: 276 conversations in ")
	assert.Contains(t, text, "0 with violations; connection 1: request of 12 bytes, answer of 20")
}
