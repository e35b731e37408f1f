package sweep

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// add asks on a connection of its own, which has no greeting.
func add(ctx context.Context, c *Case) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	conn, err := c.DialContext(ctx, "tcp", c.Addr())
	if err != nil {
		return err
	}
	db := &client{c: c, conn: conn}
	return errors.Join(db.add(ctx), conn.Close())
}

// rows asks on a connection of its own with a greeting, and forgets its error.
func rows(ctx context.Context, c *Case) error {
	db := &client{c: c, bug: "forgotten rows.Err"}
	rows, err := db.rows(ctx)
	if err == nil {
		assert.Equal(c, []string{"one", "two"}, rows)
	}
	return errors.Join(err, db.Close())
}

// Where connections come in changing order, names find the same one each time.
func TestNamedConnections(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	op := func(ctx context.Context, c *Case) (err error) {
		order := []func(context.Context, *Case) error{add, rows, add}
		for i, n := 0, int(calls.Add(1)); i < len(order); i++ {
			err = errors.Join(err, order[(n+i)%len(order)](ctx, c))
		}
		return err
	}
	cfg := rowsConfig("fin")
	cfg.Once = nil
	text, _ := sweepOver(t, cfg, op)
	assert.Contains(t, text, "not the same without a fault from run to run")
	cfg.Names = map[string]string{"rows": "ROWS", "add": "ADD\n"}
	text, bad := sweepOver(t, cfg, op)
	assert.True(t, bad)
	short, _, _ := strings.Cut(text, "\n\n")
	_, short, _ = strings.Cut(short, "violations; ")
	assert.Equal(t, `connection add: request of 4 bytes, answer of 4; connection add 2: request of 4 bytes, answer of 4; `+
		`connection rows: request of 8 bytes, answer of 16
  wrong            connection rows, request bytes 3-8 of 8 ("ROWS\n"), fin: `+wrongRows+`
  wrong            connection rows, answer bytes 4-13 of 16 ("O\x03oneO\x03two"), fin: `+wrongRows, short)
	assert.Contains(t, text, "\n  again    go test -run '^TestNamedConnections$/^rows$/^request$/^byte_3$/^fin$'")
	assert.NotContains(t, text, naming)
}

const wrongRows = `Not equal: expected: []string{"one", "two"} actual : []string(nil)`

// Of two names that fit, that with more bytes wins. The map has the name of the connection.
func TestConnectionsNames(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Names, cfg.Once, cfg.Max = map[string]string{"b": "HI", "a": "I", "rows": "HI\n"}, nil, 5
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: rows}
	assert.ErrorContains(t, s.begin(), `Config.Names["b"] is "HI", which no connection begins with; want some of the first 64 bytes`)
	delete(s.cfg.Names, "a")
	delete(s.cfg.Names, "b")
	require.NoError(t, s.begin())
	row, offset := s.chart(point{conn: connID{"rows", 1}, place: requesting, at: 5, fault: Fault{Name: "fin"}})
	assert.Equal(t, "rows/request fin, write 2", row)
	assert.Equal(t, 2, offset)
	assert.Equal(t, "rows_2/", connID{"rows", 2}.path())
}

// The server gets the bytes of a request before the point, and no other; what came before the
// connection had its name too.
func TestServerGetsWhatPassedOnNamed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var names, got []string
	cfg := rowsConfig("fin")
	cfg.Names, cfg.Once, cfg.Workers = map[string]string{"rows": "ROWS"}, nil, 1
	cfg.Server = func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() {
				defer c.Close()
				var all []byte
				for b := make([]byte, 64); ; {
					n, err := c.Read(b)
					if all = append(all, b[:n]...); err != nil {
						break
					}
					_, _ = io.WriteString(c, strings.Repeat("O\x00", strings.Count(string(b[:n]), "\n")))
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(all))
			}()
		}
	}
	sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		if !strings.HasPrefix(c.Name(), "rows/request/") && c.Name() != "good" {
			return nil
		}
		mu.Lock()
		names = append(names, c.Name())
		mu.Unlock()
		db := &client{c: c}
		_, err := db.rows(ctx)
		return errors.Join(err, db.Close())
	})
	const request = "HI\nROWS\n"
	if assert.Len(t, got, len(names)) {
		for i, name := range names {
			want := request
			if at, ok := strings.CutPrefix(name, "rows/request/byte_"); ok {
				want = want[:at[0]-'0']
			}
			assert.Equal(t, want, got[i], name)
		}
	}
	assert.Len(t, names, 2+len(request)-3+1)
}
