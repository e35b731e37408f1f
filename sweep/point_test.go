package sweep

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/simnet"
)

// The server gets the bytes of a request before the point, and no other.
func TestServerGetsWhatPassed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var names, got []string
	cfg := Config{Limit: 11 * time.Second, Workers: 1, Faults: DefaultFaults()[:2], Server: func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(b))
			}()
		}
	}}
	sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		if !strings.HasPrefix(c.Name(), "request/") && c.Name() != "good" {
			return nil
		}
		mu.Lock()
		names = append(names, c.Name())
		mu.Unlock()
		conn, err := c.DialContext(ctx, "tcp", c.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "ADD 5\n"); err != nil {
			return err
		}
		if sc, ok := conn.(*simnet.Conn); ok {
			_ = sc.CloseWrite()
		}
		_, err = io.ReadAll(conn)
		return err
	})
	if assert.Len(t, got, len(names)) {
		for i, name := range names {
			want := "ADD 5\n"
			if at, ok := strings.CutPrefix(name, "request/byte_"); ok {
				want = want[:at[0]-'0']
			}
			assert.Equal(t, want, got[i], name)
		}
	}
	assert.Len(t, names, 2+7*2)
}

// A pool that keeps a connection which the network has forgotten never recovers, although a new one
// would work.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("dead")
	text, bad := sweepOver(t, cfg, using("pool keeps a broken connection"))
	assert.True(t, bad)
	assert.Contains(t, text, `does not recover request bytes 4-12 of 12 ("OWS\nADD\n"), dead: `)
	assert.Contains(t, text, `does not recover answer bytes 4-20 of 20 ("O\x03oneO\x03twoO\x00O\x02ok"), dead: `)
	text, bad = sweepOver(t, cfg, using(""))
	assert.False(t, bad, text)
}

// At a harmless fault an error is a violation.
func TestHarmlessFault(t *testing.T) {
	t.Parallel()
	text, _ := sweepOver(t, rowsConfig("split"), func(ctx context.Context, c *Case) error {
		conn, err := c.DialContext(ctx, "tcp", c.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "ADD\n"); err != nil {
			return err
		}
		if n, err := conn.Read(make([]byte, 4)); err != nil || n < 4 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	assert.Contains(t, text, "\n  fails            answer bytes 1-3 of 4 (\"\\x02ok\"), split: it did, with an error, though the fault is harmless: unexpected EOF")
}
